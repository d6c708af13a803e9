"""What exists of a journey in each system, and what can be done: the plan forward, the plan back, and its proposal."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from connectors.models import Connection
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import order_unwinding, plan_signing, reversing, unwinding
from exceptions.resolving.booking import account_words
from exceptions.resolving.standing import ABSENT, DIFFERS, SILENT, THERE
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import page
from q2c.core.models import Person, Signature
from q2c.portal import told
from q2c.posting.plans import Effect, Step
from q2c.transactions import selectors
from q2c.transactions.models import BusinessTransaction

NOW = "now"  # of `?look=`: ask the systems
PROPOSALS_SHOWN = 5
WAYS = {"on": "What going on changes", "back": "What taking it back changes"}
SAYS = {THERE: "there", ABSENT: "not there", DIFFERS: "differs", SILENT: "can’t be asked"}


class PlanForm(forms.Form):
    """Whether it's posted again, and why it's taken back."""

    again = forms.ChoiceField(
        label="Afterwards",
        choices=[("yes", "Post it again by today’s mappings"), ("no", "Don’t post it again")],
        widget=forms.RadioSelect,
    )
    why = forms.CharField(label="Reason", min_length=5, max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, data: Any = None, *, initial: Any = None) -> None:
        super().__init__(data, initial=initial, label_suffix="")
        dress(self)


@dataclass(frozen=True)
class Entry:
    """One line of a step's journal, with the account as people call it."""

    account: str
    debit: Decimal
    credit: Decimal


@dataclass(frozen=True)
class Way:
    """What one of the two plans changes in the ledger: for each period the effect, its lines, and the size of its
    result; `changes` are what today's mappings book otherwise."""

    code: str  # on, back
    title: str
    effects: list[tuple[Effect, list[Entry], Decimal]]
    changes: tuple[str, ...] = ()


@require_GET
@requires("transactions.view_transaction")
def plan_detail(request: PersonRequest, transaction_id: Any) -> HttpResponse:
    """What exists and both plans; with `?look=now` as the systems say now, with `?again=no` without posting again."""
    return _show(request, _visible(request, transaction_id))


@require_POST
@requires(plan_signing.PROPOSES)
def plan_propose(request: PersonRequest, transaction_id: Any) -> HttpResponse:
    """Propose to take the posted invoice back. Every system is asked first."""
    txn = _visible(request, transaction_id)
    form = PlanForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            if txn.flow == order_unwinding.FLOW:
                made = order_unwinding.propose(txn, by=request.user, reason=data["why"])
            else:
                about = reversing if txn.flow in reversing.FLOWS else unwinding
                made = about.propose(txn, by=request.user, reason=data["why"], reposts=data["again"] == "yes")
        except ResolutionRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            messages.success(request, "Proposed. Nothing changes until someone else approves.", extra_tags="decide")
            return redirect("portal:decision_detail", made.pk)
    return _show(request, txn, status=422, form=form)


def _visible(request: HttpRequest, transaction_id: Any) -> BusinessTransaction:
    try:
        return selectors.transaction_visible_to(request.user, transaction_id)
    except BusinessTransaction.DoesNotExist:
        raise Http404 from None


def _show(
    request: PersonRequest, txn: BusinessTransaction, *, status: int = 200, form: PlanForm | None = None
) -> HttpResponse:
    asked = request.POST if form is not None else request.GET
    again = "no" if asked.get("again") == "no" else "yes"
    about: Any
    is_order, asks = txn.flow == order_unwinding.FLOW, request.GET.get("look") == NOW
    if is_order:
        made, about = order_unwinding.plans_of(request.user, txn, asks=asks), order_unwinding
    else:
        about = reversing if txn.flow in reversing.FLOWS else unwinding
        made = about.plans_of(request.user, txn, asks=asks, reposts=again == "yes")
    latest, effects = about.latest_of(txn), unwinding.effects_of(made)
    onward = unwinding.effects_of(made, made.forward)
    may_propose = _may_propose(request.user, txn)
    names = dict(Connection.objects.values_list("code", "name"))
    context = {
        "txn": txn,
        "title": told.flow_title(txn.flow),
        "subject": told.tell_subject(txn),
        "standing": made.standing,
        "rows": [(row, SAYS.get(row.says, "")) for row in made.standing.rows],
        "missing": sum(row.says in (ABSENT, DIFFERS, SILENT) for row in made.standing.rows),
        "looked_at": timezone.now() if made.standing.is_asked else None,
        "posted": made.standing.posted,
        "erp_name": names.get(txn.target_connection, txn.target_connection),
        "forward": made.forward,
        "forward_steps": [(s, names.get(s.system, s.system), _entries(s)) for s in made.forward.steps],
        "unwind": made.unwind,
        "steps": [(step, names.get(step.system, step.system), _entries(step)) for step in made.unwind.steps],
        "period": made.period if len({row.period for row in effects}) < 2 else "",
        "ways": [way for way in (_way("on", onward), _way("back", effects, made.changes)) if way.effects],
        "has_effects": bool(effects),
        "has_onward": bool(onward),
        "books": len({row.system for row in [*onward, *effects]}),
        "names": names,
        "again": again,
        "is_order": is_order,
        "is_journal": about is reversing,
        "why_not_yet": made.why_not_yet,
        "latest": latest,
        "latest_steps": _writes(latest) if latest is not None else [],
        "proposals": list(
            plan_signing.proposals_about(about.KIND, txn)
            .select_related("proposed_by")
            .defer("content")
            .prefetch_related(Prefetch("signatures", Signature.objects.select_related("signed_by")))[:PROPOSALS_SHOWN]
        ),
        "may_propose": may_propose,
        "proposers": [] if may_propose else _proposers(txn),
        "form": form or PlanForm(initial={"again": again}),
    }  # fmt: skip
    return page(request, "portal/plan_detail.html", "portal/plan_detail.html", context, status=status)


def _may_propose(user: Any, txn: BusinessTransaction) -> bool:
    return not access.beyond_reach(user, plan_signing.PROPOSES, txn.legal_entity_code)


def _proposers(txn: BusinessTransaction) -> list[Person]:
    """Who may instead: not by a role for some kinds of case only, since no case is asked about."""
    found = access.people_who_may(plan_signing.PROPOSES, txn.legal_entity_code)
    return list(islice((person for person in found if _may_propose(person, txn)), access.NAMED))


def _entries(step: Step) -> list[Entry]:
    return [Entry(_called(line.account, step.system), line.debit, line.credit) for line in step.journal]


def _called(account: str, erp: str) -> str:
    return account_words(erp, account) or account


def _way(code: str, effects: tuple[Effect, ...], changes: tuple[str, ...] = ()) -> Way:
    return Way(code, WAYS[code], [(row, _totals(row), abs(row.result)) for row in effects], changes)


def _totals(effect: Effect) -> list[Entry]:
    """What a plan changes in a period by account; what comes to nothing is left out."""
    none = Decimal(0)
    return [Entry(_called(account, effect.system), max(amount, none), max(-amount, none))
            for account, amount in effect.net.items()]  # fmt: skip


def _writes(txn: BusinessTransaction) -> list[told.ToldStep]:
    """How far a plan under way is: its writes, those that had nothing to do left out."""
    steps = told.tell_steps(txn, selectors.steps_of(txn.pk), [])
    return [step for step in steps if step.kind == "write" and not (step.state == "done" and step.given is None)]
