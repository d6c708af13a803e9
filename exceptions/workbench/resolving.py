"""Resolutions with forms of their own: another posting period, a link, a waiver, a snooze, sending back; open items.

Each is proposed where the rules ask for a signature.
"""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from exceptions import kind_words
from exceptions.models import ExceptionCase, Waiver
from exceptions.resolving import adjustments, applying, edits, linking, periods, reposts, sendbacks, snoozes, waivers
from exceptions.workbench.actions import acts, refusals, said_of
from exceptions.workbench.cases import show_case, visible_case
from exceptions.workbench.forms import ReasonForm, RepostForm
from exceptions.workbench.resolving_forms import (
    BUILDERS,
    EditForm,
    apply_open_form,
    edit_form,
    emergency_form,
    link_form,
    period_form,
    sendback_form,
    snooze_form,
    waive_form,
)
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import changed, page, paginate
from q2c.core.models import Proposal
from q2c.transactions.restart import Restarted


@acts("transactions.repost")
def repost(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Put the case's documents that this person may repost back to work."""
    form = RepostForm(request.POST, prefix="repost")
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = reposts.repost(case, by=request.user, reason=data["why"], as_then=data["as_then"])
            return wished(request, case, made, "on the way again")
    return show_case(request, case, status=422, repost_form=form)


@acts("exceptions.work_case")
def period(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Post late documents in the next open period, or ask for theirs to be reopened."""
    form = period_form(case, request.user, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = periods.choose_period(case, by=request.user, reason=data["why"], option=data["option"])
            return wished(request, case, made, "on the way again")
    return show_case(request, case, status=422, period_form=form)


@acts("transactions.repost")
def link(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Look for a document in the ERP, show it beside ours, and propose that it is that one."""
    form = link_form(case, request.user, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            form.found = linking.find_candidates(data["transaction"], data["wanted"])
            fitting = [row for row in form.found if row.fits]
            chosen = [row for row in form.found if row.found.id == data["document"]] or (
                fitting if len(form.found) == 1 else []
            )
            if chosen:
                made = linking.link(
                    case, by=request.user, reason=data["why"], transaction_id=data["transaction"], chosen=chosen[0]
                )
                return wished(request, case, made, "looked up there")
            said = "None of them is it" if form.found and not fitting else "Choose one of those that were found"
            form.add_error(None, f"{said}." if form.found else "The target has no document of that number or id.")
    return show_case(request, case, status=422, link_form=form)


@acts("exceptions.work_case")
def edit(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Correct words of one held document, and have it go on."""
    return _edit(request, case, edit_form(case, request.user, request.POST), "edit_form")


@acts("exceptions.work_case")
def emergency(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Correct what is edited in an emergency only: the emergency role signs, for some hours."""
    return _edit(request, case, emergency_form(case, request.user, request.POST), "emergency_form")


def _edit(request: PersonRequest, case: ExceptionCase, form: EditForm | None, name: str) -> HttpResponse:
    if form is not None and form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = edits.edit_fields(
                case, by=request.user, reason=data["why"], transaction_id=data["transaction"], values=form.values(),
                in_emergency=name == "emergency_form",
            )  # fmt: skip
            return wished(request, case, made, "on the way again")
    return _back(request, case, form, name)


@acts("exceptions.waive_case")
def waive(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Give the case's documents up: they won't post, and stay on the list of open items."""
    form = waive_form(case, request.user, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = waivers.waive(case, by=request.user, reason=data["why"], code=data["code"])
            return wished(request, case, made, "given up")
    return show_case(request, case, status=422, waive_form=form)


@acts("exceptions.work_case")
def write_off(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Ask the ERP what is open of the case's invoice, and propose to write that, or a part, off."""
    return _adjust(request, case, kind_words.WRITE_OFF, "write_off_form")


@acts("exceptions.work_case")
def difference(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Ask the ERP what is open of the case's invoice, and propose to accept that, or a part, as a difference."""
    return _adjust(request, case, kind_words.ACCEPT_DIFFERENCE, "difference_form")


@acts("exceptions.work_case")
def apply_open(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Ask the ERP what is open of the case's invoice, and propose to apply that, the rest staying on account."""
    form = apply_open_form(case, request.user, request.POST)
    if form is not None and form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = applying.wish_to_apply(case, by=request.user, reason=data["why"], transaction_id=data["transaction"])
            return wished(request, case, made, "on the way again")
    return _back(request, case, form, "apply_open_form")


def _back(request: PersonRequest, case: ExceptionCase, form: ReasonForm | None, name: str) -> HttpResponse:
    """The case with the form as it was sent; where no document takes it any more, a word that nothing was done."""
    if form is None:
        messages.warning(request, "None of its documents takes this any more. Nothing was changed.", extra_tags="act")
    return show_case(request, case, status=422, **({} if form is None else {name: form}))


def _adjust(request: PersonRequest, case: ExceptionCase, resolution: str, name: str) -> HttpResponse:
    form = BUILDERS[resolution](case, request.user, request.POST)
    if form.is_valid():
        with refusals(form):
            data = form.cleaned_data
            made = adjustments.adjust(
                case, by=request.user, reason=data["why"], resolution=resolution, amount=data["amount"]
            )
            return wished(request, case, made, "on its way to the ERP")
    return show_case(request, case, status=422, **{name: form})


@acts("exceptions.work_case")
def snooze(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Leave the case alone until something happens."""
    form = snooze_form(case, request.user, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        with refusals(form):
            made = snoozes.snooze(
                case, by=request.user, reason=data["why"], until=data["until"], date=data["date"], count=data["count"]
            )
            return done(request, case, f"{case.number} is left alone until {snoozes.words_of(made)}.")
    return show_case(request, case, status=422, snooze_form=form)


@acts("exceptions.work_case")
def wake(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Take a snoozed case up again now."""
    form = ReasonForm(request.POST, prefix="wake")
    if form.is_valid():
        with refusals(form):
            snoozes.wake(case, by=request.user, reason=form.cleaned_data["why"])
            return done(request, case, f"{case.number} is in the queue again.")
    return show_case(request, case, status=422, wake_form=form)


@acts("exceptions.work_case")
def sendback(request: PersonRequest, case: ExceptionCase) -> HttpResponse:
    """Give the case back to sales or billing, with what they should do."""
    form = sendback_form(case, request.user, request.POST)
    if form.is_valid():
        to = form.cleaned_data["to"]
        with refusals(form):
            sendbacks.send_back(case, by=request.user, to=to, message=form.cleaned_data["why"])
            messages.success(request, f"{case.number} is in the queue of {sendbacks.TO[to].lower()} now.")
            return redirect("exceptions:case_list")
    return show_case(request, case, status=422, sendback_form=form)


@require_POST
@requires("exceptions.waive_case")
def take_up(request: PersonRequest, case_id: int) -> HttpResponse:
    """Take what was waived of a case up again."""
    case = visible_case(request, case_id)
    if not access.may(request.user, "exceptions.waive_case", case.legal_entity_code or None, kind=case.kind):
        return access.denied(request, "exceptions.waive_case")
    form = ReasonForm(request.POST, prefix="take_up")
    if form.is_valid():
        with refusals(form):
            results = waivers.take_up(case, by=request.user, reason=form.cleaned_data["why"])
            return done(request, case, said_of(results, "on the way again"))
    return show_case(request, case, status=422, take_up_form=form)


@require_GET
@requires("exceptions.view_case")
def open_items(request: PersonRequest) -> HttpResponse:
    """What was given up and stands, newest first; with `?entity=` and `?code=` of one entity or reason."""
    rows = Waiver.objects.filter(access.in_cases_q(request.user), undone_at__isnull=True)
    entity, code = request.GET.get("entity", ""), request.GET.get("code", "")
    if entity:
        rows = rows.filter(legal_entity_code=entity)
    if code:
        rows = rows.filter(code=code)
    totals = rows.exclude(currency="").values("currency").annotate(count=Count("pk"), amount=Sum("amount"))
    listed = paginate(request, rows.select_related("by"), order=("-id",))
    for row in listed.rows:
        row.reason = kind_words.WAIVE_REASONS.get(row.code, row.code)
    context = {
        "page": listed,
        "totals": list(totals.order_by("currency")[:20]),
        "reasons": kind_words.WAIVE_REASONS.items(),
        "entities": [row.code for row in access.visible_entities(request.user, access.VIEW_CASE)],
        "entity": entity,
        "code": code,
    }
    return page(request, "exceptions/open_items.html", "exceptions/_open_item_table.html", context)


def done(request: PersonRequest, case: ExceptionCase, said: str) -> HttpResponse:
    """Back to the case, with what was done."""
    messages.success(request, said, extra_tags="done")
    return changed(request, "case-changed", back_to=f"/exceptions/cases/{case.pk}/")


def wished(
    request: PersonRequest, case: ExceptionCase, made: tuple[Proposal | None, list[Restarted]], did: str
) -> HttpResponse:
    """To the decision that waits, or back to the case where nobody had to be asked."""
    proposal, results = made
    if proposal is not None:
        messages.success(request, "Proposed. Nothing changes until someone else approves.", extra_tags="decide")
        return redirect("portal:decision_detail", proposal.pk)
    return done(request, case, said_of(results, did))
