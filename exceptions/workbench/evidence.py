"""The evidence of one document of a case: as the ERP would hold it, side by side, and the technical facts."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from exceptions import tallies
from exceptions.kind_words import PLATFORM
from exceptions.preview import Preview, preview
from exceptions.workbench.cases import visible_case
from q2c.core import access, reveals
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import page
from q2c.core.templatetags.technical import pretty
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.inbox.models import InboundKey
from q2c.inbox.selectors import message_visible_to
from q2c.records.persons import persons_among
from q2c.transactions.models import BusinessTransaction

TECHNICAL = "transactions.view_exchange"


@require_GET
@requires("exceptions.view_case")
def case_evidence(request: HttpRequest, case_id: int) -> HttpResponse:
    """One document of the case, `?document=` or the newest: what would be booked, and what differs; nothing is sent."""
    return _show(request, case_id, view=request.GET.get("view", ""))


@require_POST
@requires(reveals.PERMISSION)
def evidence_reveal(request: PersonRequest, case_id: int) -> HttpResponse:
    """The technical view with what is masked of it, this once and with a reason."""
    return _show(request, case_id, view="technical", form=reveals.RevealForm(request.POST))


def _show(request: HttpRequest, case_id: int, *, view: str, form: reveals.RevealForm | None = None) -> HttpResponse:
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
    entity = row.legal_entity_code if row else ""
    may_switch = access.sees_entity(request.user, entity, TECHNICAL) if row else access.may(request.user, TECHNICAL)
    if form is not None and not may_switch:
        return access.denied(request, TECHNICAL)
    if not may_switch:
        view = "business"
    elif view not in ("business", "technical"):
        roles = [role for role, _ in access.memberships(request.user)]
        view = "technical" if roles and all(role.queues == (PLATFORM,) for role in roles) else "business"
    plain = {"evidence": pretty(row.problem.get("evidence") or "") if row else ""}
    facts = {name: str(value) for name, value in (row.problem.get("subject") or {}).items()} if row else {}
    plain |= {f"about:{name}": value for name, value in facts.items()}
    about = ("transaction", row.transaction_id) if row and row.transaction_id else ("case", case.pk)
    people = persons_among([txn.customer_name] if txn else [])
    shown = reveals.show_masked(request.user, about, plain, entity=entity, form=form, people=people)
    context = {
        **shown,
        "facts": {name: shown[f"about:{name}"] for name in facts},
        "may_switch": may_switch,
        "reveal_url": f"{reverse('exceptions:evidence_reveal', args=[case.pk])}?document={row.transaction_id or ''}"
        if row
        else "",
        "case": case,
        "row": row,
        "txn": txn,
        "view": view,
        "found": _told(request, txn) if txn is not None and view == "business" else None,
    }
    return page(
        request, "exceptions/case_evidence.html", "exceptions/_evidence.html", context, status=reveals.status_of(shown)
    )


def _told(request: HttpRequest, txn: BusinessTransaction) -> Preview | None:
    """How the ERP would hold it, while it's held in a flow that we know. What it came as is for people who may read
    messages."""
    if txn.state != "held" or txn.flow not in FLOWS:
        return None
    message = None
    if txn.event_id is not None and access.may(request.user, "inbox.view_event"):
        with suppress(InboundKey.DoesNotExist):
            message = message_visible_to(request.user, txn.event_id)
    return preview(txn, message=message)
