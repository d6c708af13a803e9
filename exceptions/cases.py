"""The exceptions room's door for the machinery, and what people do to a case short of resolving it.

In: `open_for_steps`, `open_case`. Closing: `close_for_transactions` when a document is carried or given back. A case
with nothing left resolves itself after the commit (`closing.py`): the machinery never waits for it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.transaction import atomic, on_commit
from django.utils import timezone
from simple_history.utils import bulk_update_with_history

from exceptions import duty
from exceptions.closing import close_cases, resolve_emptied
from exceptions.fixes import READ_LATER, Ending
from exceptions.models import CaseNote, CaseTally, ExceptionCase, Occurrence
from exceptions.occurrences import StepProblem, close_occurrences, without_null
from exceptions.opening import fingerprint_of, open_for_steps, open_occurrences
from exceptions.rerouting import route_again
from q2c.core.history import save_with_reason
from q2c.core.ids import uuid7_bound
from q2c.core.models import Person
from q2c.core.problems import Problem

__all__ = ["StepProblem", "open_for_steps"]

REPOSTED = "reposted"


def open_case(problem: Problem, *, at: dt.datetime | None = None, event_id: UUID | None = None, **facts: Any) -> int:
    """The case of one problem that has no held transaction: a refused event, a paused connection. Returns its id.

    Further facts are those of `StepProblem` (flow, number, legal_entity_code, amount, connection_code, ...).
    """
    row = StepProblem(problem=problem, at=at or timezone.now(), event_id=event_id, **facts)
    return open_occurrences([row])[0][1]


def close_for_transactions(ids: Iterable[UUID], how: str, *, worker: str = "", case_id: int | None = None) -> int:
    """These documents left their case: `completed`, `waived`, ... Returns how many were in one.

    `reposted` leaves the occurrence open until the document completes: a repost that fails again is no regression.
    Call it inside the transaction that changes the documents; emptied cases resolve themselves after the commit.
    """
    return _close("transaction_id", list(ids), how, worker, case_id)


def close_for_events(ids: Iterable[UUID], how: str, *, worker: str = "") -> int:
    """As `close_for_transactions`, for inbound events that were replayed or set aside."""
    return _close("event_id", list(ids), how, worker, None)


def close_read_later(read: Iterable[tuple[str, UUID, dt.datetime]]) -> int:
    """Close what is open of messages that couldn't be read, of whose objects a later message has been read: its
    `read_key`, its id, and when it happened by the vendor's clock. In one statement where there's none. Returns how
    many were closed.

    Nobody knows when an unread message happened, only that it was before it came; so a message is later where it
    happened at or after that.
    """
    rows = list(read)
    if not rows:
        return 0
    bounds = [uuid7_bound(int(at.timestamp() * 1000) + 1) for _, _, at in rows]
    with database.cursor() as cursor:
        cursor.execute(_READ_LATER, [[key for key, _, _ in rows], [event_id for _, event_id, _ in rows], bounds])
        ids = [row[0] for row in cursor.fetchall()]
    return close_for_events(ids, READ_LATER)


_READ_LATER = """
    SELECT DISTINCT o.event_id FROM exceptions_occurrence o
      JOIN unnest(%s::text[], %s::uuid[], %s::uuid[]) AS n (key, event, bound)
        ON o.read_key = n.key AND o.event_id < least(n.event, n.bound)
     WHERE o.closed_at IS NULL AND o.read_key IS NOT NULL
