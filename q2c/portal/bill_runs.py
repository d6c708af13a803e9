"""Bill runs: where each stands, what of it is missing or held and why; releasing, holding or rejecting one whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from connectors.models import Connection
from exceptions.closes import Close, Known, closes_of
from exceptions.models import ExceptionCase, Occurrence
from q2c.core import access, approvals
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import Counted, page, paginate
from q2c.core.models import Proposal
from q2c.flows import bill_run_acts as acts
from q2c.flows.bill_run_acts import RunRefused
from q2c.flows.bill_run_states import NOUNS, State, sum_of
from q2c.flows.bill_runs import policy_of, waits_for
from q2c.portal import told
from q2c.reconciliation.models import FeedGap
from q2c.transactions.bill_runs import BillRun, BillRunPart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

WAITING = (State.COMPLETE, State.HELD)  # for a person
NOT_DONE = (State.GATHERING, State.COMPLETE, State.HELD, State.POSTING)
SHOWN_AT_HOME = 5
GAPS_SHOWN = 20
# The places of a run's documents: the word, and which transactions stand there.
PLACES: dict[str, tuple[str, Q]] = {
    "held": ("Held by a case", Q(state="held")),
    "waiting": ("Waiting or on the way", Q(state__in=("waiting", "running", "unknown"))),
    "posted": ("Posted", Q(state="completed")),
    "given_up": ("Given up", Q(state="cancelled")),
}
DONE = {
    acts.RELEASE: "Released. Its documents post within seconds.",
    acts.REJECT: "Rejected. Its documents are given up, piece by piece; none of them posts.",
    "hold": "Held. Nothing more of it posts until somebody releases it.",
}


class AskForm(forms.Form):
    """Which entity, which system, which state."""

    entity = forms.ChoiceField(label="Entity", required=False)
    connection = forms.ChoiceField(label="System", required=False)
    state = forms.ChoiceField(label="State", required=False, choices=[
        ("", "All"), ("waiting", "Wait for a person"), *((s.value, s.label) for s in State)])  # fmt: skip

    def __init__(self, *args: Any, entities: list[str], names: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["entity"].choices = [("", "All entities"), *((code, code) for code in entities)]  # type: ignore[attr-defined]
        self.fields["connection"].choices = [("", "All systems"), *names.items()]  # type: ignore[attr-defined]
        dress(self, small=True)


class WhyForm(forms.Form):
    """Why it's decided so."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        dress(self)


@dataclass(frozen=True)
class Waiting:
    """A run that waits for a person, and the close that it stands in the way of."""

    run: BillRun
    count: int
    close: Close | None


def waiting_for_release(user: Any, *, entity: str = "", period: str = "") -> list[Waiting]:
    """The runs that a person sees and that aren't done, of an entity's period; without one, those that wait for a
    person, the oldest first."""
    rows = acts.runs_visible_to(user).filter(state__in=NOT_DONE if period else WAITING, holds=True)
    if period:
        rows = rows.filter(legal_entity_code=entity, period_code=period)
    found = list(rows.prefetch_related("parts").order_by("day", "id")[:SHOWN_AT_HOME])
    known: Known = {}
    closes = closes_of({(run.legal_entity_code, run.period_code) for run in found}, known=known)
    return [
        Waiting(run, sum_of(run.parts.all()).open, closes.get((run.legal_entity_code, run.period_code)))
        for run in found
    ]


