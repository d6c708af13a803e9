"""One act on a frozen set: confirmed, a minute to undo it, then carried in chunks that a crash leaves whole.

A chunk commits what was done to its documents together with their results, under the lock of its action: whoever comes
after a crash, or beside a process that was taken for dead, finds what is left and nothing else. Locks are taken in the
order of all resolutions (transactions, occurrences, cases, audit), after the action's own.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from django.db import OperationalError, connection
from django.db.models import Q
from django.db.models.functions import Now
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import bulk_agreeing, cases, resolutions, tallies
from exceptions.duty import Duty
from exceptions.freezing import ASSIGN, WAYS, BulkRefused
from exceptions.kind_words import CORRECT_AT_SOURCE, LOOK_AGAIN, REPOST, WAIVE, WAIVE_REASONS
from exceptions.models import BulkAction, BulkItem, CaseNote, ExceptionCase, Occurrence
from q2c.core import access, approvals, audit, leases
from q2c.core.clocks import database_now
from q2c.core.ending import is_ending
from q2c.core.models import Person, Proposal
from q2c.transactions.restart import WHY_NOT, Restarted

log = structlog.get_logger(__name__)

State, Result = BulkAction.State, BulkItem.Result
LEASE_SECONDS = 30.0
CHUNK = 500
PRIORITY = 5  # as what arrives anew: ten thousand reposts never stand before today's invoices
DRAFTS_KEPT = dt.timedelta(days=7)
MOVED = "it moved after it was chosen"
NO_RIGHT = "your role doesn't allow it any more"
NO_SIGHT = "you don't see its case any more"
STOPPED = "stopped before it was done"
_VERBS = {REPOST: "repost", LOOK_AGAIN: "look_again", CORRECT_AT_SOURCE: "send_back", WAIVE: "waive", ASSIGN: "assign"}


def confirm(
    action: BulkAction, *, by: Person, why: str, as_then: bool = False, assign_to: Person | None = None, code: str = ""
) -> BulkAction:
    """Have a draft done: a minute from now, or from the last signature where the rules ask for one.

    Raises BulkRefused: somebody else's, not a draft any more, nothing in it that the person may act on, without a
    reason, without the right.
    """
    with atomic():
        own = BulkAction.objects.select_for_update().get(pk=action.pk)
        if own.made_by_id != by.pk:
            raise BulkRefused("Somebody else chose this set.")
        if own.state != State.DRAFT:
            raise BulkRefused("It was decided already.")
        if not access.may(by, WAYS[own.what].permission):
            raise BulkRefused("Your role doesn't allow it any more.")
        if own.refused_count >= own.item_count:
            raise BulkRefused("There is nothing in it that you may act on.")
        if own.what == ASSIGN and assign_to is None:
            raise BulkRefused("Say who gets them.")
        if own.what != ASSIGN and not why.strip():
            raise BulkRefused("Say why.")
        if own.what == WAIVE and code not in WAIVE_REASONS:
            raise BulkRefused("Choose one of the reasons.")
        own.why, own.code, own.as_then, own.assign_to = why, code, as_then, assign_to
        bulk_agreeing.begin_or_ask(own, by=by)
        facts = {"what": own.what, "chosen": own.chosen, "items": own.item_count, "not_allowed": own.refused_count,
                 "totals": own.totals, "to": str(assign_to or ""), "code": code}  # fmt: skip
        audit.record(by, "confirm_bulk", "bulk_action", own.pk, why=why, data=facts)
    return own


def undo(action: BulkAction, *, by: Person) -> bool:
    """Let go of a draft, or of a confirmed one before it begins; what waited for a signature is withdrawn. Returns
    whether that was in time."""
    in_time = Q(state__in=(State.DRAFT, State.ASKED)) | Q(state=State.WAITING, starts_at__gt=Now())
    with atomic():
        proposal = bulk_agreeing.proposal_of(action)
        if proposal is not None and proposal.state == Proposal.State.PROPOSED and proposal.proposed_by_id == by.pk:
            with suppress(approvals.ApprovalRefused):  # signed at this moment: then the minute has begun
                approvals.withdraw(proposal, by=by, why=f"{action.number} was undone")
        own = BulkAction.objects.filter(in_time, pk=action.pk, made_by=by)
        if not own.update(state=State.UNDONE, ended_at=timezone.now()):
            return False
        audit.record(by, "undo_bulk", "bulk_action", action.pk)
    return True


def stop(action: BulkAction, *, by: Person) -> int | None:
    """End one's running action: what a chunk has done is kept, the rest isn't begun and says so. Waits for the chunk
    that is being done. Returns how many were left, None when it isn't running."""
    with atomic():
        own = BulkAction.objects.select_for_update().filter(pk=action.pk, made_by=by, state=State.RUNNING).first()
        if own is None:
            return None
        left = own.items.filter(result=Result.PENDING).update(result=Result.REFUSED, says=STOPPED)
        own.refused_count += left
        own.state, own.ended_at = State.DONE, timezone.now()
        own.keep()
        audit.record(by, "stop_bulk", "bulk_action", own.pk, why=own.why, data={"done": own.done_count, "left": left})
    if own.what == CORRECT_AT_SOURCE:
        resolutions.make_way()
    return left


