"""Resolutions with forms of their own: another posting period. Each is proposed where the rules ask for a signature."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from exceptions.models import ExceptionCase
from exceptions.resolving import periods
from exceptions.workbench.actions import acts, refusals, said_of
from exceptions.workbench.cases import show_case
from exceptions.workbench.resolving_forms import period_form
from q2c.core.access import PersonRequest
from q2c.core.htmx import changed
from q2c.core.models import Proposal
from q2c.transactions.restart import Restarted


@acts("exceptions.work_case")
def period(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Post late documents in the next open period, or ask for theirs to be reopened."""
    form = period_form(case, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = periods.choose_period(case, by=request.user, reason=data["why"], option=data["option"])
            return wished(request, case, made, "on the way again")
    return show_case(request, case, status=422, period_form=form)


def wished(
    request: PersonRequest, case: ExceptionCase, made: tuple[Proposal | None, list[Restarted]], done: str
) -> HttpResponse:
    """To the decision that waits, or back to the case where nobody had to be asked."""
    proposal, results = made
    if proposal is not None:
        messages.success(request, "Proposed. Nothing changes until someone else approves.", extra_tags="decide")
        return redirect("portal:decision_detail", proposal.pk)
    messages.success(request, said_of(results, done), extra_tags="done")
    return changed(request, "case-changed", back_to=f"/exceptions/cases/{case.pk}/")