@require_GET
@requires(acts.VIEW)
def bill_run_list(request: PersonRequest) -> HttpResponse:
    """Runs, the newest day first."""
    names = dict(Connection.objects.order_by("name").values_list("code", "name"))
    entities = [e.code for e in access.visible_entities(request.user, acts.VIEW)]
    form = AskForm(request.GET, entities=entities, names=names)
    is_right = form.is_valid()
    asked = form.cleaned_data if is_right else {}
    rows = acts.runs_visible_to(request.user)
    waiting = rows.filter(state__in=WAITING, holds=True)
    if asked.get("entity"):
        rows = rows.filter(legal_entity_code=asked["entity"])
    if asked.get("connection"):
        rows = rows.filter(connection_code=asked["connection"])
    if asked.get("state"):
        rows = rows.filter(state__in=WAITING if asked["state"] == "waiting" else [asked["state"]])
    parts = Prefetch("parts", BillRunPart.objects.order_by("document_type", "currency"))
    listed = paginate(request, rows.select_related("decided_by").prefetch_related(parts), order=("-day", "-id"))
    for run in listed.rows:
        run.sums, run.total = _by_currency(run.parts.all()), sum_of(run.parts.all())
        run.system = names.get(run.connection_code, run.connection_code)
        run.asked = None
    proposals = _proposals(listed.rows)
    for run in listed.rows:
        run.asked = proposals.get(str(run.pk))
    context = {
        "page": listed, "form": form, "waiting_count": waiting.count(), "is_asked": any(asked.values()),
    }  # fmt: skip
    return page(request, "portal/bill_run_list.html", "portal/_bill_run_table.html", context,
                status=200 if is_right else 422)  # fmt: skip


@require_GET
@requires(acts.VIEW)
def bill_run_detail(request: PersonRequest, run_id: int) -> HttpResponse:
    """One run: its parts, what differs, its documents, and what can be done."""
    return _show(request, _visible(request, run_id))


