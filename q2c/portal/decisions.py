"""Decisions: proposals that wait for a second person, and one of them with what is signed."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from mappings.models import ChangeSet
from q2c.core import access, shell
from q2c.core.access import requires
from q2c.core.htmx import page, paginate
from q2c.core.models import Proposal


def proposals_visible_to(user: Any) -> Any:
    """Proposals about the person's entities; one without entities is seen by people of all."""
    return shell.proposals_visible_to(user).select_related("proposed_by")


@require_GET
@requires("core.view_decision")
def decision_list(request: HttpRequest) -> HttpResponse:
    """What waits for a decision; with `?state=` what was decided."""
    state = request.GET.get("state", "")
    rows = proposals_visible_to(request.user)
    is_past = state in ("approved", "rejected", "withdrawn", "void")
    rows = rows.filter(state=state) if is_past else rows.filter(state="proposed")
    listed = paginate(request, rows, order=("-id",) if is_past else ("proposed_at", "id"))
    waiting = list(shell.open_decisions(request.user)[:200])
    for_you = [
        p for p in waiting if p.proposed_by_id != request.user.pk and access.may(request.user, p.signer_permission)
    ]
    context = {"page": listed, "state": state if is_past else "", "for_you": len(for_you), "open_count": len(waiting)}
    return page(request, "portal/decision_list.html", "portal/_decision_table.html", context)


@require_GET
@requires("core.view_decision")
def decision_detail(request: HttpRequest, proposal_id: Any) -> HttpResponse:
    """What is to be signed. A change set has its own page."""
    return show_decision(request, visible_proposal(request, proposal_id))


def visible_proposal(request: HttpRequest, proposal_id: Any) -> Proposal:
    """The proposal, or 404 for a foreign one too."""
    found = proposals_visible_to(request.user).filter(pk=proposal_id).first()
    if found is None:
        raise Http404
    return found


def show_decision(request: HttpRequest, proposal: Proposal, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a proposal, also after a form that couldn't be used."""
    change_set = ChangeSet.objects.filter(proposal=proposal).first()
    if change_set is not None and status == 200:
        return redirect("mappings:change_set_detail", change_set.pk)
    context = {
        "proposal": proposal,
        "signatures": list(proposal.signatures.select_related("signed_by").order_by("signed_at")),
        "cant": why_not(request.user, proposal),
        "signers": access.who_may(proposal.signer_permission),
        **forms,
    }
    return page(request, "portal/decision_detail.html", "portal/_decision_form.html", context, status=status)


def why_not(user: Any, proposal: Proposal) -> str:
    """Why this person can't sign it, or "" if they can."""
    if proposal.state != Proposal.State.PROPOSED:
        return f"It's {proposal.get_state_display().lower()} already."
    if proposal.proposed_by_id == user.pk:
        return "You proposed it; somebody else decides."
    entities = proposal.legal_entities or [None]
    if not all(access.may(user, proposal.signer_permission, entity) for entity in entities):
        return "Your role doesn't decide this."
    return ""
