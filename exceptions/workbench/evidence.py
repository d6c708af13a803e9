"""The evidence of one document of a case: as the ERP would hold it, side by side, and the technical facts."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from exceptions import tallies
from exceptions.kinds import PLATFORM
from exceptions.preview import preview
from exceptions.workbench.cases import visible_case
from q2c.core import access
from q2c.core.access import requires
from q2c.core.htmx import page
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.transactions.models import BusinessTransaction


@require_GET
@requires("exceptions.view_case")
def case_evidence(request: HttpRequest, case_id: int) -> HttpResponse:
    """One document of the case, `?document=` or the newest: what would be booked, and what differs; nothing is sent."""
    case = visible_case(request, case_id)
    rows = tallies.occurrences_visible_to(request.user, case).exclude(transaction_id=None)
    asked = request.GET.get("document", "")
    try:
        wanted = UUID(asked) if asked else None
    except ValueError:
        raise Http404 from None
    row = (rows.filter(transaction_id=wanted) if wanted else rows.filter(closed_at=None)).order_by("-id").first()
    if row is None and asked:
        raise Http404
    txn = BusinessTransaction.objects.filter(pk=row.transaction_id).first() if row and row.transaction_id else None
    view = request.GET.get("view", "")
    if view not in ("business", "technical"):
        roles = [role for role, _ in access.memberships(request.user)]
        view = "technical" if roles and all(role.queues == (PLATFORM,) for role in roles) else "business"
    context = {
        "case": case,
        "row": row,
        "txn": txn,
        "view": view,
        "found": preview(txn) if txn and txn.state == "held" and txn.flow in FLOWS else None,
    }
    return page(request, "exceptions/case_evidence.html", "exceptions/_evidence.html", context)
