"""Decisions: proposals that wait for a second person, and one of them with what is signed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from connectors import connections
from connectors.manifest import TELLS_HOLDS
from exceptions import bulk_agreeing, cases, doubles, resolutions, tallies, writeback
from exceptions.alerts import channels
from exceptions.kind_words import EMERGENCY_EDIT
from exceptions.kinds import OVERRIDE
from exceptions.resolving import agreeing, deciding, order_unwinding, reversing, unwinding, waiting
from mappings import identities
from mappings.approvals import KIND as CHANGE_SET
from mappings.models import ChangeSet
from q2c.core import access, approvals, emergencies, erasures, holds, memberships, open_work, shell
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate
from q2c.core.models import EMERGENCY_HOURS_MAX, Erasure, Person, Proposal
from q2c.flows import backfills, bill_run_acts
from q2c.flows.field_owners import field_owners
from q2c.flows.steps.approve import POSTING, wait_key
from q2c.flows.tasks import nudge
from q2c.inbox import api_clients
from q2c.portal.holds import Standing, standing_for
from q2c.records import duplicates, overrides
from q2c.transactions.restart import release_waits

SIGNED_SHOWN = 50


def proposals_visible_to(user: Any) -> Any:
    """Proposals about the person's entities; one without entities is seen by people of all."""
    return shell.proposals_visible_to(user).select_related("proposed_by")


@require_GET
@requires("core.view_decision")
def decision_list(request: HttpRequest) -> HttpResponse:
    """What waits for a decision; with `?state=` what was decided."""
    state = request.GET.get("state", "")
    rows = proposals_visible_to(request.user).defer("content")  # what is signed may be thousands of documents
    is_past = state in ("approved", "rejected", "withdrawn", "void")
    rows = rows.filter(state=state) if is_past else rows.filter(state="proposed")
    listed = paginate(request, rows, order=("-id",) if is_past else ("proposed_at", "id"))
    waiting = list(shell.open_decisions(request.user).defer("content")[:200])
    for_you = [
        p for p in waiting if p.proposed_by_id != request.user.pk and access.may(request.user, p.signer_permission)
    ]
    context = {"page": listed, "state": state if is_past else "", "for_you": len(for_you), "open_count": len(waiting)}
    context["unreviewed"] = emergencies.uses_visible_to(request.user).filter(reviewed_at=None).count()
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
        "hours_max": EMERGENCY_HOURS_MAX if proposal.kind == agreeing.PREFIX + EMERGENCY_EDIT else 0,
        "signed": _signed_documents(proposal),
        "signers": approvals.signers_of(proposal),
        "signer_roles": access.roles_with(proposal.signer_permission),
        "may_withdraw": proposal.proposed_by_id == request.user.pk and _is_withdrawable(proposal),
        "withdraw_form": WithdrawForm(),
        "sees_case": _sees_case(request.user, proposal),
        "is_about_roles": proposal.kind in memberships.KINDS,
        "is_about_channel": proposal.kind == channels.KIND,
        "is_about_plan": proposal.kind in _PLANS,
        "sees_keeping": access.may(request.user, holds.VIEW),
        "is_about_run": proposal.kind == bill_run_acts.KIND,
        "stands": _stands_in_its_way(request.user, proposal),
        "sees_people": access.may(request.user, "core.view_access"),
        **forms,
    }
    return page(request, "portal/decision_detail.html", "portal/_decision_form.html", context, status=status)


def _signed_documents(proposal: Proposal) -> list[dict[str, Any]]:
    """The first documents of a resolution as they were signed for, with amounts and dates as such."""
    if not proposal.kind.startswith(agreeing.PREFIX):
        return []
    found = []
    for row in proposal.content["documents"][:SIGNED_SHOWN]:
        would = row.get("would", {})
        named = [name for name in ("document_date", "posting_date") if name in would]
        dates = {name: dt.date.fromisoformat(would[name]) for name in named}
        found.append({**row, **dates, "amount": Decimal(row["amount"]) if row["amount"] else None})
    return found


def _stands_in_its_way(user: Any, proposal: Proposal) -> Standing | None:
    """What is open of a customer who is to be erased, as long as they aren't."""
    if proposal.kind != erasures.KIND:
        return None
    waits = Erasure.objects.filter(proposal=proposal, state__in=(Erasure.State.PROPOSED, Erasure.State.WAITING))
    if (erasure := waits.first()) is None:
        return None
    return standing_for(user, open_work.of_customer(erasure.customer))