"""


def _close(column: str, ids: list[UUID], how: str, worker: str, case_id: int | None) -> int:
    if not ids:
        return 0
    if how == REPOSTED:
        running = Occurrence.objects.filter(**{f"{column}__in": ids}, closed_at__isnull=True)
        return (running if case_id is None else running.filter(case=case_id)).update(reposted_at=timezone.now())
    with atomic(savepoint=False):
        left = close_occurrences(column, ids, how=how, worker=worker, case_id=case_id)
        emptied = sorted(set(left))
        if emptied:
            on_commit(lambda: resolve_emptied(emptied), robust=True)
    return len(left)


def tell_anew(problem: Problem, **facts: Any) -> None:
    """What the open case of this problem says now: how long it lasts, how much waits. Nothing else of it changes."""
    print_ = fingerprint_of(StepProblem(problem=problem, at=timezone.now(), **facts))
    known = ExceptionCase.objects.filter(fingerprint=print_, state__in=ExceptionCase.OPEN_STATES)
    says = without_null(problem.summary)[:500]
    known.exclude(summary=says).update(summary=says)


def lock_case(case_id: int) -> ExceptionCase | None:
    """The case, locked against being closed or added to until the transaction ends."""
    return ExceptionCase.objects.select_for_update().filter(pk=case_id).first()


def close_matching(problem: Problem, *, how: str, why: str, by: Person | None = None, **facts: Any) -> int | None:
    """Close the open case that this problem would belong to, if any: a connection works again. Returns its id."""
    print_ = fingerprint_of(StepProblem(problem=problem, at=timezone.now(), **facts))
    with atomic():
        case = (
            ExceptionCase.objects.select_for_update()
            .filter(fingerprint=print_, state__in=ExceptionCase.OPEN_STATES)
            .first()
        )
        if case is None or case.occurrences.filter(closed_at__isnull=True, transaction_id__isnull=False).exists():
            return None  # documents of it are still held: they close it by completing
        case.occurrences.filter(closed_at__isnull=True).update(closed_at=timezone.now(), closed_how=how)
        CaseTally.objects.filter(case=case).update(document_count=0, amount=0, amount_at_risk=0, is_rolled=False)
        close_cases([Ending(case, ExceptionCase.State.RESOLVED, how, why)], by=by)
        return case.pk


def close_loose(case: ExceptionCase, how: str, ids: Collection[int] | None = None) -> int:
    """Close what the case holds beside documents and messages (a gap in a feed), or of that these occurrences. As
    `close_for_transactions`."""
    loose = case.occurrences.filter(closed_at__isnull=True, transaction_id__isnull=True, event_id__isnull=True)
    if ids is not None:
        loose = loose.filter(pk__in=ids)
    closed = loose.update(closed_at=timezone.now(), closed_how=how)
    if closed:
        if not case.occurrences.filter(closed_at__isnull=True).exists():
            CaseTally.objects.filter(case=case).update(document_count=0, amount=0, amount_at_risk=0, is_rolled=False)
        on_commit(lambda: resolve_emptied([case.pk]), robust=True)
    return closed


def is_waived_since(problem: Problem, moment: dt.datetime, **facts: Any) -> bool:
    """Whether a person has waived the case that this problem would belong to, after the moment."""
    print_ = fingerprint_of(StepProblem(problem=problem, at=timezone.now(), **facts))
    waived = ExceptionCase.objects.filter(fingerprint=print_, state=ExceptionCase.State.WAIVED)
    return waived.filter(closed_at__gt=moment).exists()


def assign(case: ExceptionCase, to: Person | None, *, by: Person) -> str:
    """Give the case to somebody, or back to its queue. Whoever is away is stood in for: returns what to say of it."""
    said = ""
    with atomic():
        locked = _lock(case)
        if to is not None and to.pk != by.pk:
            place = (locked.queue, locked.legal_entity_code, locked.kind)
            to, said = duty.receivers(to, [place])[place]
        locked.assignee = to
        if to is not None and locked.state == ExceptionCase.State.OPEN:
            locked.state = ExceptionCase.State.IN_REVIEW
        save_with_reason(locked, why=f"assigned to {to}" if to else "given back to the queue", by=by)
        text = f"{to}: {said}" if said else str(to) if to else "back to the queue"
        note(locked, verb="assigned", text=text, by=by)
        if to is None:
            route_again([locked.pk])  # what it was kept from while somebody had it
    return said


def assign_all(locked: list[ExceptionCase], to: Person, *, by: Person, why: str) -> None:
    """Give these cases, locked by the caller, to somebody, or to whoever stands in for them: in a few statements, each
    with its history and note."""
    places = {case.pk: (case.queue, case.legal_entity_code, case.kind) for case in locked}
    given = {} if to.pk == by.pk else duty.receivers(to, places.values())
    texts: dict[int, str] = {}
    for case in locked:
        case.assignee, told = given.get(places[case.pk], (to, ""))
        texts[case.pk] = ": ".join(part for part in (str(case.assignee), told, why) if part)
        if case.state == ExceptionCase.State.OPEN:
            case.state = ExceptionCase.State.IN_REVIEW
    said = (why or f"assigned to {to}")[:100]
    bulk_update_with_history(
        locked, ExceptionCase, ["assignee", "state"], batch_size=500, default_user=by, default_change_reason=said
    )
    now = timezone.now()
    CaseNote.objects.bulk_create(
        CaseNote(case=case, at=now, by=by, verb="assigned", text=texts[case.pk]) for case in locked
    )


def note(
    case: ExceptionCase, *, verb: str = "noted", text: str, by: Person | None, data: dict[str, Any] | None = None
) -> CaseNote:
    """Add to the case's timeline what somebody did or said."""
    return CaseNote.objects.create(case=case, at=timezone.now(), by=by, verb=verb, text=text, data=data or {})


def escalate(case: ExceptionCase, *, queue: str, why: str, by: Person | None) -> None:
    """Move the case to another queue, with a reason. Raises ValueError without one."""
    if not why.strip():
        raise ValueError("say why")
    with atomic():
        locked = _lock(case)
        locked.queue, locked.routed_by, locked.is_moved_by_hand = queue, None, True
        save_with_reason(locked, why=why, by=by)
        note(locked, verb="escalated", text=why, by=by, data={"queue": queue})


def await_approval(case: ExceptionCase, *, by: Person, text: str, data: dict[str, Any]) -> None:
    """The case waits for a second person."""
    with atomic():
        locked = _lock(case)
        if not locked.is_open:
            raise ValueError(f"{locked.number} is closed")
        locked.state = ExceptionCase.State.AWAITING_APPROVAL
        save_with_reason(locked, why=text, by=by)
        note(locked, verb="proposed", text=text, by=by, data=data)


def end_waiting(case: ExceptionCase, *, by: Person | None, text: str, verb: str) -> None:
    """The second person has decided, or the proposal is gone: the case is worked again."""
    with atomic():
        locked = _lock(case)
        if locked.state == ExceptionCase.State.AWAITING_APPROVAL:
            locked.state = ExceptionCase.State.IN_REVIEW if locked.assignee_id else ExceptionCase.State.OPEN
            save_with_reason(locked, why=text, by=by)
        note(locked, verb=verb, text=text, by=by)


def _lock(case: ExceptionCase) -> ExceptionCase:
    return ExceptionCase.objects.select_for_update().get(pk=case.pk)
