"""One form per resolution that asks for more than a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django import forms

from exceptions import kinds
from exceptions.models import ExceptionCase
from exceptions.resolving import periods
from exceptions.workbench.forms import ReasonForm
from q2c.core.filters import dress


class PeriodForm(ReasonForm):
    """Which of the ways for late documents, and why."""

    option = forms.ChoiceField(label="What happens to them", widget=forms.RadioSelect)
    field_order = ("option", "why")

    def __init__(self, *args: Any, options: Sequence[periods.Option], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = options
        open_ones = [(row.code, row.title) for row in options if not row.why_not]
        self.fields["option"].choices = open_ones  # type: ignore[attr-defined]
        if len(open_ones) == 1:
            self.initial.setdefault("option", open_ones[0][0])
        dress(self)


def period_form(case: ExceptionCase, data: Any = None) -> PeriodForm:
    """The ways for the case's late documents."""
    return PeriodForm(data, prefix=kinds.CHOOSE_PERIOD, options=periods.options_of(periods.late_documents(case)))


# What builds the form of a resolution for a case.
BUILDERS: dict[str, Callable[[ExceptionCase], Any]] = {kinds.CHOOSE_PERIOD: period_form}
