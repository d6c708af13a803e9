"""The verdict on a change set: approved or rejected by those whom policy asks, or approved in an emergency."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from exceptions import releases
from mappings.approvals import Decision
from mappings.models import ChangeSet
from mappings.workbench.change_sets import show_change_set, visible_change_set
from mappings.workbench.signing import EmergencyForm, SignForm
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import IN_EMERGENCY, ApprovalRefused
from q2c.core.filters import dress
from q2c.transactions.restart import Restarted

SAID = {
    "approved": "Approved. The rules hold from their dates on.",
    "rejected": "Rejected. Nothing posts differently.",
    "void": "It’s void, and has to be proposed again.",
}


@require_POST
@requires("mappings.approve_rule")
def sign(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Approve or reject a change set."""
    change_set = visible_change_set(request, change_set_id)
    form = SignForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            decision, reposted = releases.decide_change_set(
                change_set,
                by=request.user,
                approve=data["verdict"] == "approve",
                why=data["why"],
                seen_hash=data["seen_hash"],
            )
        except ApprovalRefused as refused:
            form.add_error(None, f"Not possible: {refused.why}")
        else:
            return _decided(request, change_set, decision, reposted)
    return show_change_set(request, change_set, status=422, sign_form=form)


@require_POST
@requires(IN_EMERGENCY)
def emergency(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Approve a change set in an emergency: one signature, for hours, reviewed afterwards by somebody else."""
    change_set = visible_change_set(request, change_set_id)
    form = EmergencyForm(request.POST, label_suffix="", auto_id="id_em_%s")
    if form.is_valid():
        data = form.cleaned_data
        try:
            decision, reposted = releases.decide_change_set(
                change_set, by=request.user, approve=True, why=data["why"], seen_hash=data["seen_hash"],
                emergency_hours=data["hours"],
            )  # fmt: skip
        except ApprovalRefused as refused:
            form.add_error(None, f"Not possible: {refused.why}")
        else:
            return _decided(request, change_set, decision, reposted, emergency=True)
    return show_change_set(request, change_set, status=422, emergency_form=dress(form))


def _decided(
    request: HttpRequest, change_set: ChangeSet, decision: Decision, reposted: list[Restarted], *,
    emergency: bool = False,
) -> HttpResponse:  # fmt: skip
    """Say what came of a signature, and lead to the page."""
    said = SAID.get(decision.state, "Your signature is there; it needs another person.")
    if emergency and decision.is_in_force:
        said = "In force until its hours are over. Somebody else has to review it."
    count = sum(row.is_restarted for row in reposted)
    if count:
        said += f" {count:,} {'document goes' if count == 1 else 'documents go'} on."
    tone = "act" if decision.state == "void" else "done"
    messages.success(request, f"{said} {decision.why}".strip(), extra_tags=tone)
    return redirect("mappings:change_set_detail", change_set.pk)
