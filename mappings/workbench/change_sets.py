"""Change sets: the list, and the page on which one is built, looked at with its evidence, proposed and decided."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from connectors.models import Connection
from exceptions import evidence, releases
from mappings import building
from mappings.drafts import DraftRefused
from mappings.kinds import PROPOSE, PROPOSE_RUNNING
from mappings.models import ChangeSet, Evidence, EvidenceDocument
from mappings.selectors import change_sets_visible_to
from mappings.workbench.figures import content_of, figures_of, names_of
from mappings.workbench.signing import approval_words, why_not
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused, signers_of
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate, wants_fragment
from q2c.core.models import Proposal
from q2c.transactions.selectors import transactions_visible_to

RELEASES_SHOWN = 20
LINES_SHOWN = 12  # what they would do stands below, and is what somebody signs for
_FRAGMENTS = {"lines": "mappings/_change_lines.html", "evidence": "mappings/_evidence.html"}


@require_GET
@requires("mappings.view_rule")
def change_set_list(request: HttpRequest) -> HttpResponse:
    """Change sets, newest first."""
    rows = change_sets_visible_to(request.user)
    open_count = rows.filter(state="proposed").count()
    state = request.GET.get("state", "")
    if state in ChangeSet.State.values:
        rows = rows.filter(state=state)
    context = {"page": paginate(request, rows), "state": state, "open_count": open_count}
    return page(request, "mappings/change_set_list.html", "mappings/_change_set_table.html", context)


@require_GET
@requires("mappings.view_rule")
def change_set_detail(request: HttpRequest, change_set_id: int) -> HttpResponse:
    """One change set: what changes, what that would do, who agreed."""
    return show_change_set(request, visible_change_set(request, change_set_id))


def visible_change_set(request: HttpRequest, change_set_id: int) -> ChangeSet:
    """The change set, or 404 for a foreign one too."""
    found = change_sets_visible_to(request.user).select_related("evidence").filter(pk=change_set_id).first()
    if found is None:
        raise Http404
    return found


class PeriodsForm(forms.Form):
    """How many periods the back-test goes back, open and closed."""

    periods = forms.IntegerField(
        label="Periods", min_value=1, max_value=evidence.PERIODS_MAX, required=False, initial=evidence.PERIODS
    )


class NameForm(forms.Form):
    """A draft's title and its one reason."""

    title = forms.CharField(label="Title", max_length=200)
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))

    def take_refusal(self, refused: DraftRefused | ApprovalRefused) -> None:
        """What the services refuse, in words, the first few of many."""
        if isinstance(refused, ApprovalRefused):
            self.add_error(None, refused.why)
            return
        for fault in refused.faults[:10]:
            self.add_error(None, f"Row {fault.line + 1}: {fault.text}.")
        if len(refused.faults) > 10:
            self.add_error(None, f"And {len(refused.faults) - 10:,} more.")