def run_due() -> None:
    """Carry every action whose time to undo is over, and what a process that died has left. Safe at any moment."""
    for action_id in due_actions():
        run_action(action_id)


def due_actions() -> list[int]:
    """The confirmed actions that are to begin, or to go on."""
    begun = Q(state=State.RUNNING) | Q(state=State.WAITING, starts_at__lte=Now())
    return list(BulkAction.objects.filter(begun).order_by("starts_at").values_list("pk", flat=True))


def run_action(action_id: int) -> None:
    """Carry an action to its end, unless another process is at it.

    A chunk that fails is tried again in tenths, and the one document at fault is refused by name: it stops no other.
    """
    name, me, size = f"bulk:{action_id}", leases.this_process(), CHUNK
    try:
        while not is_ending() and leases.take_lease(name, holder=me, seconds=LEASE_SECONDS):
            try:
                if not carry_chunk(action_id, size):
                    break
                size = CHUNK
            except OperationalError:
                raise  # the database was away, or two waited for each other: the sweep goes on
            except Exception as error:
                log.exception("a chunk of a bulk action failed", action=action_id, size=size)
                if size == 1:
                    _refuse_first(action_id, error)
                size = max(1, size // 10)
    finally:
        leases.release_lease(name, holder=me)


def carry_chunk(action_id: int, size: int = CHUNK) -> bool:
    """Do the next so many, and write down what became of them, in one transaction. Returns whether to go on."""
    with atomic():
        locked = BulkAction.objects.select_for_update(of=("self",)).select_related("made_by", "assign_to")
        action = locked.get(pk=action_id)
        if action.state == State.WAITING and action.starts_at is not None and action.starts_at <= database_now():
            action.state = State.RUNNING
        if action.state != State.RUNNING:
            return False
        items = list(action.items.filter(result=Result.PENDING).order_by("id")[:size])
        if items:
            why_not = _act(action, items)
            _write(action, items, why_not)
            if done := [item for item in items if item.pk not in why_not]:
                _tell(action, done)
        else:
            _end(action)
    if not items and action.what == CORRECT_AT_SOURCE:
        resolutions.make_way()
    return bool(items)


def forget_drafts() -> int:
    """Drop drafts that nobody confirmed. Returns how many."""
    old = BulkAction.objects.filter(state=State.DRAFT, frozen_at__lt=timezone.now() - DRAFTS_KEPT)
    return old.delete()[1].get("exceptions.BulkAction", 0)


def _act(action: BulkAction, items: list[BulkItem]) -> dict[int, str]:
    """Do it to these. Returns why not, by item, of those that it wasn't done to."""
    by, way = action.made_by, WAYS[action.what]
    if not by.is_active or not access.may(by, way.permission):
        return {item.pk: NO_RIGHT for item in items}
    seen = set(tallies.cases_shown_to(by).filter(pk__in={item.case_id for item in items}).values_list("pk", flat=True))
    unseen = {item.pk: NO_SIGHT for item in items if item.case_id not in seen}
    rest = [item for item in items if item.pk not in unseen]
    if action.what == ASSIGN:
        return unseen | _assign(action, rest)
    moved = _moved(rest)
    ids = sorted(item.transaction_id for item in rest if item.pk not in moved and item.transaction_id is not None)
    results = {row.transaction_id: row for row in _carry(action, ids)}
    left = {
        item.pk: results[item.transaction_id].why_not
        for item in rest
        if item.transaction_id in results and not results[item.transaction_id].is_restarted
    }
    return unseen | moved | left


def _carry(action: BulkAction, ids: list[UUID]) -> list[Restarted]:
    by = action.made_by
    if action.what == WAIVE:
        return resolutions.give_up(ids, by=by, reason=action.why, code=action.code)
    if action.what == CORRECT_AT_SOURCE:
        return resolutions.send_back(ids, by=by)
    return resolutions.continue_held(
        ids,
        by=by,
        why=f"{action.why} ({action.number})",
        permission=WAYS[action.what].permission,
        as_then=action.as_then,
        priority=PRIORITY,
    )


def _moved(items: Iterable[BulkItem]) -> dict[int, str]:
    """Locks these documents. Returns those that aren't as they were chosen, each with what it is now."""
    ids = sorted(item.transaction_id for item in items if item.transaction_id is not None)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, state, attempt::text FROM transactions_businesstransaction WHERE id = ANY(%s)"
            " ORDER BY id FOR UPDATE",
            [ids],
        )
        present = {row[0]: row[1:] for row in cursor.fetchall()}
    held = Occurrence.objects.filter(transaction_id__in=ids, closed_at__isnull=True)
    case_of = dict(held.values_list("transaction_id", "case_id"))
    found = {}
    for item in items:
        state, attempt = present.get(item.transaction_id, ("", ""))
        case_id = case_of.get(item.transaction_id)
        if state != "held":
            found[item.pk] = f"{MOVED}: {WHY_NOT.get(state, 'there is no such transaction')}"
        elif case_id is not None and case_id != item.case_id:
            found[item.pk] = f"{MOVED}: EX-{case_id} holds it now"
        elif attempt != item.version or case_id is None:
            found[item.pk] = f"{MOVED}: it was tried again since"
    return found


