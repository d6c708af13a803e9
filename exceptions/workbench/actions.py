"""What people do to a case: take it, say something, map what is missing. Each gives a reason."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from exceptions import cases as services
from exceptions import mentions, releases, resolutions
from exceptions.files import FileRefused
from exceptions.models import ExceptionCase
from exceptions.workbench.cases import rule_form, show_case, visible_case
from exceptions.workbench.forms import AssignForm, NoteForm, ReasonForm
from mappings.drafts import DraftRefused
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.htmx import changed, refuse
from q2c.transactions.restart import Restarted

Act = Callable[[PersonRequest, ExceptionCase], HttpResponse]


def acts(permission: str) -> Callable[[Act], Callable[..., HttpResponse]]:
    """A POST on a visible, open case by somebody who holds the permission for the case's entity."""

    def decorate(act: Act) -> Callable[..., HttpResponse]:
        @require_POST
        @requires(permission)
        @functools.wraps(act)
        def guarded(request: PersonRequest, case_id: int) -> HttpResponse:
            case = visible_case(request, case_id)
            if not access.may(request.user, permission, case.legal_entity_code or None, kind=case.kind):
                return access.denied(request, permission)
            if not case.is_open and act.__name__ != "note":
                said = f"{case.number} is {case.get_state_display().lower()} already."
                return refuse(request, said, "exceptions:case_detail", case.pk)
            return act(request, case)

        return guarded

    return decorate


def _done(request: HttpRequest, case: ExceptionCase, said: str, *, tags: str = "done") -> HttpResponse:
    messages.success(request, said, extra_tags=tags)
    return changed(request, "case-changed", back_to=f"/exceptions/cases/{case.pk}/")


@acts("exceptions.work_case")
def assign(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Give the case to somebody who works its queue, or back to it."""
    form = AssignForm(request.POST, case=case)
    if not form.is_valid():
        return show_case(request, case, status=422, assign_form=form)
    to = form.cleaned_data["to"]
    if said := services.assign(case, to, by=request.user):
        return _done(request, case, f"{case.number} is given: {said}.")
    return _done(request, case, f"{to} has {case.number} now." if to else f"{case.number} is back in its queue.")


@acts("exceptions.work_case")
def note(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Say something about the case."""
    form = NoteForm(request.POST, request.FILES)
    if not form.is_valid():
        return show_case(request, case, status=422, note_form=form)
    data = form.cleaned_data
    try:
        _, said = mentions.comment(case, text=data["text"], by=request.user, file=data["file"])
    except FileRefused as refused:
        form.add_error("file", str(refused))
        return show_case(request, case, status=422, note_form=form)
    return _done(request, case, " ".join(["Your note is in the case.", *said]), tags="act" if said else "done")


@acts("transactions.repost")
def look(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Have the target looked at once more; nothing is sent on suspicion."""
    form = ReasonForm(request.POST, prefix="look_again")
    if form.is_valid():
        with refusals(form):
            result = resolutions.look_again(case, by=request.user, reason=form.cleaned_data["why"])
            return _done(request, case, said_of(result, "looked up again"))
    return show_case(request, case, status=422, look_form=form)


@acts("exceptions.work_case")
def override(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Ask a second person to let each of the case's documents pass as it is."""
    form = ReasonForm(request.POST, prefix="override")
    if form.is_valid():
        with refusals(form):
            made = resolutions.propose_overrides(case, by=request.user, reason=form.cleaned_data["why"])
            said = f"Proposed for {len(made):,} {'document' if len(made) == 1 else 'documents'}."
            return _done(request, case, f"{said} Nothing passes until someone else approves.", tags="decide")
    return show_case(request, case, status=422, override_form=form)


@acts("exceptions.work_case")
def correct(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Say that the documents are being corrected where they come from."""
    form = ReasonForm(request.POST, prefix="correct_at_source")
    if form.is_valid():
        with refusals(form):
            count = resolutions.correct_at_source(case, by=request.user, reason=form.cleaned_data["why"])
            noun = "document waits" if count == 1 else "documents wait"
            return _done(request, case, f"{count:,} {noun} for the corrected version.")
    return show_case(request, case, status=422, correct_form=form)


@acts("mappings.propose_rule")
def remap(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Propose the missing mapping; once approved, the case's documents are reposted."""
    form = rule_form(request, case, data=request.POST)
    if form is not None and form.is_valid():
        with refusals(form):
            line = form.as_line()
            change_set = releases.remap_and_repost(case, by=request.user, reason=form.cleaned_data["why"], line=line)
            form.note_choice(line, request.user)
            said = "Proposed. Nothing posts differently until someone else approves."
            messages.success(request, said, extra_tags="decide")
            return redirect("mappings:change_set_detail", change_set.pk)
    return show_case(request, case, status=422, remap_form=form)


@contextmanager
def refusals(form: Any) -> Iterator[None]:
    """What the services refuse stands in the form, with its reason."""
    try:
        yield
    except DraftRefused as refused:
        form.take_faults(refused)
    except ApprovalRefused as refused:
        form.add_error(None, f"Not possible: {refused.why}")
    except resolutions.ResolutionRefused as refused:
        form.add_error(None, f"Not possible: {refused}")


def said_of(results: list[Restarted], done: str) -> str:
    """What became of the documents, in one or two sentences."""
    counts = Counter(row.what for row in results if row.is_restarted) or Counter(document=0)
    left = [row for row in results if not row.is_restarted]
    said = [f"{count:,} {what if count == 1 else what + 's'}" for what, count in counts.items()]
    text = f"{' and '.join(said)} {'is' if counts.total() == 1 else 'are'} {done}."
    if left:
        text += f" {len(left):,} {'stays' if len(left) == 1 else 'stay'} as before: {left[0].why_not}."
    return text
