"""The case list and one case, in reading order: what is wrong, what it blocks, what to do, documents, what happened."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.db.models import Count, Min, Prefetch, Q, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET

from connectors import links_out
from connectors.models import Connection
from exceptions import doubles, kind_words, kinds, runbooks, tallies
from exceptions.case_columns import CHOSEN
from exceptions.closes import Known
from exceptions.models import CaseFile, CaseNote, ExceptionCase
from exceptions.resolving.held import NEVER_WAIVED, NONE_WAIVED
from exceptions.said import cover_notes
from exceptions.workbench.clock_forms import clock_context
from exceptions.workbench.columns import column_facts, columns_address
from exceptions.workbench.filters import CaseFilter
from exceptions.workbench.forms import AssignForm, NoteForm, ReasonForm, RepostForm
from exceptions.workbench.picks import picks_of_case, picks_of_queue
from exceptions.workbench.playbook import playbook_facts, prefill
from exceptions.workbench.queue import ranked_page
from exceptions.workbench.regroup_forms import regroup_facts
from exceptions.workbench.resolving_forms import BUILDERS, put_aside
from exceptions.workbench.views import query_of, views_for
from mappings import kinds as mapping_kinds
from mappings.forms import RuleForm
from q2c.core import access, shell
from q2c.core.access import requires
from q2c.core.htmx import Counted, count_rows, page, paginate
from q2c.core.markup import render_markup
from q2c.core.roles import ROLES
from q2c.core.templatetags.words import spoken
from q2c.flows import pausing
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.ports import choices_of
from q2c.records.models import DuplicatePair
from q2c.transactions.models import BusinessTransaction

FORMS = {
    kind_words.REMAP_AND_REPOST: ("mappings.propose_rule", "remap_form"),
    kind_words.REPOST: ("transactions.repost", "repost_form"),
    kind_words.LOOK_AGAIN: ("transactions.repost", "look_form"),
    kinds.OVERRIDE: ("exceptions.work_case", "override_form"),
    kind_words.WAIVE: ("exceptions.waive_case", "waive_form"),
    kind_words.CORRECT_AT_SOURCE: ("exceptions.work_case", "correct_form"),
    kind_words.EDIT_FIELDS: ("exceptions.work_case", "edit_form"),
    kind_words.EMERGENCY_EDIT: ("exceptions.work_case", "emergency_form"),
    kind_words.LINK: ("transactions.repost", "link_form"),
    kind_words.CHOOSE_PERIOD: ("exceptions.work_case", "period_form"),
    kind_words.WRITE_OFF: ("exceptions.work_case", "write_off_form"),
    kind_words.ACCEPT_DIFFERENCE: ("exceptions.work_case", "difference_form"),
    kind_words.APPLY_OPEN: ("exceptions.work_case", "apply_open_form"),
}


_FILES = Prefetch("files", CaseFile.objects.defer("body", "body_key").order_by("id"))
EDITS = (kind_words.EDIT_FIELDS, kind_words.EMERGENCY_EDIT)  # of a document that the address may name
_NONE_FITS = {
    **dict.fromkeys(EDITS, "None of its documents has a field that may be edited."),
    kind_words.APPLY_OPEN: "None of its documents is a payment or credit to be applied.",
}
# What is offered for every open case, whatever its kind allows.
ANY_CASE = {kind_words.SNOOZE: "snooze_form", kind_words.SEND_BACK: "sendback_form"}


SORTS = {"due": ("due_at", "id"), "newest": ("-id",)}


class Remedy(NamedTuple):
    """One way out: its form, or why this person can't use it, or (neither) a way outside the portal."""

    code: str
    title: str
    form: Any
    why_not: str
    url: str = ""
    template: str = ""  # of a form that asks for more than a reason


