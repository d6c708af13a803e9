"""The audit trail: who did what to what, and why."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from q2c.core import access
from q2c.core.access import requires
from q2c.core.htmx import page, paginate
from q2c.core.models import AuditEntry


@require_GET
@requires("core.view_audit")
def audit_list(request: HttpRequest) -> HttpResponse:
    """Entries, newest first. Entries carry no entity: people of some entities see only their own deeds."""
    rows = AuditEntry.objects.all()
    if access.entities_of(request.user) is not None:
        rows = rows.filter(actor=request.user.username)
    return page(
        request,
        "portal/audit_list.html",
        "portal/_audit_table.html",
        {"page": paginate(request, rows, order=("-sequence",))},
    )
