"""What people do with bill runs: hold one, release or reject it whole; and carrying that out, a piece at a time.

The decision is one row, made under its lock; then beat carries it out in pieces that commit with how far they are, so
a killed process leaves whole pieces and another goes on. A document that is awake already, or cancelled, stays so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases
from exceptions.models import Waiver
from mappings.bill_runs import ONE_PERSON
from q2c.core import access, approvals, audit
from q2c.core.models import Person, Proposal
from q2c.core.problems import Category, Problem
from q2c.flows.bill_run_states import (
    NOUNS,
    State,
    add_up,
    figures_of,
    judge,
    many,
    money,
    sum_of,
    usual_of,
    why_incomplete,
    why_not_by_itself,
)
from q2c.flows.bill_runs import policy_of
from q2c.flows.done import portal_person
from q2c.transactions.bill_run_counts import (
    cancel_free,
    has_free,
    has_unrolled,
    next_piece,
    take_alone,
    wake_piece,
)
from q2c.transactions.bill_runs import BillRun, BillRunPart
from q2c.transactions.models import BusinessTransaction, WorkItem
from q2c.transactions.restart import release_waits

PERMISSION, VIEW = "transactions.release_run", "transactions.view_transaction"
KIND = "bill_run"  # of proposals
RELEASE, REJECT = "release", "reject"
NAMED = 5
CARRIES_SECONDS = 2.0
CHANGED = "The run has changed since it was proposed. Propose it anew."
BY_ITSELF = "It is complete and within its limits."
WAIVED = "with_its_run"
_COUNTS_FIRST = "Documents are coming in at this moment. Try again in some seconds."


class RunRefused(ValueError):
    """Why it can't be, in words for the screen."""


def runs_visible_to(user: Any) -> QuerySet[BillRun]:
    """The runs of a person's entities."""
    return access.visible_to(user, BillRun.objects.all())


def may_act(user: Any, run: BillRun) -> bool:
    """Whether a person may hold, release and reject this run."""
    return access.may(user, PERMISSION, run.legal_entity_code)


def needs_two(run: BillRun, act: str, missing: list[str]) -> bool:
    """Whether a second person has to agree: as policy says, and always to what isn't complete."""
    return policy_of(run).release != ONE_PERSON or (act == RELEASE and bool(missing))


def hold(run: BillRun, *, by: Person, why: str) -> None:
    """Let nothing more of it post until somebody releases it. What a worker has in its hands may still post.

    Raises RunRefused once it was rejected or posted, or without a reason or the right.
    """
    _check(run, by, why)
    with atomic():
        own = _locked(run)
        if own.state in (State.REJECTED, State.POSTED):
            raise RunRefused(f"It is {own.state} already.")
        if own.stopped_by:
            raise RunRefused(f"{own.stopped_by} holds it already.")
        own.holds, own.stopped_by, own.stopped_why = True, by.get_username(), why.strip()
        own.decided_at, own.decided_by, own.decided_why, own.work = None, None, "", BillRun.Work.NONE
        own.state, own.state_at = State.HELD, timezone.now()
        own.reasons = [f"{own.stopped_by} holds it: {own.stopped_why}"]
        own.save()
        audit.record(by, "hold", KIND, own.pk, why=why, data={"run": str(own)})


def decide(run: BillRun, act: str, *, by: Person, why: str) -> Proposal | None:
    """Release it or reject it whole, or propose that where a second person has to agree; then the proposal.

    Raises RunRefused: decided already, not held, posted in part (which is named), while documents come in, without a
    reason or the right.
    """
    _check(run, by, why)
    add_up()
    with atomic():
        own = _locked(run)
        parts = list(own.parts.all())
        missing = _why_not(own, parts, act)
        if not needs_two(own, act, missing):
            _apply(own, act, by=by, why=why)
            return None
        made = approvals.propose_afresh(
            [approvals.Wish(
                kind=KIND, subject=(KIND, own.pk), content=_content(own, parts, act, missing),
                title=f"{act.capitalize()} bill run {own.called} of {own.legal_entity_code}", why=why,
                permission=PERMISSION, legal_entities=[own.legal_entity_code],
            )],
            by=by, stale="Something else was proposed, or the run changed meanwhile.",
        )  # fmt: skip
    if not made:
        raise RunRefused("The same is proposed already, and waits for a second person.")
    return made[0]


def proposal_of(run: BillRun) -> Proposal | None:
    """What waits, or waited, for a second person."""
    found = Proposal.objects.filter(kind=KIND, subject_type=KIND, subject_id=str(run.pk))
    return found.select_related("proposed_by").order_by("-id").first()


def sign(proposal: Proposal, *, by: Person, approve: bool, why: str, seen_hash: str) -> str:
    """Sign what somebody else proposed; it holds with the last signature. Returns the proposal's state. Raises
    ApprovalRefused, or RunRefused when the run isn't what was signed any more: then nothing is signed."""
    add_up()
    return approvals.sign(
        proposal, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash,
        apply=lambda agreed: _apply_agreed(agreed, by=by),
    )  # fmt: skip