@require_POST
@requires(acts.PERMISSION)
def bill_run_decide(request: PersonRequest, run_id: int, verb: str) -> HttpResponse:
    """Release it, reject it whole, or hold it; or propose that where a second person has to agree."""
    run = _visible(request, run_id)
    if verb not in DONE:
        raise Http404
    form, made = WhyForm(request.POST), None
    if form.is_valid():
        try:
            if verb == "hold":
                acts.hold(run, by=request.user, why=form.cleaned_data["why"])
            else:
                made = acts.decide(run, verb, by=request.user, why=form.cleaned_data["why"])
        except (RunRefused, approvals.ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            if made is not None:
                said = "Proposed. Nothing changes until someone else approves."
                messages.success(request, said, extra_tags="decide")
                return redirect("portal:decision_detail", made.pk)
            messages.success(request, DONE[verb], extra_tags="done")
            return redirect("portal:bill_run_detail", run.pk)
    run.refresh_from_db()
    return _show(request, run, status=422, form=form)


def _visible(request: HttpRequest, run_id: int) -> BillRun:
    found = acts.runs_visible_to(request.user).select_related("decided_by").filter(pk=run_id).first()
    if found is None:
        raise Http404
    return found


def _show(request: PersonRequest, run: BillRun, *, status: int = 200, form: WhyForm | None = None) -> HttpResponse:
    parts = list(run.parts.order_by("document_type", "currency"))
    for part in parts:
        part.noun = NOUNS.get(part.document_type, part.document_type)  # type: ignore[attr-defined]
        part.lacking = _lacking(part)  # type: ignore[attr-defined]
        part.lacking_count = (part.expected_count or 0) - part.here_count  # type: ignore[attr-defined]
    total, policy, may_act = sum_of(parts), policy_of(run), acts.may_act(request.user, run)
    counts = {"held": total.held, "waiting": total.waiting, "posted": total.posted, "given_up": total.given_up}
    place = request.GET.get("show", "")
    place = place if place in PLACES else ""
    rows = transactions_visible_to(request.user).filter(bill_run_id=run.pk).defer("fact", "problem")
    shown = rows.filter(PLACES[place][1]) if place else rows
    number = counts[place] if place else sum(counts.values())
    listed = paginate(request, shown, order=("-id",), counted=Counted(number, is_exact=True))
    _tell_cases(request.user, listed.rows)
    told.tell_waits(request.user, listed.rows)
    proposal = acts.proposal_of(run)
    is_decided = run.decided_at is not None
    gaps = FeedGap.objects.filter(
        connection_code=run.connection_code, legal_entity_code=run.legal_entity_code, day=run.day, closed_at=None,
        document_type__in=NOUNS,
    ).order_by("document_type", "id")  # fmt: skip
    missing = [] if run.is_named else list(gaps[: GAPS_SHOWN + 1])
    known: Known = {}
    place_of = (run.legal_entity_code, run.period_code)
    context = {
        "run": run, "parts": parts, "total": total, "policy": policy, "page": listed, "place": place,
        "places": [(code, word, counts[code]) for code, (word, _) in PLACES.items() if counts[code]],
        "gaps": missing[:GAPS_SHOWN], "has_more_gaps": len(missing) > GAPS_SHOWN, "at_gate": waits_for(run),
        "others": _others(request.user, run), "system": Connection.objects.filter(code=run.connection_code).first(),
        "agreed": proposal if is_decided and _is(proposal, Proposal.State.APPROVED) else None,
        "proposal": proposal if _is(proposal, Proposal.State.PROPOSED) else None,
        "close": closes_of({place_of}, known=known).get(place_of) if run.holds and total.open else None,
        "may_act": may_act, "may_decide": may_act and run.holds and not is_decided,
        "may_hold": may_act and not run.stopped_by and run.state not in (State.REJECTED, State.POSTED)
        and not (run.holds and not is_decided),
        "two_release": acts.needs_two(run, acts.RELEASE, run.reasons),
        "two_reject": acts.needs_two(run, acts.REJECT, []),
        "who_may": access.who_may(acts.PERMISSION, run.legal_entity_code), "form": form or WhyForm(),
    }  # fmt: skip
    return page(request, "portal/bill_run_detail.html", "portal/_bill_run_documents.html", context, status=status)


def _is(proposal: Proposal | None, state: str) -> bool:
    return proposal is not None and proposal.state == state


@dataclass
class Money:
    """A run's documents in one currency: what was expected (None: not known), received and posted."""

    currency: str
    expected: Decimal | None = Decimal(0)
    received: Decimal = Decimal(0)
    posted: Decimal = Decimal(0)
    expected_count: int | None = 0


def _by_currency(parts: Iterable[BillRunPart]) -> list[Money]:
    """Each currency once: credit memos take from it."""
    found: dict[str, Money] = {}
    for part in parts:
        into, sign = found.setdefault(part.currency, Money(part.currency)), -1 if part.document_type != "invoice" else 1
        into.received += sign * part.received_amount
        into.posted += sign * part.posted_amount
        if part.expected_count is None or part.expected_amount is None or into.expected is None:
            into.expected = into.expected_count = None
        else:
            into.expected += sign * part.expected_amount
            into.expected_count = (into.expected_count or 0) + part.expected_count
    return list(found.values())


def _lacking(part: BillRunPart) -> Decimal | None:
    """What is missing by amount; None where that isn't known."""
    return None if part.expected_amount is None else part.expected_amount - part.here_amount


def _proposals(runs: Iterable[BillRun]) -> dict[str, Proposal]:
    ids = [str(run.pk) for run in runs]
    rows = Proposal.objects.filter(kind=acts.KIND, subject_type=acts.KIND, subject_id__in=ids, state="proposed")
    return {row.subject_id: row for row in rows.select_related("proposed_by").defer("content")}


def _others(user: Any, run: BillRun) -> list[BillRun]:
    """The same run in other entities, and its additions."""
    rows = acts.runs_visible_to(user).filter(connection_code=run.connection_code, name=run.name).exclude(pk=run.pk)
    return list(rows.order_by("legal_entity_code", "addition")[:20])


def _tell_cases(user: Any, rows: list[BusinessTransaction]) -> None:
    """Each held one with its case, where the person sees that."""
    held = [txn.pk for txn in rows if txn.state == "held"]
    found: dict[Any, ExceptionCase] = {}
    if held and access.may(user, "exceptions.view_case"):
        open_ones = Occurrence.objects.filter(transaction_id__in=held, closed_at=None).select_related("case")
        found = {row.transaction_id: row.case for row in open_ones.filter(access.in_cases_q(user))}
    for txn in rows:
        txn.case = found.get(txn.pk)  # type: ignore[attr-defined]
        txn.title = told.flow_title(txn.flow)  # type: ignore[attr-defined]