def _sees_case(user: Any, proposal: Proposal) -> bool:
    """Whether this person may open the case that it's about: a signer of the emergency role may not."""
    case_id = proposal.content.get("case")
    if not isinstance(case_id, int) or not access.may(user, "exceptions.view_case"):
        return False
    return tallies.cases_shown_to(user).filter(pk=case_id).exists()


class WithdrawForm(forms.Form):
    """Why somebody takes back what they proposed."""

    why = forms.CharField(label="Reason", min_length=3, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", "prefix": "withdraw", **kwargs})
        dress(self)


class SignForm(forms.Form):
    """The verdict, why, and the hash of what was looked at."""

    verdict = forms.ChoiceField(choices=[("approve", "Approve"), ("reject", "Reject")])
    why = forms.CharField(label="Reason", required=False, max_length=1000)
    seen_hash = forms.CharField(max_length=64)
    hours = forms.IntegerField(label="Hours", required=False, min_value=1, max_value=EMERGENCY_HOURS_MAX)


@require_POST
@requires("core.view_decision")
def decision_sign(request: HttpRequest, proposal_id: Any) -> HttpResponse:
    """Approve or reject; what was approved holds at once."""
    proposal = visible_proposal(request, proposal_id)
    if not access.may(request.user, proposal.signer_permission):
        return access.denied(request, proposal.signer_permission)
    form = SignForm(request.POST)
    if not form.is_valid():
        return show_decision(request, proposal, status=422, sign_form=form)
    data = form.cleaned_data
    try:
        state = decide(
            proposal,
            by=request.user,
            approve=data["verdict"] == "approve",
            why=data["why"],
            seen_hash=data["seen_hash"],
            emergency_hours=data["hours"],
        )
    except approvals.ApprovalRefused as refused:
        form.add_error(None, f"Not possible: {refused.why}")
        return show_decision(request, proposal, status=422, sign_form=form)
    except ValueError as refused:
        proposal.refresh_from_db()  # what was signed was taken back with it
        form.add_error(None, f"Not possible: {refused}")
        return show_decision(request, proposal, status=422, sign_form=form)
    messages.success(request, proposal.void_reason or SAID[state], extra_tags="done")
    return redirect("portal:decision_detail", proposal.pk)


@require_POST
@requires("core.view_decision")
def decision_withdraw(request: PersonRequest, proposal_id: Any) -> HttpResponse:
    """Whoever proposed a resolution or a channel takes it back while nobody has decided."""
    proposal = visible_proposal(request, proposal_id)
    form = WithdrawForm(request.POST)
    is_filled = form.is_valid()
    if proposal.proposed_by_id != request.user.pk:
        form.add_error(None, "Not possible: Only its proposer can withdraw it.")
    elif not _is_withdrawable(proposal):
        form.add_error(None, "Not possible: It’s decided, or taken back on its own page.")
    elif is_filled:
        try:
            _WITHDRAWS.get(proposal.kind, agreeing.withdraw)(proposal, by=request.user, why=form.cleaned_data["why"])
        except approvals.ApprovalRefused as refused:
            form.add_error(None, f"Not possible: {refused.why}")
        else:
            messages.success(request, "Withdrawn. Nothing changes.", extra_tags="done")
            return redirect("portal:decision_detail", proposal.pk)
    return show_decision(request, proposal, status=422, withdraw_form=form)


def _is_withdrawable(proposal: Proposal) -> bool:
    waits = proposal.state == Proposal.State.PROPOSED
    return waiting.is_withdrawable(proposal) or (proposal.kind in _WITHDRAWS and waits)


_PLANS = {
    unwinding.KIND: unwinding.decide, order_unwinding.KIND: order_unwinding.decide, reversing.KIND: reversing.decide,
}  # fmt: skip
_DECIDES: dict[str, Any] = {**_PLANS, bill_run_acts.KIND: bill_run_acts.sign}
_WITHDRAWS: dict[str, Any] = {
    channels.KIND: channels.withdraw, erasures.KIND: erasures.withdraw,
    **dict.fromkeys((*_DECIDES, api_clients.KIND), approvals.withdraw), **dict.fromkeys(holds.KINDS, holds.withdraw),
}  # fmt: skip
SAID: dict[str, str] = {
    Proposal.State.APPROVED: "Approved. It holds now.",
    Proposal.State.REJECTED: "Rejected. Nothing changes.",
    Proposal.State.PROPOSED: "Your signature is there; it needs another person.",
    Proposal.State.VOID: "It’s void. It has to be proposed again.",
}


def decide(
    proposal: Proposal, *, by: Any, approve: bool, why: str, seen_hash: str, emergency_hours: int | None = None
) -> str:
    """Sign, and put into force what two people agreed on. Returns the proposal's state. `emergency_hours` is of an edit
    in an emergency.

    Raises ApprovalRefused, or ValueError when it can't be put into force any more (then nothing is signed).
    """
    if proposal.kind == CHANGE_SET:  # signed here it would be agreed on, and never be put into force
        raise approvals.ApprovalRefused("own_page", "A change set is decided on its own page.")
    if proposal.kind == OVERRIDE:
        state, _ = resolutions.decide_override(proposal, by=by, approve=approve, why=why, seen_hash=seen_hash)
        return state
    if proposal.kind.startswith(agreeing.PREFIX):
        state, _ = deciding.decide(
            proposal, by=by, approve=approve, why=why, seen_hash=seen_hash, emergency_hours=emergency_hours
        )
        return state
    if proposal.kind in _DECIDES:
        return _DECIDES[proposal.kind](proposal, by=by, approve=approve, why=why, seen_hash=seen_hash)
    refused = approvals.why_not(proposal, Person.objects.get(pk=by.pk))
    if refused is not None:
        if refused.code == "after_reset":  # alarms in a transaction of its own, and raises
            approvals.sign(proposal, by=by, approve=approve, alarm=cases.open_case)
        raise refused
    with atomic():
        _lock_first(proposal)
        state = approvals.sign(proposal, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash)
        if proposal.kind == connections.PROPOSAL_KIND and state == Proposal.State.APPROVED:
            connections.apply_change(proposal, by=by)
            if TELLS_HOLDS.name in proposal.content.get("settings", {}):
                writeback.tell_anew()
        elif proposal.kind == connections.PROPOSAL_KIND and state != Proposal.State.PROPOSED:
            connections.drop_change(proposal)
        if proposal.kind == channels.KIND and state == Proposal.State.APPROVED:
            channels.apply_change(proposal, by=by)
        elif proposal.kind == channels.KIND and state != Proposal.State.PROPOSED:
            channels.drop_change(proposal)
        if proposal.kind == bulk_agreeing.KIND and state != Proposal.State.PROPOSED:
            bulk_agreeing.apply_decision(proposal, state)
        if proposal.kind == backfills.KIND and state != Proposal.State.PROPOSED:
            backfills.apply_decision(proposal, state)
        if proposal.kind in holds.KINDS and state != Proposal.State.PROPOSED:
            holds.apply_decision(proposal, by=by)
        if proposal.kind == erasures.KIND and state != Proposal.State.PROPOSED:
            erasures.apply_decision(proposal, by=by)
        if proposal.kind == api_clients.KIND and state == Proposal.State.APPROVED:
            api_clients.apply_change(proposal, by=by)
        if proposal.kind in memberships.KINDS and state == Proposal.State.APPROVED:
            memberships.apply_agreed(proposal, by=by)
        if proposal.kind == identities.KIND and state == Proposal.State.APPROVED:
            nudge(release_waits(identities.apply_change(proposal, by=by)))
        if proposal.kind == overrides.KIND and state == Proposal.State.APPROVED:
            overrides.apply_override(proposal, by=by, owner_of=field_owners())
        if proposal.kind == duplicates.MERGE and state == Proposal.State.APPROVED:
            nudge(release_waits(duplicates.apply_merge(proposal, by=by, owner_of=field_owners())))
            doubles.go_on_decided(by=by, why=proposal.why)
        if proposal.kind == duplicates.UNDO and state == Proposal.State.APPROVED:
            nudge(release_waits(duplicates.apply_undo(proposal, by=by, owner_of=field_owners())))
        if state != Proposal.State.PROPOSED and proposal.kind == POSTING:
            nudge(release_waits([wait_key(proposal.subject_id)]))  # it posts, or is held with the reason, at once
    return state


def _lock_first(proposal: Proposal) -> None:
    """What the decision will need besides its proposal. A signature is audited, and nobody who audits may wait."""
    holds.lock_before_signing(proposal.kind)
    if proposal.kind == backfills.KIND:
        backfills.lock_before_signing(proposal)
    if proposal.kind == connections.PROPOSAL_KIND:
        connections.lock_before_signing(proposal)


def why_not(user: Any, proposal: Proposal) -> str:
    """Why this person can't sign it, or "" if they can."""
    refused = approvals.why_not(proposal, user)
    return refused.why if refused else ""