@require_POST
@requires(PROPOSE, PROPOSE_RUNNING)
def propose(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Propose a draft with what it would do."""
    change_set = visible_change_set(request, change_set_id)
    form = NameForm(request.POST)
    if form.is_valid():
        try:
            building.name_draft(change_set, form.cleaned_data["title"], form.cleaned_data["why"], by=request.user)
            say_proposed(request, releases.propose_change_set(change_set, by=request.user))
            return redirect("mappings:change_set_detail", change_set.pk)
        except (DraftRefused, ApprovalRefused) as refused:
            form.take_refusal(refused)
    return show_change_set(request, visible_change_set(request, change_set_id), status=422, name_form=form)


def say_proposed(request: HttpRequest, proposal: Proposal | None) -> None:
    """That it's proposed, or will be once its evidence is there."""
    if proposal is None:
        said = "What it would do is being found out. It’s proposed by itself as soon as that is known."
    else:
        said = "Proposed. Nothing posts differently until someone else approves."
    messages.success(request, said, extra_tags="decide")


@require_POST
@requires(PROPOSE, PROPOSE_RUNNING)
def compute(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Find out now what a draft would do."""
    change_set = visible_change_set(request, change_set_id)
    form = PeriodsForm(request.POST)
    if change_set.state != ChangeSet.State.DRAFT or not form.is_valid():
        return show_change_set(request, change_set, status=422, periods_form=dress(form))
    releases.ask_evidence(change_set, periods=form.cleaned_data["periods"])
    return redirect("mappings:change_set_detail", change_set.pk)


@require_POST
@requires(PROPOSE, PROPOSE_RUNNING)
def remove(request: PersonRequest, change_set_id: int, line_id: int) -> HttpResponse:
    """Take a row out of a draft."""
    change_set = visible_change_set(request, change_set_id)
    return _done(request, change_set, lambda: building.remove_line(change_set, line_id, by=request.user))


@require_POST
@requires(PROPOSE, PROPOSE_RUNNING)
def withdraw(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Its author takes it back."""
    change_set = visible_change_set(request, change_set_id)
    return _done(request, change_set, lambda: releases.withdraw_change_set(change_set, by=request.user))


@require_POST
@requires(PROPOSE, PROPOSE_RUNNING)
def anew(request: PersonRequest, change_set_id: int) -> HttpResponse:
    """Propose what was ended once more, on the rules of now and with evidence of now."""
    change_set = visible_change_set(request, change_set_id)

    def again() -> ChangeSet:
        draft, proposal = releases.propose_anew(change_set, by=request.user)
        say_proposed(request, proposal)
        return draft

    return _done(request, change_set, again)


def _done(request: PersonRequest, change_set: ChangeSet, act: Any) -> HttpResponse:
    """Do it and show the change set that came of it, or this one with the reason why not."""
    form = NameForm({"title": change_set.title, "why": change_set.why})
    form.is_valid()
    try:
        made = act()
    except (DraftRefused, ApprovalRefused) as refused:
        form.take_refusal(refused)
        return show_change_set(request, change_set, status=422, name_form=form)
    return redirect("mappings:change_set_detail", made.pk if isinstance(made, ChangeSet) else change_set.pk)


@require_GET
@requires("mappings.view_rule")
def documents(request: HttpRequest, change_set_id: int) -> HttpResponse:
    """The documents behind the figures: held ones with what became of them, or posted ones that would differ."""
    change_set = visible_change_set(request, change_set_id)
    asked_part = request.GET.get("part", "")
    part = asked_part if asked_part in (evidence.POSTED, evidence.TESTED) else evidence.HELD
    rows = access.visible_to(request.user, EvidenceDocument.objects.filter(evidence=change_set.pk, part=part))
    asked = {name: request.GET.get(name, "").replace("\x00", "") for name in ("entity", "period", "account")}
    if asked["entity"]:
        rows = rows.filter(legal_entity_code=asked["entity"])
    if asked["period"]:
        rows = rows.filter(period_code=asked["period"])
    if asked["account"]:
        rows = rows.filter(moves__contains=[[asked["account"]]])
    listed = paginate(request, rows, order=("id",))
    _tell_states(request.user, listed.rows)
    called = names_of(move for row in listed.rows for move in row.moves)
    for row in listed.rows:
        row.moved = [(*called(move[:1]), called(move[:4])[1:], move[4]) for move in row.moves if move[0]]
    context = {"change_set": change_set, "part": part, "page": listed, "asked": asked}
    content = content_of(change_set) or {}
    context["has_tested"] = content.get("back_test", {}).get("part") == evidence.TESTED
    return page(request, "mappings/change_set_documents.html", "mappings/_change_documents.html", context)


def show_change_set(request: HttpRequest, change_set: ChangeSet, *, status: int = 200, **given: Any) -> HttpResponse:
    """The page of a change set, also after a form that couldn't be used."""
    proposal, user = change_set.proposal, request.user
    names = dict(Connection.objects.values_list("code", "name"))
    found: Evidence | None = getattr(change_set, "evidence", None)
    content = content_of(change_set)
    signatures = list(proposal.signatures.select_related("signed_by").order_by("signed_at")) if proposal else []
    is_own_draft = change_set.state == "draft" and change_set.proposed_by_id == user.pk
    lines = paginate(request, change_set.lines.select_related("rule"), order=("kind", "key", "id"), size=LINES_SHOWN)
    may_propose = access.may(user, PROPOSE) or access.may(user, PROPOSE_RUNNING)
    context = {
        "change_set": change_set,
        "proposal": proposal,
        "lines": lines,
        "acts": dict(change_set.lines.order_by().values_list("act").annotate(n=Count("pk"))),
        "releases": _releases(user, change_set),
        "names": names,
        "cant": why_not(user, proposal),
        "signers": signers_of(proposal) if proposal else [],
        "signer_roles": access.roles_with(proposal.signer_permission) if proposal else "",
        **approval_words(user, change_set),
        "signatures": signatures,
        "evidence": found,
        "figures": figures_of(user, content, names) if content else None,
        "is_fresh": change_set.state != "draft" or evidence.is_fresh(found, change_set),
        "is_own_draft": is_own_draft,
        "may_withdraw": change_set.proposed_by_id == user.pk and change_set.state in ("draft", "proposed"),
        "may_begin_anew": may_propose and change_set.state in building.ENDED,
        "name_form": dress(NameForm(initial={"title": change_set.title, "why": change_set.why}, label_suffix="")),
        "periods_form": dress(PeriodsForm(initial={"periods": found.periods} if found else None, label_suffix="")),
        **given,
    }
    target = getattr(getattr(request, "htmx", None), "target", "") if wants_fragment(request) else ""
    fragment = _FRAGMENTS.get(target or "", "mappings/_sign.html")
    return page(request, "mappings/change_set_detail.html", fragment, context, status=status)


def _releases(user: Any, change_set: ChangeSet) -> dict[str, Any]:
    """The held documents that are signed for release: how many, how much in each currency, and what became of the
    first. Own entities only."""
    facts = change_set.proposal.content.get("affected", []) if change_set.proposal else []
    mine = [f for f in facts if access.sees_entity(user, f.get("legal_entity", ""), "mappings.view_rule")]
    amounts: dict[str, Decimal] = {}
    for fact in mine:
        if fact.get("amount"):
            amounts[fact["currency"]] = amounts.get(fact["currency"], Decimal(0)) + Decimal(fact["amount"])
    shown = mine[:RELEASES_SHOWN]
    ids = [f["transaction"] for f in shown]
    rows = EvidenceDocument.objects.filter(evidence=change_set.pk, part=evidence.HELD, transaction_id__in=ids)
    known = {str(row.transaction_id): row for row in rows} if ids else {}
    documents = [known.get(f["transaction"]) or _document(f) for f in shown]
    _tell_states(user, documents)
    return {"count": len(mine), "amounts": sorted(amounts.items()), "documents": documents}


def _document(fact: dict[str, Any]) -> EvidenceDocument:
    """A signed document of a proposal that has no evidence beside it."""
    return EvidenceDocument(
        transaction_id=fact["transaction"], number=fact.get("number", ""), currency=fact.get("currency", ""),
        legal_entity_code=fact.get("legal_entity", ""), period_code=fact.get("period", ""),
        amount=Decimal(fact["amount"]) if fact.get("amount") else None,
    )  # fmt: skip


def _tell_states(user: Any, rows: list[EvidenceDocument]) -> None:
    """Where these documents stand now, and what holds one again."""
    ids = [row.transaction_id for row in rows]
    found = transactions_visible_to(user).filter(pk__in=ids).values_list("pk", "state", "problem") if ids else ()
    states = {str(pk): (state, (problem or {}).get("summary", "")) for pk, state, problem in found}
    for row in rows:
        row.state, row.problem = states.get(str(row.transaction_id), ("", ""))  # type: ignore[attr-defined]
