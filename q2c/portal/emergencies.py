"""Emergency approvals: what was put in force by one signature, until when, what posted by it, and its review."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from exceptions.concerned import that_used
from exceptions.kind_words import EMERGENCY_EDIT
from exceptions.resolving import edits
from exceptions.resolving.agreeing import PREFIX
from mappings import emergencies as mapping_emergencies
from mappings.models import ChangeSet
from q2c.core import access, emergencies
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate
from q2c.core.models import EmergencyUse, Person
from q2c.transactions.selectors import transactions_visible_to

EDITED = PREFIX + EMERGENCY_EDIT
SHOWN = 50  # documents on the page; the review keeps all their ids


class ReviewForm(forms.Form):
    """What was found, and what becomes of it."""

    verdict = forms.ChoiceField(label="Verdict", choices=[("", "Choose one"), *EmergencyUse.Verdict.choices])
    says = forms.CharField(label="What you looked at and found", min_length=5, max_length=2000,
                           widget=forms.Textarea(attrs={"rows": 3}))  # fmt: skip


@require_GET
@requires("core.view_decision")
def emergency_list(request: HttpRequest) -> HttpResponse:
    """Those that nobody has reviewed, or with `?state=reviewed` the others."""
    is_past = request.GET.get("state", "") == "reviewed"
    rows = emergencies.uses_visible_to(request.user)
    open_count = rows.filter(reviewed_at=None).count()
    listed = paginate(request, rows.filter(reviewed_at__isnull=not is_past), order=("-used_at", "proposal_id"))
    for use in listed.rows:
        use.state = emergencies.state_of(use)
    context = {"page": listed, "is_past": is_past, "open_count": open_count}
    return page(request, "portal/emergency_list.html", "portal/_emergency_table.html", context)


@require_GET
@requires("core.view_decision")
def emergency_detail(request: PersonRequest, proposal_id: UUID) -> HttpResponse:
    """One emergency with what posted by it."""
    return _show(request, _visible(request, proposal_id), form=ReviewForm(label_suffix=""))


@require_POST
@requires(emergencies.REVIEW)
def emergency_review(request: PersonRequest, proposal_id: UUID) -> HttpResponse:
    """Review it, once."""
    use = _visible(request, proposal_id)
    form = ReviewForm(request.POST, label_suffix="")
    if form.is_valid():
        ids = _documents(use)
        try:
            emergencies.review(
                use, by=request.user, verdict=form.cleaned_data["verdict"], says=form.cleaned_data["says"],
                found={"count": len(ids), "transactions": [str(i) for i in ids]},
                end=lambda locked: _end(locked, by=request.user),
            )  # fmt: skip
        except ApprovalRefused as refused:
            form.add_error(None, f"Not possible: {refused.why}")
        else:
            messages.success(request, "Reviewed.", extra_tags="done")
            return redirect("portal:emergency_detail", proposal_id)
    return _show(request, use, form=form, status=422)


def _visible(request: HttpRequest, proposal_id: UUID) -> EmergencyUse:
    found = emergencies.uses_visible_to(request.user).filter(pk=proposal_id).first()
    if found is None:
        raise Http404
    return found


def _end(use: EmergencyUse, *, by: Person) -> object:
    if use.proposal.kind == EDITED:
        return edits.end_emergency(use, by=by)
    return mapping_emergencies.end_emergency(use, by=by)


def _documents(use: EmergencyUse) -> list[UUID]:
    """The transactions that used what it put in force; as they were found at its review, once it's reviewed."""
    if use.reviewed_at is not None:
        return [UUID(i) for i in use.found.get("transactions", ())]
    if use.proposal.kind == EDITED:
        return edits.documents_of_use(use)
    return that_used(mapping_emergencies.rules_of_use(use), use.used_at)


def _show(request: HttpRequest, use: EmergencyUse, *, form: ReviewForm, status: int = 200) -> HttpResponse:
    ids = _documents(use)
    mine = transactions_visible_to(request.user).filter(pk__in=ids)
    refused = emergencies.why_not(use, request.user)  # type: ignore[arg-type]  # behind `requires`
    context: dict[str, Any] = {
        "use": use,
        "state": emergencies.state_of(use),
        "change_set": ChangeSet.objects.filter(proposal=use.pk).first(),
        "documents": list(mine.order_by("pk")[:SHOWN]),
        "document_count": mine.count() if ids else 0,
        "cant": refused.why if refused else "",
        "cant_stay": "" if refused else emergencies.why_it_cannot_stay(use, request.user),  # type: ignore[arg-type]
        "reviewers": [
            p for p in access.who_may(emergencies.REVIEW) if p.pk not in (use.used_by_id, use.proposed_by_id)
        ],
        "form": dress(form),
    }
    return page(request, "portal/emergency_detail.html", "portal/_emergency_review.html", context, status=status)
