"""Stopping the clock of a case while a customer or a vendor is waited for, and letting it go on."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse

from exceptions import clocks
from exceptions.models import ExceptionCase
from exceptions.workbench.actions import acts
from exceptions.workbench.cases import show_case
from exceptions.workbench.clock_forms import PauseForm
from exceptions.workbench.forms import ReasonForm
from q2c.core.access import PersonRequest
from q2c.core.htmx import changed
from q2c.core.templatetags.words import span_words


@acts("exceptions.work_case")
def pause(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Stop the clock."""
    form = PauseForm(request.POST, prefix="pause")
    if form.is_valid():
        try:
            clocks.pause(case, by=request.user, **form.cleaned_data)
        except clocks.ClockRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            said = f"The clock of {case.number} stands still while we wait for the {form.cleaned_data['waits_for']}."
            messages.success(request, said, extra_tags="done")
            return changed(request, "case-changed", back_to=f"/exceptions/cases/{case.pk}/")
    return show_case(request, case, status=422, pause_form=form)


@acts("exceptions.work_case")
def resume(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Let the clock go on."""
    form = ReasonForm(request.POST, prefix="resume")
    if form.is_valid():
        try:
            waited = clocks.resume(case, by=request.user, why=form.cleaned_data["why"])
        except clocks.ClockRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            said = f"The clock goes on; it’s due {span_words(waited.total_seconds())} of work later."
            messages.success(request, said, extra_tags="done")
            return changed(request, "case-changed", back_to=f"/exceptions/cases/{case.pk}/")
    return show_case(request, case, status=422, resume_form=form)
