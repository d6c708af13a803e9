"""The forms of a case's clock, and what its page shows of it."""

from __future__ import annotations

from typing import Any

from django import forms

from exceptions import clocks
from exceptions.models import CasePause, ExceptionCase
from exceptions.workbench.forms import ReasonForm
from q2c.core.roles import BY_CODE


class PauseForm(ReasonForm):
    """For whom we wait, and why."""

    waits_for = forms.ChoiceField(label="We wait for", choices=[(w, f"the {w}") for w in CasePause.WaitsFor.values])


def clock_context(case: ExceptionCase) -> dict[str, Any]:
    """What the page of a case shows of its clock."""
    role = clocks.escalated_to(case)
    return {
        "pauses": list(case.pauses.select_related("by").order_by("-id")[:5]),
        "counted_in": clocks.counted_in(case),
        "told": BY_CODE[role].title if role else "",
        "pause_form": PauseForm(prefix="pause"),
        "resume_form": ReasonForm(prefix="resume"),
    }