def _assign(action: BulkAction, items: list[BulkItem]) -> dict[int, str]:
    """Give the cases to whoever gets them; one that is closed, or that somebody else took since, stays."""
    to, by = action.assign_to, action.made_by
    assert to is not None  # a draft isn't confirmed without
    locked = {
        case.pk: case
        for case in ExceptionCase.objects.select_for_update()
        .filter(pk__in=[item.case_id for item in items])
        .order_by("pk")
    }
    allowed = access.reach(by, WAYS[ASSIGN].permission)
    duty, why_not, given = Duty(ids=[to.pk]), {}, []
    for item in items:
        case = locked[item.case_id]
        if not case.is_open:
            why_not[item.pk] = f"it is {case.get_state_display().lower()} already"
        elif case.legal_entity_code and not allowed.covers(case.legal_entity_code, case.kind):
            why_not[item.pk] = resolutions.OTHER_ENTITY
        elif str(case.assignee_id or "") != item.version:
            why_not[item.pk] = f"{MOVED}: {case.assignee or 'nobody'} has it now"
        elif not duty.works(to.pk, case.queue, case.legal_entity_code, case.kind):
            why_not[item.pk] = f"{to} doesn't work its queue"
        else:
            given.append(case)
    cases.assign_all(given, to, by=by, why=action.why)
    return why_not


def _tell(action: BulkAction, items: list[BulkItem]) -> None:
    """One note in a case's timeline for the whole action; an entry in the audit trail for each case of the chunk."""
    verb, by_case = _VERBS[action.what], _by_case(items)
    if action.what == ASSIGN:  # their notes are made with them
        facts = {"cases": [item.case_id for item in items], "to": str(action.assign_to)}
        audit.record(action.made_by, verb, "bulk_action", action.pk, why=action.why, data=facts)
        return
    noted = CaseNote.objects.filter(case__in=list(by_case), verb=resolutions.DID[verb], data__bulk=action.pk)
    known = set(noted.values_list("case", flat=True))
    chosen = action.items.filter(case__in=by_case.keys() - known).exclude(result=Result.REFUSED)
    counts = Counter(chosen.values_list("case", flat=True))
    now = timezone.now()
    CaseNote.objects.bulk_create(
        CaseNote(
            case_id=case_id, at=now, by=action.made_by, verb=resolutions.DID[verb],
            text=f"{action.why} ({action.number})", data={"documents": count, "how": action.what, "bulk": action.pk},
        )
        for case_id, count in sorted(counts.items())
    )  # fmt: skip
    audit.record_all(
        audit.Act(
            actor=action.made_by, verb=verb, subject=("case", case_id), why=action.why,
            data={"transactions": ids, "bulk": action.pk},
        )
        for case_id, ids in sorted(by_case.items())
    )  # fmt: skip


def _by_case(items: Iterable[BulkItem]) -> dict[int, list[UUID]]:
    found: dict[int, list[UUID]] = {}
    for item in items:
        if item.transaction_id is not None:
            found.setdefault(item.case_id, []).append(item.transaction_id)
    return found


def _write(action: BulkAction, items: list[BulkItem], why_not: Mapping[int, str]) -> None:
    """The result of each, and the action's state and counts."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE exceptions_bulkitem i SET says = left(x.says, 300),"
            " result = CASE x.says WHEN '' THEN 'done' ELSE 'refused' END"
            " FROM unnest(%s::bigint[], %s::text[]) AS x(id, says) WHERE i.id = x.id",
            [[item.pk for item in items], [why_not.get(item.pk, "") for item in items]],
        )
    action.refused_count += len(why_not)
    action.done_count += len(items) - len(why_not)
    action.keep()


def _refuse_first(action_id: int, error: Exception) -> None:
    """The next document can't be done, and nobody foresaw why: it's refused by name."""
    with atomic():
        action = BulkAction.objects.select_for_update().get(pk=action_id)
        first: Any = action.items.filter(result=Result.PENDING).order_by("id").first()
        if first is not None:
            _write(action, [first], {first.pk: f"we couldn't do it ({type(error).__name__}); the log has it"})


def _end(action: BulkAction) -> None:
    action.state, action.ended_at = State.DONE, timezone.now()
    action.keep()
    facts = {"done": action.done_count, "refused": action.refused_count}
    audit.record(action.made_by, "finish_bulk", "bulk_action", action.pk, why=action.why, data=facts)
