"""Merging and splitting cases by hand."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from exceptions import regrouping, tallies
from exceptions.models import CaseAlias, ExceptionCase
from exceptions.regrouping import RegroupRefused
from exceptions.workbench.actions import acts
from exceptions.workbench.cases import show_case
from exceptions.workbench.regroup_forms import MergeForm, SplitForm, TakeOutForm
from q2c.core import access
from q2c.core.access import PersonRequest

WORK = "exceptions.work_case"


@acts(WORK)
def merge(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Make the case a part of another one that the person works on too."""
    form = MergeForm(request.POST, prefix="merge")
    if form.is_valid():
        into = tallies.cases_visible_to(request.user).filter(pk=form.cleaned_data["into"]).first()
        if into is None or not access.may(request.user, WORK, into.legal_entity_code or None, kind=into.kind):
            form.add_error("into", "There's no such case that you work on.")
        else:
            try:
                regrouping.merge(case, into=into, by=request.user, why=form.cleaned_data["why"])
            except RegroupRefused as refused:
                form.add_error(None, f"Not possible: {refused}")
            else:
                said = f"{case.number} is part of {into.number} now. “Take it out” there undoes it."
                messages.success(request, said, extra_tags="done")
                return redirect("exceptions:case_detail", into.pk)
    return show_case(request, case, status=422, merge_form=form)


@acts(WORK)
def split(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Make a case of its own of some documents of this one."""
    form = SplitForm(request.POST, prefix="split")
    if form.is_valid():
        wanted = form.cleaned_data["documents"]
        rows = tallies.occurrences_visible_to(request.user, case).filter(closed_at__isnull=True, number__in=wanted)
        found = {number: i for number, i in rows.values_list("number", "transaction_id") if i is not None}
        strange = [number for number in wanted if number not in found]
        if strange:
            form.add_error("documents", f"Not open in this case: {', '.join(strange[:5])}.")
        else:
            try:
                new = regrouping.split(case, found.values(), by=request.user, why=form.cleaned_data["why"])
            except RegroupRefused as refused:
                form.add_error(None, f"Not possible: {refused}")
            else:
                said = f"{new.number} has them now. Merging it into {case.number} undoes it."
                messages.success(request, said, extra_tags="done")
                return redirect("exceptions:case_detail", new.pk)
    return show_case(request, case, status=422, split_form=form)


@acts(WORK)
def take_out(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Make a cause that was merged into the case one of its own again."""
    named = [name for name in request.POST if name.endswith("-alias")]
    form = TakeOutForm(request.POST, prefix=named[0].removesuffix("-alias") if named else "out")
    if form.is_valid():
        alias = CaseAlias.objects.filter(pk=form.cleaned_data["alias"], case=case).first()
        try:
            if alias is None:
                raise RegroupRefused("It's no part of this case.")
            back = regrouping.take_out(alias, by=request.user, why=form.cleaned_data["why"])
        except RegroupRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            messages.success(request, f"{back.number} is a case of its own again.", extra_tags="done")
            return redirect("exceptions:case_detail", back.pk)
    return show_case(request, case, status=422, out_form=form)