def _apply_agreed(proposal: Proposal, *, by: Person) -> None:
    own = BillRun.objects.select_for_update().get(pk=int(proposal.subject_id))
    act, parts = str(proposal.content["act"]), list(own.parts.all())
    _why_not(own, parts, act)
    if not _is_as_proposed(proposal, parts):
        raise RunRefused(CHANGED)
    _apply(own, act, by=proposal.proposed_by, why=proposal.why, agreed=by.get_username())


def _is_as_proposed(proposal: Proposal, parts: list[BillRunPart]) -> bool:
    """What is signed holds: the figures, and no release of more than was shown to be held by cases."""
    content = proposal.content
    is_same = figures_of(parts) == content["figures"]
    return is_same and (content["act"] == REJECT or sum_of(parts).held <= content["held_by_cases"])


def void_changed() -> int:
    """End what waits for a second person while its run isn't what was proposed any more. Returns how many."""
    count = 0
    for proposal in Proposal.objects.filter(kind=KIND, state=Proposal.State.PROPOSED).order_by("pk"):
        if not _is_as_proposed(proposal, list(BillRunPart.objects.filter(run_id=int(proposal.subject_id)))):
            try:
                approvals.void(proposal, reason=CHANGED)
            except approvals.ApprovalRefused:  # somebody decided it at this moment
                continue
            count += 1
    return count


def release_by_itself(run_ids: Iterable[int]) -> int:
    """Release complete runs whose policy asks for nobody; looked at once more under their lock. Returns how many."""
    count = 0
    for run_id in sorted(run_ids):
        with atomic():
            own = BillRun.objects.select_for_update().get(pk=run_id)
            parts = list(own.parts.all())
            state, against = judge(own, parts, now=timezone.now())
            if state == State.COMPLETE and not against and own.decided_at is None and not has_unrolled(own):
                _apply(own, RELEASE, by=None, why=BY_ITSELF)
                count += 1
    return count


def carry_due(*, seconds: float = CARRIES_SECONDS) -> list[str]:
    """Carry out what was decided, piece by piece, for a while. Returns the flows to nudge."""
    flows: set[str] = set()
    until = time.monotonic() + seconds
    for run_id in BillRun.objects.exclude(work="").order_by("id").values_list("pk", flat=True):
        while time.monotonic() < until:
            more, nudged = carry_piece(run_id)
            flows |= set(nudged)
            if not more:
                break
    return sorted(flows)


def carry_piece(run_id: int) -> tuple[bool, list[str]]:
    """One piece in one transaction: whether there is more, and the flows to nudge. Beside another process that does
    it, nothing."""
    with atomic():
        run = BillRun.objects.get(pk=run_id)
        if not take_alone(run):
            return False, []
        run.refresh_from_db()
        if run.work == BillRun.Work.RELEASE:
            count, flows = wake_piece(run)
        elif run.work == BillRun.Work.REJECT:
            count, flows = _cancel_piece(run)
        else:
            return False, []
        if not count and run.work == BillRun.Work.REJECT and has_free(_locked(run)):
            count, run.carried_to = 1, None  # a worker let go of one behind us: once more from the beginning
        work = run.work if count else BillRun.Work.NONE
        # Held again, or decided otherwise, meanwhile: that stands.
        BillRun.objects.filter(pk=run_id, work=run.work).update(work=work, carried_to=run.carried_to if count else None)
        return bool(count), flows


def _cancel_piece(run: BillRun) -> tuple[int, list[str]]:
    ids = next_piece(run)
    if not ids:
        return 0, []
    run.carried_to = ids[-1]
    why = f"its bill run was rejected by {run.decided_by}: {run.decided_why}"
    done = cancel_free(ids, why=why)
    _keep_open_items(run, done)
    cases.close_for_transactions(done, "waived")
    flows: set[str] = set()
    if done:
        audit.record(run.decided_by or audit.PORTAL, "give_up", KIND, run.pk, why=run.decided_why,
                     data={"transactions": done})  # fmt: skip
        rows = BusinessTransaction.objects.filter(pk__in=done)
        names = {"invoice_to_erp": "invoice", "credit_memo_to_erp": "credit_memo"}
        flows = release_waits([
            f"{names[flow]}:{connection}:{source}"
            for flow, connection, source in rows.values_list("flow", "source_connection", "source_id")
        ])  # fmt: skip
    return len(ids), sorted(flows)


