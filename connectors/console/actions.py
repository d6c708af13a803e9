"""What people do to a connection: test, pause and resume with a reason, change."""

from __future__ import annotations

import datetime as dt

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from connectors import connections
from connectors.console.forms import ConnectionForm, ReasonForm
from connectors.console.views import show_connection, visible_connection
from exceptions import cases
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import dress
from q2c.core.problems import Category, Problem
from q2c.flows.tasks import nudge
from q2c.transactions import restart


@require_POST
@requires("connectors.work_connection")
def test(request: PersonRequest, code: str) -> HttpResponse:
    """Ask the vendor something harmless, and say what it answered."""
    connection = visible_connection(code)
    found = connections.test_connection(connection, by=request.user)
    if found.is_well:
        messages.success(
            request, f"{connection.name} answered in {found.took_ms:,} ms: {found.says}", extra_tags="done"
        )
    else:
        messages.warning(request, f"{connection.name} didn’t accept the test: {found.says}", extra_tags="act")
    return redirect("connectors:connection_detail", code)


@require_POST
@requires("connectors.work_connection")
def pause(request: PersonRequest, code: str) -> HttpResponse:
    """Send it no more work, with a reason."""
    connection = visible_connection(code)
    form = dress(ReasonForm(request.POST))
    if not form.is_valid():
        return show_connection(request, connection, status=422, reason_form=form)
    connections.pause(connection, by=request.user, reason=form.cleaned_data["why"])
    messages.success(request, f"{connection.name} is paused. What waits for it keeps its order.", extra_tags="done")
    return redirect("connectors:connection_detail", code)


@require_POST
@requires("connectors.work_connection")
def resume(request: PersonRequest, code: str) -> HttpResponse:
    """Send it work again: what waited for it is due at once."""
    connection = visible_connection(code)
    form = dress(ReasonForm(request.POST))
    if not form.is_valid():
        return show_connection(request, connection, status=422, reason_form=form)
    connections.resume(connection, by=request.user, reason=form.cleaned_data["why"])
    refused = Problem("credentials_refused", Category.AUTHENTICATION, "resumed", connection=connection.code)
    cases.close_matching(refused, how="resumed", why=form.cleaned_data["why"], by=request.user)
    nudge(restart.resume_waiting(connection_code=connection.code))
    messages.success(request, f"{connection.name} gets work again.", extra_tags="done")
    return redirect("connectors:connection_detail", code)


@require_http_methods(["GET", "POST"])
@requires("connectors.work_connection")
def edit(request: PersonRequest, code: str) -> HttpResponse:
    """Change name and concurrency at once; another address, account or credentials are proposed to a second person."""
    connection = visible_connection(code)
    form = ConnectionForm(request.POST or None, connection=connection)
    if request.method == "POST" and form.is_valid():
        try:
            return _save(request, form)
        except (ApprovalRefused, ValueError) as refused:
            form.add_error("base_url", str(refused))
    status = 422 if request.method == "POST" else 200
    return render(request, "connectors/connection_edit.html", {"connection": connection, "form": form}, status=status)


def _save(request: PersonRequest, form: ConnectionForm) -> HttpResponse:
    connection, data = form.connection, form.cleaned_data
    expires = data["expire_on"]
    expire_at = timezone.make_aware(dt.datetime.combine(expires, dt.time())) if expires else None
    by, why = request.user, data["why"]
    at_once = form.plain if form.secrets else {**form.plain, "secrets_expire_at": expire_at}
    is_moved = data["base_url"] != connection.base_url or form.settings != connection.settings
    if is_moved or form.secrets or form.removed:
        proposal = connections.propose_change(
            connection, base_url=data["base_url"], settings=form.settings, secrets=form.secrets, removed=form.removed,
            expire_at=expire_at, by=by, reason=why,
        )  # fmt: skip
        connections.change(connection, at_once, by=by, reason=why)
        messages.success(
            request, "What you changed waits for a second person; until then the old holds.", extra_tags="decide"
        )
        return redirect("portal:decision_detail", proposal.pk)
    connections.change(connection, at_once, by=by, reason=why)
    messages.success(request, f"{connection.name} is saved.", extra_tags="done")
    return redirect("connectors:connection_detail", connection.code)
