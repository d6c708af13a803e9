"""Legal holds and erasures: what stands, proposing one, releasing a hold. A second person decides under Decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from q2c.core import access, erasures, holds, open_work
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.customer_keys import ErasureRefused
from q2c.core.htmx import page, paginate
from q2c.core.models import AuditEntry, Erasure, ExpiredMonth, LegalHold, Proposal
from q2c.core.open_work import NOTHING, OpenWork, Piece
from q2c.portal.audit import tell_entries
from q2c.portal.keeping import spans_of
from q2c.portal.keeping_forms import EraseForm, HoldForm, WhyForm

SHOWN = 50
FEW = 5
State = LegalHold.State
_PAGES = {
    "case": (access.VIEW_CASE, "exceptions:case_detail"),
    "document": ("transactions.view_transaction", "portal:transaction_detail"),
    "message": ("inbox.view_event", "portal:event_detail"),
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """What is open of a customer, each piece with its page where this person may open that."""

    work: OpenWork
    linked: tuple[tuple[Piece, str], ...] = ()

    @property
    def few(self) -> tuple[tuple[Piece, str], ...]:
        """The first of them, for a line of a list."""
        return self.linked[:FEW]

    @property
    def beyond(self) -> int:
        """How many these aren't."""
        return self.work.total - len(self.few)


def standing_for(user: Any, work: OpenWork) -> Standing:
    """What is open of a customer, as this person is shown it."""
    pages = {sort: name if access.may(user, permission) else "" for sort, (permission, name) in _PAGES.items()}
    linked = ((piece, pages[piece.sort] and reverse(pages[piece.sort], args=[piece.id])) for piece in work.pieces)
    return Standing(work, tuple(linked))


@require_GET
@requires(holds.VIEW)
def hold_list(request: HttpRequest) -> HttpResponse:
    """Holds that stand or wait, or with `?state=past` the others."""
    is_past = request.GET.get("state", "") == "past"
    states = (State.RELEASED, State.DECLINED) if is_past else (State.PROPOSED, State.IN_FORCE)
    rows = holds.holds_visible_to(request.user)
    listed = paginate(request, rows.filter(state__in=states).select_related("proposed_by"))
    for hold in listed.rows:
        hold.covers = holds.words_of(hold)
    context = {
        "page": listed, "is_past": is_past, "may_propose": access.may(request.user, holds.PROPOSE),
        "standing": rows.filter(state=State.IN_FORCE).count(),
    }  # fmt: skip
    return page(request, "portal/hold_list.html", "portal/_hold_table.html", context)


@require_http_methods(["GET", "POST"])
@requires(holds.PROPOSE)
def hold_new(request: PersonRequest) -> HttpResponse:
    """Propose a hold."""
    form = HoldForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        facts = {name: form.cleaned_data[name] for name in ("name", "matter", "asked_by", "why")}
        try:
            hold = holds.propose_hold(form.scope, by=request.user, **facts)
        except (holds.HoldRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            said = f"{hold.number} is proposed. It holds once a second person agrees."
            messages.success(request, said, extra_tags="done")
            return redirect("portal:hold_detail", hold.pk)
    return render(request, "portal/hold_new.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
@requires(holds.VIEW)
def hold_detail(request: HttpRequest, hold_id: int) -> HttpResponse:
    """One hold: what it covers, who wanted it, what stays because of it."""
    return _show(request, _visible(request, hold_id))


@require_POST
@requires(holds.PROPOSE)
def hold_release(request: PersonRequest, hold_id: int) -> HttpResponse:
    """Propose its release."""
    hold = _visible(request, hold_id)
    form = WhyForm(request.POST)
    if form.is_valid():
        try:
            proposal = holds.propose_release(hold, by=request.user, why=form.cleaned_data["why"])
        except (holds.HoldRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            messages.success(request, "Its release waits for a second person.", extra_tags="done")
            return redirect("portal:decision_detail", proposal.pk)
    return _show(request, hold, status=422, form=form)


@require_http_methods(["GET", "POST"])
@requires(holds.VIEW)
def erasure_list(request: PersonRequest) -> HttpResponse:
    """Customers who were erased or are to be; posted, one is proposed."""
    may_propose = access.may(request.user, erasures.PROPOSE)
    if access.entities_of(request.user, holds.VIEW) is not None:
        raise Http404  # a customer is every entity's
    if request.method == "POST" and not may_propose:
        return access.denied(request, erasures.PROPOSE)
    form, stands = EraseForm(request.POST or None), NOTHING
    if request.method == "POST" and form.is_valid():
        customer, name = form.cleaned_data["customer"]
        facts = {field: form.cleaned_data[field] for field in ("matter", "why", "may_wait")}
        held_by = holds.holds_on_customer(customer)
        try:
            erasure = erasures.propose_erasure(customer, by=request.user, name=name, held_by=held_by, **facts)
        except (ErasureRefused, ApprovalRefused) as refused:
            form.add_error(None, f"Not possible: {refused}")
            stands = open_work.of_customer(customer)
        else:
            messages.success(request, "It’s proposed. A second person decides.", extra_tags="done")
            return redirect("portal:decision_detail", erasure.proposal_id)
    listed = paginate(request, Erasure.objects.select_related("proposed_by"))
    waiting = {row.customer for row in listed.rows if row.state == Erasure.State.WAITING}
    held, work = holds.holds_on_customers(waiting), open_work.of_customers(waiting)
    for row in listed.rows:
        row.held_by = held.get(row.customer, "")
        row.work = standing_for(request.user, work[row.customer]) if work.get(row.customer) else None
    context = {
        "page": listed, "form": form, "may_propose": may_propose,
        "stands": standing_for(request.user, stands),
        "waiting": Erasure.objects.filter(state=Erasure.State.WAITING).count(),
    }  # fmt: skip
    status = 422 if form.errors else 200
    return page(request, "portal/erasure_list.html", "portal/_erasure_table.html", context, status=status)


def _visible(request: HttpRequest, hold_id: int) -> LegalHold:
    rows = holds.holds_visible_to(request.user)
    found = rows.select_related("proposed_by", "placed_by", "released_by", "release", "proposal").filter(pk=hold_id)
    if (hold := found.first()) is None:
        raise Http404
    return hold


def _show(request: HttpRequest, hold: LegalHold, *, status: int = 200, form: Any = None) -> HttpResponse:
    acts = list(AuditEntry.objects.filter(subject_type=holds.SUBJECT, subject_id=str(hold.pk)).order_by("sequence"))
    tell_entries(acts)
    waits = hold.release if hold.release and hold.release.state == Proposal.State.PROPOSED else None
    months = ExpiredMonth.objects.filter(holds__contains=[hold.pk]).order_by("table", "partition")
    context = {
        "hold": hold, "covers": holds.words_of(hold), "acts": acts, "release_waits": waits,
        "spans": spans_of(months)[:SHOWN], "may_release": access.may(request.user, holds.PROPOSE),
        "form": form or WhyForm(),
    }  # fmt: skip
    return render(request, "portal/hold_detail.html", context, status=status)
