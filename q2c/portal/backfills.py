"""Back-fills: made with a dry run, started with a reason, paused, resumed, cancelled; what became of each row."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db.models import Count, QuerySet, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from exceptions.resolving import rules
from q2c.core import access, approvals, exports
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import page, paginate, refuse, wants_fragment
from q2c.flows import backfills
from q2c.flows.backfill_running import PERMISSION
from q2c.flows.backfills import BackfillRefused
from q2c.inbox.models import Backfill, BackfillItem
from q2c.portal import told
from q2c.portal.backfill_forms import CancelForm, MakeForm, StartForm
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

RULE = "back_fill"  # of kind resolution_approval
State, Finding, Result = Backfill.State, BackfillItem.Finding, BackfillItem.Result
FINDINGS = (
    (Finding.POSTS, "Will post"), (Finding.WAITS, "Will wait first"), (Finding.HELD, "Would be held"),
    (Finding.DIFFERS, "Differs from what we hold"), (Finding.REFUSED, "Refused"), (Finding.KNOWN, "Here already"),
    (Finding.NOTHING, "Leads to nothing"),
)  # fmt: skip
RESULTS = (
    (Result.CARRIED, "Carried"), (Result.KNOWN, "Was here already"), (Result.IGNORED, "Ignored"),
    (Result.REFUSED, "Refused"), (Result.RELEASED, "With the intake"), (Result.PENDING, "Not yet"),
    (Result.LEFT, "Left out"),
)  # fmt: skip
POLLS = {State.GATHERING: "2s", State.TRYING: "2s", State.RUNNING: "2s", State.ASKED: "15s"}
COLUMNS = (
    "Row", "Given id", "Message", "Id at the source", "At", "Dry run", "Why", "Flow", "Number", "Entity", "Period",
    "Currency", "Amount", "Result", "What became of it", "State now", "Document in the target",
)  # fmt: skip
QUERY = exports.Query("backfill", "Rows of a back-fill", " ".join(COLUMNS))


@require_GET
@requires("inbox.view_event")
def backfill_list(request: PersonRequest) -> HttpResponse:
    """Back-fills, newest first."""
    listed = paginate(request, backfills.backfills_visible_to(request.user))
    context = {"page": listed, "may_run": access.may(request.user, PERMISSION)}
    return page(request, "portal/backfill_list.html", "portal/_backfill_table.html", context)


@require_http_methods(["GET", "POST"])
@requires(PERMISSION)
def backfill_new(request: PersonRequest) -> HttpResponse:
    """Say what is to be run again. Its dry run begins at once; nothing is carried before somebody starts it."""
    asks = request.method == "POST"
    form = MakeForm(request.POST if asks else None, request.FILES if asks else None, user=request.user,
                    initial=request.GET.dict())  # fmt: skip
    if asks and form.is_valid():
        try:
            made = backfills.make(form.plan, by=request.user, why=form.cleaned_data["why"])
        except BackfillRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            for note in form.notes:
                messages.info(request, note)
            return redirect("portal:backfill_detail", made.pk)
    return render(request, "portal/backfill_new.html", {"form": form}, status=422 if asks else 200)


@require_GET
@requires("inbox.view_event")
def backfill_detail(request: PersonRequest, backfill_id: int) -> HttpResponse:
    """Its dry run, then how far it is, then what became of each row."""
    return _show(request, _visible(request, backfill_id))


@require_POST
@requires(PERMISSION)
def backfill_start(request: PersonRequest, backfill_id: int) -> HttpResponse:
    """Start it, or ask whoever has to agree."""
    own = _visible(request, backfill_id)
    form = StartForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        takes = [*backfills.TAKEN, *(t for t in backfills.CHOSEN if data[f"takes_{t}"])]
        asked = rules.asked_for(RULE, backfills.documents_of(own, takes))
        try:
            backfills.start(
                own, by=request.user, why=data["why"], takes=takes, per_minute=data["per_minute"],
                approval=asked.approval, asked=asked.as_content(),
            )  # fmt: skip
        except (BackfillRefused, approvals.ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            return redirect("portal:backfill_detail", own.pk)
    return _show(request, own, start_form=form, status=422)


@require_POST
@requires(PERMISSION)
def backfill_turn(request: PersonRequest, backfill_id: int, verb: str) -> HttpResponse:
    """Pause it, resume it, or try it again."""
    own = _visible(request, backfill_id)
    acts = {"pause": backfills.pause, "resume": backfills.resume, "try": backfills.try_again}
    if verb not in acts:
        raise Http404
    try:
        acts[verb](own, by=request.user)
    except BackfillRefused as refused:
        return refuse(request, f"Not possible: {refused}", "portal:backfill_detail", own.pk)
    return redirect("portal:backfill_detail", own.pk)


@require_POST
@requires(PERMISSION)
def backfill_cancel(request: PersonRequest, backfill_id: int) -> HttpResponse:
    """End it; what was given to the intake goes on."""
    own = _visible(request, backfill_id)
    form = CancelForm(request.POST)
    if form.is_valid():
        try:
            backfills.cancel(own, by=request.user, why=form.cleaned_data["why"])
        except (BackfillRefused, approvals.ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            messages.success(request, f"{own.number} is cancelled.", extra_tags="done")
            return redirect("portal:backfill_detail", own.pk)
    return _show(request, own, cancel_form=form, status=422)


@require_GET
@requires("inbox.view_event")
def backfill_export(request: PersonRequest, backfill_id: int) -> Any:
    """Every row that the person sees, as CSV."""
    own = _visible(request, backfill_id)
    about = exports.About(QUERY, {"Back-fill": own.number, "What": own.words}, request.user)
    rows = _rows(request.user, backfills.items_visible_to(request.user, own).order_by("id"), about)
    file = exports.write_csv(about, COLUMNS, rows, subject=f"backfill {own.number}")
    return FileResponse(file, as_attachment=True, filename=f"{own.number}-{timezone.localdate():%Y-%m-%d}.csv")


def _rows(user: Any, items: QuerySet[BackfillItem], about: exports.About) -> Iterator[list[exports.Cell]]:
    found, results = dict(FINDINGS), dict(RESULTS)
    batch: list[BackfillItem] = []

    def written() -> Iterator[list[exports.Cell]]:
        _tell(user, batch)
        for item in batch:
            if item.amount is not None:
                about.add(item.currency, item.amount)
            txn = item.txn  # type: ignore[attr-defined]
            yield [
                str(item.row or ""), item.given, item.event_type, item.source_id,
                item.at.isoformat() if item.at else "", found.get(Finding(item.finding), "") if item.finding else "",
                item.says, item.flow, item.number, item.legal_entity_code, item.period_code, item.currency,
                "" if item.amount is None else Decimal(item.amount), results[Result(item.result)], item.result_says,
                txn.get_state_display() if txn else "", (txn.target_number or txn.target_id) if txn else "",
            ]  # fmt: skip

    for item in items.defer("body", "body_key").iterator(chunk_size=1000):
        batch.append(item)
        if len(batch) == 1000:
            yield from written()
            batch.clear()
    yield from written()


def _show(
    request: PersonRequest, own: Backfill, *, status: int = 200, start_form: Any = None, cancel_form: Any = None
) -> HttpResponse:
    seen = request.GET.get("phase", "")
    if wants_fragment(request) and seen:
        if seen != own.state:  # other forms belong below it now
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        return render(request, "portal/_backfill_head.html", _head(request, own))
    rows = backfills.items_visible_to(request.user, own)
    place = request.GET.get("show", "")
    shown = rows
    if place in dict(FINDINGS):
        shown = rows.filter(finding=place)
    elif place.removeprefix("result-") in dict(RESULTS):
        shown = rows.filter(result=place.removeprefix("result-"))
    listed = paginate(request, shown.defer("body", "body_key"), order=("id",))
    _tell(request.user, listed.rows)
    is_own, may_act = own.made_by_id == request.user.pk, backfills.may_act(request.user, own)
    context = {
        **_head(request, own),
        "page": listed,
        "place": place,
        "sums": _sums(rows),
        "is_own": is_own,
        "may_act": may_act,
        "proposal": backfills.proposal_of(own) if own.state in (State.ASKED, State.TRIED) else None,
        "start_form": (start_form or StartForm()) if own.state == State.TRIED and is_own and may_act else None,
        "cancel_form": (cancel_form or CancelForm()) if may_act and own.state in backfills.OPEN else None,
        "fresh": own.tried_at is not None and own.tried_at > timezone.now() - backfills.FRESH,
    }
    response = page(request, "portal/backfill_detail.html", "portal/_backfill_items.html", context, status=status)
    patch_vary_headers(response, ["HX-Target"])
    return response


def _head(request: HttpRequest, own: Backfill) -> dict[str, Any]:
    """How far it is, of the rows that the person sees."""
    rows = backfills.items_visible_to(request.user, own).order_by()
    found: dict[str, int] = dict(rows.values_list("finding").annotate(n=Count("pk")))
    results: dict[str, int] = dict(rows.values_list("result").annotate(n=Count("pk")))
    total, tried = sum(found.values()), sum(n for name, n in found.items() if name)
    taken = sum(found.get(t, 0) for t in own.takes)
    over = sum(results.get(r, 0) for r in (Result.CARRIED, Result.KNOWN, Result.IGNORED))
    percent = None
    if own.state == State.TRYING and total:
        percent = 100 * tried // total
    elif own.state in (State.RUNNING, State.PAUSED) and taken:
        percent = min(100, 100 * over // taken)
    return {
        "backfill": own, "total": total, "tried": tried, "taken": taken, "over": over, "percent": percent,
        "found": [(code, word, found[code]) for code, word in FINDINGS if found.get(code)],
        "results": [(code, word, results[code]) for code, word in RESULTS if results.get(code)],
        "carried": results.get(Result.CARRIED, 0), "is_started": own.started_at is not None,
        "will": sum(found.get(t, 0) for t in backfills.TAKEN), "held": found.get(Finding.HELD, 0),
        "differing": found.get(Finding.DIFFERS, 0), "every": POLLS.get(State(own.state), ""),
    }  # fmt: skip


def _sums(rows: QuerySet[BackfillItem]) -> list[dict[str, Any]]:
    """Count and amount by finding, flow, entity and currency; what leads to no document, by finding only."""
    grouped = rows.exclude(finding="").order_by().values("finding", "flow", "legal_entity_code", "currency")
    order = {code: n for n, (code, _) in enumerate(FINDINGS)}
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in grouped.annotate(count=Count("pk"), amount=Sum("amount")):
        entity = row["legal_entity_code"] if row["flow"] else ""
        key = order[Finding(row["finding"])], row["flow"], entity, row["currency"]
        known = found.setdefault(key, {**row, "legal_entity_code": entity, "count": 0, "amount": None})
        known["count"] += row["count"]
        if row["amount"] is not None:
            known["amount"] = (known["amount"] or 0) + row["amount"]
        known["title"] = told.flow_title(row["flow"]) if row["flow"] else ""
    return [found[key] for key in sorted(found)]


def _tell(user: Any, items: list[BackfillItem]) -> None:
    """Each row with its transaction, where the person sees it."""
    ids = {item.transaction_id for item in items if item.transaction_id is not None}
    rows = transactions_visible_to(user).filter(pk__in=ids) if ids else BusinessTransaction.objects.none()
    txns = {txn.pk: txn for txn in rows}
    for item in items:
        item.txn = txns.get(item.transaction_id) if item.transaction_id else None  # type: ignore[attr-defined]
        item.flow_title = told.flow_title(item.flow) if item.flow else ""  # type: ignore[attr-defined]


def _visible(request: PersonRequest, backfill_id: int) -> Backfill:
    found = backfills.backfills_visible_to(request.user).filter(pk=backfill_id).first()
    if found is None:
        raise Http404
    return found
