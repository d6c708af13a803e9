"""The case list and one case, in reading order: what is wrong, what it blocks, what to do, documents, what happened."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from exceptions import tallies
from exceptions.models import ExceptionCase
from exceptions.workbench.filters import CaseFilter
from q2c.core import access
from q2c.core.access import requires
from q2c.core.htmx import page, paginate
from q2c.transactions.models import BusinessTransaction


@require_GET
@requires("exceptions.view_case")
def case_list(request: HttpRequest) -> HttpResponse:
    """Cases of the queues and entities I may see, by promised time."""
    rows = tallies.cases_visible_to(request.user)
    found = CaseFilter(request.GET, rows, request=request)
    closed = request.GET.get("state") in ("resolved", "waived", "all")
    listed = paginate(request, found.qs, order=("-id",) if closed else ("due_at", "id"))
    context = {
        "filter": found,
        "page": listed,
        "cases": listed.rows,
        "totals": tallies.totals_of(request.user, listed.rows),
        "blocked": tallies.total_of_open(request.user),
        "counts": queue_counts(request.user),
    }
    return page(request, "exceptions/case_list.html", "exceptions/_case_table.html", context)


def queue_counts(user: Any) -> dict[str, int]:
    """Open cases of the person's queues: all, mine, nobody's, awaiting approval, late."""
    return (
        tallies.cases_visible_to(user)
        .filter(closed_at__isnull=True)
        .order_by()
        .aggregate(
            open=Count("pk"),
            mine=Count("pk", filter=Q(assignee=user)),
            nobody=Count("pk", filter=Q(assignee__isnull=True)),
            awaiting=Count("pk", filter=Q(state="awaiting_approval")),
            late=Count("pk", filter=Q(due_at__lt=timezone.now())),
        )
    )


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
    for row in documents:
        row.txn = txns.get(row.transaction_id)
    context = {
        "case": case,
        "total": tallies.totals_of(request.user, [case])[case.pk],
        "page": documents,
        "notes": list(case.notes.select_related("by").order_by("-id")[:50]),
        "change_sets": list(case.change_sets.select_related("proposed_by").order_by("-id")[:10]),
        "may_work": access.may(request.user, "exceptions.work_case", case.legal_entity_code or None),
        **forms,
    }
    return page(request, "exceptions/case_detail.html", "exceptions/_documents.html", context, status=status)


def _state_of(case: ExceptionCase) -> Q:
    return Q(closed_at__isnull=True) if case.is_open else Q()