def _keep_open_items(run: BillRun, ids: list[UUID]) -> None:
    """What is given up stands on the list of open items; one that was taken up and given up again stands there once."""
    if run.case_id is None or run.decided_by is None:
        return
    names = ("pk", "number", "legal_entity_code", "period_code", "currency", "amount")
    rows = BusinessTransaction.objects.filter(pk__in=ids).order_by("pk").values_list(*names)
    Waiver.objects.bulk_create(
        [
            Waiver(
                case_id=run.case_id, transaction_id=pk, number=number, legal_entity_code=entity, period_code=period,
                currency=currency, amount=amount, code=WAIVED, why=run.decided_why, by=run.decided_by,
                at=timezone.now(),
            )
            for pk, number, entity, period, currency, amount in rows
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def _apply(own: BillRun, act: str, *, by: Person | None, why: str, agreed: str = "") -> None:
    """Note the decision: from now on the gate knows it. Carrying it out follows."""
    parts = list(own.parts.all())
    own.decided_at, own.decided_by, own.decided_why = timezone.now(), by, why
    own.state_at, own.reasons, own.stopped_by, own.stopped_why, own.carried_to = own.decided_at, [], "", "", None
    if act == RELEASE:
        own.holds, own.state, own.work = False, State.POSTING, BillRun.Work.RELEASE
    else:
        own.decided_by = own.decided_by or portal_person()
        own.holds, own.state, own.work = True, State.REJECTED, BillRun.Work.REJECT
        own.case_id = _open_case(own, parts)
    own.save()
    data: dict[str, Any] = {"run": str(own), "figures": figures_of(parts)}
    audit.record(by or audit.PORTAL, act, KIND, own.pk, why=why, data=data | ({"agreed": agreed} if agreed else {}))


def _open_case(run: BillRun, parts: list[BillRunPart]) -> int:
    """That the source voids or corrects what its customers may have already."""
    currencies = {part.currency for part in parts if part.received_count}
    what = ", ".join(_documents(parts))
    problem = Problem(
        "bill_run_rejected", Category.CONFLICT,
        f"Bill run {run.called} of {run.legal_entity_code} was rejected whole: {what} are to be voided or corrected"
        f" where they were billed. {run.decided_why}",
        connection=run.connection_code, legal_entity=run.legal_entity_code, run=run.called,
    )  # fmt: skip
    is_one = len(currencies) == 1
    return cases.open_case(
        problem, connection_code=run.connection_code, legal_entity_code=run.legal_entity_code,
        period_code=run.period_code, number=run.called, currency=currencies.pop() if is_one else "",
        amount=sum((p.received_amount for p in parts), start=Decimal(0)) if is_one else None,
    )  # fmt: skip


def _check(run: BillRun, by: Person, why: str) -> None:
    if not may_act(by, run):
        raise RunRefused(f"Your role doesn’t hold, release or reject bill runs of {run.legal_entity_code}.")
    if not why.strip():
        raise RunRefused("Say why.")


def _locked(run: BillRun) -> BillRun:
    return BillRun.objects.select_for_update().get(pk=run.pk)


def _why_not(own: BillRun, parts: list[BillRunPart], act: str) -> list[str]:
    """Raises RunRefused where it can't be decided so now; else why it isn't complete, and what else speaks against its
    release."""
    if own.decided_at is not None:
        who = own.decided_by.get_username() if own.decided_by else "The portal"
        done = "rejected" if own.state == State.REJECTED else "released"
        raise RunRefused(f"{who} {done} it already.")
    if not own.holds:
        raise RunRefused("Its documents post as they come. Hold it first.")
    if has_unrolled(own):
        raise RunRefused(_COUNTS_FIRST)
    if act == REJECT:
        _refuse_posted(own)
        return []
    now, policy = timezone.now(), policy_of(own)
    usual = usual_of(own) if policy.variance_limit is not None else {}
    return why_incomplete(own, parts, policy, now) or why_not_by_itself(own, parts, policy, usual)


def _refuse_posted(own: BillRun) -> None:
    """A run is rejected whole or not at all: what is posted, or may be, is named."""
    rows = BusinessTransaction.objects.filter(bill_run_id=own.pk)
    for where, words, remedy in (
        (Q(state="completed"), "posted", "Credit them in billing, or take them back one by one."),
        (Q(state="unknown") | Q(open_intent__isnull=False), "perhaps posted: their outcome isn’t known",
         "Try again once it is."),
        (Q(pk__in=WorkItem.objects.filter(intent__isnull=False).values("transaction_id")), "being posted",
         "Try again in a moment."),
    ):  # fmt: skip
        found = rows.filter(where).order_by("number", "id")
        numbers = [number or source for number, source in found.values_list("number", "source_id")[:NAMED]]
        if numbers:
            count = found.count()
            more = f" and {count - len(numbers):,} more" if count > len(numbers) else ""
            verb = "is" if count == 1 else "are"
            raise RunRefused(f"It can’t be rejected whole: {', '.join(numbers)}{more} {verb} {words}. {remedy}")


def _documents(parts: list[BillRunPart]) -> list[str]:
    """What it has, in words."""
    return [
        f"{many(p.received_count, NOUNS.get(p.document_type, p.document_type))}"
        f" over {money(p.received_amount, p.currency)}"
        for p in parts
    ]


def _content(own: BillRun, parts: list[BillRunPart], act: str, missing: list[str]) -> dict[str, Any]:
    total = sum_of(parts)
    return {
        "act": act, "run": own.called, "connection": own.connection_code, "legal_entity": own.legal_entity_code,
        "billing_day": own.day.isoformat(), "documents": _documents(parts), "held_by_cases": total.held,
        "although": missing, "figures": figures_of(parts),
    }  # fmt: skip