@require_GET
@requires("exceptions.view_case")
def case_list(request: HttpRequest) -> HttpResponse:
    """Cases of the queues and entities I may see: open ones by amount at risk and nearness of the close, or as
    asked."""
    if CHOSEN in request.GET:
        return redirect(request.path + columns_address(request.GET))
    rows = tallies.cases_visible_to(request.user)
    closes: Known = {}
    blocked_closes = tallies.closes_blocked(request.user, known=closes)
    found = CaseFilter(request.GET, rows, request=request)
    found.blocked_closes = blocked_closes
    has_closed = request.GET.get("state") in ("resolved", "waived", "all")
    sort = request.GET.get("sort", "")
    counts = queue_counts(request.user, blocked_closes)
    shell.know_open_cases(request.user, counts["open"])
    counted = _counted_already(found, counts)
    if has_closed or sort in SORTS:
        listed = paginate(request, found.qs, order=("-id",) if has_closed else SORTS[sort], counted=counted)
    else:
        listed = ranked_page(request, found.qs, counted=counted, known=closes)
    context = {
        "filter": found,
        "page": listed,
        "cases": listed.rows,
        "sort": "" if has_closed else sort if sort in SORTS else "rank",
        "closes": blocked_closes[:3],
        "more_closes": len(blocked_closes[3:]),
        "reporting_currency": settings.REPORTING_CURRENCY,
        "totals": tallies.totals_of(request.user, listed.rows),
        "now": timezone.now(),
        "counts": counts,
        "paused_work": pausing.pauses_seen_by(request.user),
        "picks": None if has_closed else picks_of_queue(request, Counted(listed.total, listed.total_is_exact)),
        "views": views_for(request),
        "kept": query_of(request.GET),
        "listens": not has_closed and not listed.previous_url,
        **column_facts(request, listed.rows),
        "density": "compact" if request.GET.get("density") == "compact" else "",
    }
    return page(request, "exceptions/case_list.html", "exceptions/_case_table.html", context)


_TAB_OF = {
    ("owner", "mine"): "mine",
    ("owner", "nobody"): "nobody",
    ("state", "awaiting_approval"): "awaiting",
    ("due", "at_risk"): "at_risk",
    ("due", "late"): "late",
    ("blocks", "any"): "blocking",
}


def _counted_already(found: CaseFilter, counts: dict[str, Counted]) -> Counted | None:
    """How many the list has where one of the tabs counts the same cases."""
    found.form.is_valid()
    asked = {name: value for name, value in found.form.cleaned_data.items() if value not in (None, "")}
    if not asked:
        return counts["open"]
    return counts.get(_TAB_OF.get(next(iter(asked.items())), "")) if len(asked) == 1 else None


def queue_counts(user: Any, blocked: list[tallies.BlockedClose]) -> dict[str, Counted]:
    """Open cases of the person's queues: all, mine, nobody's, awaiting approval, at risk, late, and those that block
    one of these closes; exact up to 10,000."""
    cases = tallies.open_cases_visible_to(user)
    parts = {
        "open": cases,
        "mine": cases.filter(assignee=user),
        "nobody": cases.filter(assignee__isnull=True),
        "awaiting": cases.filter(state="awaiting_approval"),
        "at_risk": cases.filter(standing="at_risk", paused_for=""),
        "late": tallies.late(cases),
        "blocking": cases.filter(tallies.blocking_q(user, tallies.places_of(blocked))),
    }
    return {name: count_rows(rows) for name, rows in parts.items()}


def visible_case(request: HttpRequest, case_id: int) -> ExceptionCase:
    """The case, or 404 for a foreign one too."""
    try:
        return tallies.case_visible_to(request.user, case_id)
    except ExceptionCase.DoesNotExist:
        raise Http404 from None


@require_GET
@requires("exceptions.view_case")
def case_detail(request: HttpRequest, case_id: int) -> HttpResponse:
    """One case."""
    return show_case(request, visible_case(request, case_id))


