"""What a change set's approval takes, who may give it, what stands in its way; and the forms of a verdict."""

from __future__ import annotations

from typing import Any

from django import forms

from mappings import approvals as mapping_approvals
from mappings import policies
from mappings.models import ChangeSet
from q2c.core import access, approvals
from q2c.core.filters import dress
from q2c.core.models import EMERGENCY_HOURS_MAX, EmergencyUse, Proposal


class SignForm(forms.Form):
    """The verdict, why, and the hash of what was looked at."""

    verdict = forms.ChoiceField(choices=[("approve", "Approve"), ("reject", "Reject")])
    why = forms.CharField(label="Reason", required=False, max_length=1000)
    seen_hash = forms.CharField(max_length=64)


class EmergencyForm(forms.Form):
    """Why it can't wait, for how many hours, and the hash of what was looked at."""

    why = forms.CharField(label="Why it can’t wait", min_length=5, max_length=1000,
                          widget=forms.Textarea(attrs={"rows": 2}))  # fmt: skip
    hours = forms.TypedChoiceField(
        label="It ends after",
        coerce=int,
        choices=[(n, "1 hour" if n == 1 else f"{n} hours") for n in (1, 2, 4, 8, EMERGENCY_HOURS_MAX)],
        initial=4,
    )
    seen_hash = forms.CharField(max_length=64)


def approval_words(user: Any, change_set: ChangeSet) -> dict[str, Any]:
    """What its approval takes and what stands in its way, and for whoever may the form of an emergency."""
    proposal = change_set.proposal
    if proposal is None:
        if change_set.state != ChangeSet.State.DRAFT:
            return {}
        asked, over = mapping_approvals.expected(change_set)
        return {"takes": policies.words_of(asked), "takes_more": over}
    words: dict[str, Any] = {"use": EmergencyUse.objects.filter(pk=proposal.pk).select_related("used_by").first()}
    if change_set.state == "proposed":
        words |= {"frozen": mapping_approvals.frozen_words(change_set), "too_few": policies.too_few(proposal)}
        if access.may(user, approvals.IN_EMERGENCY):
            refused = approvals.why_not(proposal, user, in_emergency=True)
            words["emergency_cant"] = refused.why if refused else ""
            words["emergency_form"] = dress(EmergencyForm(label_suffix="", auto_id="id_em_%s"))
    return words


def why_not(user: Any, proposal: Proposal | None) -> str:
    """Why this person can't sign, or "" if they can."""
    if proposal is None:
        return "It isn’t proposed yet."
    refused = approvals.why_not(proposal, user)
    return refused.why if refused else ""