def show_case(request: HttpRequest, case: ExceptionCase, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a case, also after a form that couldn't be used."""
    documents = paginate(
        request, tallies.occurrences_visible_to(request.user, case).filter(_state_of(case)), order=("-id",), size=25
    )
    ids = [row.transaction_id for row in documents if row.transaction_id]
    txns = {t.pk: t for t in BusinessTransaction.objects.filter(pk__in=ids).defer("fact")}
    connections = {c.code: c for c in Connection.objects.all()}
    chosen = choices_of(ids)
    for row in documents:
        row.chosen = chosen.get(row.transaction_id, {})
        row.txn = txns.get(row.transaction_id)
        if row.txn is not None and row.txn.target_id:
            target = connections.get(row.txn.target_connection)
            row.target_system = target.name if target else row.txn.target_connection
            row.target_link = links_out.record_url(target, row.txn.target_type, row.txn.target_id)
    kind = kinds.kind_of(case.kind)
    by_flow = _by_flow(request.user, case)
    change_sets = list(case.change_sets.select_related("proposed_by").order_by("-id")[:10])
    context = {
        "case": case,
        "kind": kind,
        "paused_work": pausing.pauses_seen_by(request.user, entity=case.legal_entity_code) if case.is_open else [],
        "kind_title": kind.title,
        "key_title": _key_title(case),
        "severity": kind_words.SEVERITY_WORDS.get(case.severity, ""),
        "system": connections[case.connection_code].name if case.connection_code in connections else "",
        "runbook": _runbook(case, kind),
        "total": tallies.totals_of(request.user, [case])[case.pk],
        "by_flow": by_flow,
        "page": documents,
        "held_at": _sentence(documents.rows[0].flow, documents.rows[0].step) if documents.rows else "",
        "notes": _notes(request.user, case),
        "change_sets": change_sets,
        "pairs": _pairs(request.user, case, documents.rows),
        "proposers": [change_set.proposed_by for change_set in change_sets if change_set.state == "proposed"],
        "remedies": remedies(request, case, kind, forms, flows={row["flow"] for row in by_flow}),
        **playbook_facts(request, case),
        **regroup_facts(case),
        "may_waive": _may(request.user, "exceptions.waive_case", case),
        "may_work": _may(request.user, "exceptions.work_case", case),
        "assign_form": AssignForm(case=case),
        "note_form": NoteForm(),
        "picks": picks_of_case(request, case, kind),
        **clock_context(case),
        **put_aside(case),
        **forms,
    }
    return page(request, "exceptions/case_detail.html", "exceptions/_documents.html", context, status=status)


def _notes(user: Any, case: ExceptionCase) -> list[CaseNote]:
    """The newest notes, as this person may read them."""
    rows = list(case.notes.select_related("by").prefetch_related(_FILES).order_by("-id")[:50])
    for row in rows:
        row.case = case
    return cover_notes(user, rows)


def remedies(
    request: HttpRequest, case: ExceptionCase, kind: kinds.Kind, forms: dict[str, Any], *, flows: Collection[str]
) -> list[Remedy]:
    """What this kind allows, each with its form or with the reason that this person can't use it; `flows` are those of
    its documents."""
    if not case.is_open:
        return []
    found = []
    same = prefill(request, case)
    ways = [*kind.may, *((kind_words.EMERGENCY_EDIT,) if kind_words.EDIT_FIELDS in kind.may else ())]
    for code in ways:
        title = kind_words.RESOLUTION_WORDS[code]
        permission, form_name = FORMS.get(code, ("", ""))
        if not permission:
            found.append(Remedy(code, title, None, ""))
        elif not _may(request.user, permission, case):
            who = ", ".join(role.title for role in ROLES if permission in role.may)
            found.append(Remedy(code, title, None, f"Not possible for you: {who} can."))
        elif code == kind_words.WAIVE and flows and set(flows) <= set(NEVER_WAIVED):
            found.append(Remedy(code, title, None, NONE_WAIVED))
        elif code == kind_words.REMAP_AND_REPOST:
            found.append(Remedy(code, title, forms.get(form_name) or same.fill(rule_form(request, case), code), ""))
        else:
            name = form_name.removesuffix("_form")
            url = reverse(f"exceptions:case_{name}", args=[case.pk])
            if code in BUILDERS:
                form = forms.get(form_name) or BUILDERS[code](
                    case, request.user, request.GET if code in EDITS else None
                )
                if form is None:
                    found.append(Remedy(code, title, None, _NONE_FITS[code]))
                    continue
                if code == kind_words.WAIVE and set(flows) & set(NEVER_WAIVED):
                    form.kept = f"What stays held: {NONE_WAIVED[:1].lower()}{NONE_WAIVED[1:]}"
                found.append(Remedy(code, title, form, "", url, f"exceptions/resolving/{name}.html"))
                continue
            blank = RepostForm if code == kind_words.REPOST else ReasonForm
            found.append(Remedy(code, title, forms.get(form_name) or same.fill(blank(prefix=code), code), "", url))
    may_work = _may(request.user, "exceptions.work_case", case)
    for code, form_name in ANY_CASE.items() if may_work else ():
        if code == kind_words.SNOOZE and case.snoozed_at is not None:
            continue
        name = form_name.removesuffix("_form")
        form = forms.get(form_name) or BUILDERS[code](case, request.user)
        url = reverse(f"exceptions:case_{name}", args=[case.pk])
        found.append(
            Remedy(code, kind_words.RESOLUTION_WORDS[code], form, "", url, f"exceptions/resolving/{name}.html")
        )
    return found


def rule_form(request: HttpRequest, case: ExceptionCase, data: Any = None) -> RuleForm | None:
    """The form of the rule that the case lacks; None when the case names no kind of mapping."""
    asked = case.subject
    if asked.get("kind") not in mapping_kinds.BY_CODE:
        return None
    first = BusinessTransaction.objects.filter(
        pk__in=case.occurrences.filter(closed_at__isnull=True).values("transaction_id")[:500]
    ).aggregate(first=Min("document_date"))["first"]
    return RuleForm(data, kind=asked["kind"], user=request.user, asked=asked, first_date=first)


def _pairs(user: Any, case: ExceptionCase, rows: list[Any]) -> list[DuplicatePair]:
    """The pairs of records that people decide about before what is shown of the case goes on."""
    if case.kind != doubles.KIND:
        return []
    named = {pair for row in rows for pair in doubles.pairs_named(row.problem)}
    return list(access.visible_to(user, DuplicatePair.objects.filter(pk__in=named)).order_by("state", "-score", "pk"))


def _key_title(case: ExceptionCase) -> str:
    """What the key of a missing rule is: "SKU"."""
    asked = mapping_kinds.BY_CODE.get(str(case.subject.get("kind", "")))
    return spoken(" and ".join(asked.key_fields)) if asked else "Key"


def _may(user: Any, permission: str, case: ExceptionCase) -> bool:
    return access.may(user, permission, case.legal_entity_code or None, kind=case.kind)


def _runbook(case: ExceptionCase, kind: kinds.Kind) -> SafeString:
    """What to do: the newest text of those who work the queue, with the case's own words filled in."""
    text = runbooks.text_of(kind, runbooks.newest(kind.code))
    return render_markup(runbooks.fill_in(text, {**case.subject, "connection": case.connection_code}))


def _sentence(flow: str, step: str) -> str:
    """A step's own sentence, from its flow."""
    found = [s.sentence for s in FLOWS[flow].steps if s.name == step] if flow in FLOWS else []
    return found[0] if found else step.replace("_", " ").capitalize()


def _by_flow(user: Any, case: ExceptionCase) -> list[dict[str, Any]]:
    """Open documents and money by flow and currency: unlike documents are never summed."""
    rows = tallies.occurrences_visible_to(user, case).filter(closed_at__isnull=True)
    grouped = rows.order_by("flow", "currency").values("flow", "currency")
    sums = grouped.annotate(count=Count("pk"), amount=Sum("amount"))
    found = cast("list[dict[str, Any]]", list(sums)) if case.is_open else []
    for row in found:
        flow = FLOWS.get(row["flow"])
        row["title"] = flow.title if flow else row["flow"]
    return found


def _state_of(case: ExceptionCase) -> Q:
    return Q(closed_at__isnull=True) if case.is_open else Q()
