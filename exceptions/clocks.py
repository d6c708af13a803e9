"""The clock of a case: what is promised, where it stands, for whom it waits, and who is told when it's late.

Where a promise stands is stored, with the instant at which that changes next: a run looks only at cases whose instant
has come. A case that waits for a customer or a vendor has no such instant; its promised time moves by the working time
that passed.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import kind_words, kinds, sla
from exceptions.alerts import grouping
from exceptions.models import CaseNote, CasePause, ExceptionCase
from mappings.calendars import EntityCalendar, calendars
from mappings.days import rules_today
from q2c.core.history import save_with_reason
from q2c.core.models import Person
from q2c.core.roles import BY_CODE

BATCH = 1000
# Who leads a queue, by role: told when a promise of it is broken.
LEADS = {
    kind_words.SALES_OPS: "controller", kind_words.BILLING_OPS: "mapping_admin",
    kind_words.CONTROLLERSHIP: "controller", kind_words.PLATFORM: "platform",
}  # fmt: skip
# How far up it's told: whoever works it, who leads its queue, controllership after half the promised time again, the
# platform's people after all of it again.
WORKERS, LEAD, CONTROLLERSHIP, PLATFORM = 1, 2, 3, 4
TOLD_ROLES = frozenset({*LEADS.values(), "controller", "platform"})
_TURN = """
    UPDATE exceptions_exceptioncase c SET standing = x.standing, turns_at = x.turns_at, escalation = x.level
      FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::smallint[]) AS x(id, standing, turns_at, level)
     WHERE c.id = x.id
"""


class ClockRefused(Exception):
    """A clock that can't be stopped or go on; the text says why."""


class Promise(NamedTuple):
    """What is promised: until when, and from when on that is at risk."""

    due_at: dt.datetime
    at_risk_at: dt.datetime


class _Turn(NamedTuple):
    case: ExceptionCase
    standing: str
    turns_at: dt.datetime | None
    level: int


def promise(kind: kinds.Kind, start: dt.datetime, calendar: EntityCalendar) -> Promise:
    """What a case of this kind that is opened then is promised."""
    part, whole = sla.AT_RISK
    return Promise(_after(kind, start, kind.sla, calendar), _after(kind, start, kind.sla * part / whole, calendar))


def next_working(kind: kinds.Kind, at: dt.datetime, entities: Iterable[str]) -> dt.datetime:
    """The first instant from `at` on at which somebody of one of these entities works on such cases."""
    codes = set(entities)
    known = calendars(codes, on=rules_today())
    return min((_after(kind, at, dt.timedelta(), known[code]) for code in codes), default=at)


def escalated_to(case: ExceptionCase) -> str:
    """The role that was told last; empty while only those who work the queue were."""
    return role_at(case.escalation, case.queue)


def role_at(level: int, queue: str) -> str:
    """The role that a broken promise of a queue is told to so far up; empty below the lead."""
    roles = {LEAD: LEADS.get(queue, "controller"), CONTROLLERSHIP: "controller", PLATFORM: "platform"}
    return roles.get(level, "")


def told_q(role: str) -> Q:
    """The cases of which this role was told last (`escalated_to`)."""
    led = Q(queue__in=[queue for queue, leads in LEADS.items() if leads == role])
    if role == "controller":
        led |= ~Q(queue__in=list(LEADS))
    higher = [level for level in (CONTROLLERSHIP, PLATFORM) if role_at(level, "") == role]
    return Q(led, escalation=LEAD) | Q(escalation__in=higher)


def counted_in(case: ExceptionCase) -> str:
    """How its promised time is counted, in words."""
    if kinds.kind_of(case.kind).owner == kind_words.PLATFORM:
        return "day and night"
    return f"in the working hours of {case.legal_entity_code or 'all entities (UTC)'}, faster around a close"


@atomic
def pause(case: ExceptionCase, *, waits_for: str, why: str, by: Person) -> None:
    """Stop the clock while a customer or a vendor is waited for. Raises ClockRefused."""
    locked = _lock(case)
    if not locked.is_open:
        raise ClockRefused(f"{locked.number} is closed.")
    if locked.paused_for:
        raise ClockRefused(f"Its clock stands still already: it waits for the {locked.paused_for}.")
    _keep(locked, by=by, is_stop=True, waits_for=waits_for, why=why)
    locked.paused_for, locked.turns_at = waits_for, None
    save_with_reason(locked, why=why, by=by)
    text = f"for the {waits_for}: {why}"
    CaseNote.objects.create(case=locked, at=timezone.now(), by=by, verb="paused", text=text)


@atomic
def resume(case: ExceptionCase, *, why: str, by: Person) -> dt.timedelta:
    """Let the clock go on: the promised time moves by the working time that passed, which is returned. Raises
    ClockRefused."""
    locked = _lock(case)
    if not locked.paused_for:
        raise ClockRefused("Its clock runs already.")
    stop = locked.pauses.filter(is_stop=True).latest("id")
    now = timezone.now()
    calendar = calendars([locked.legal_entity_code], on=rules_today(locked.legal_entity_code))[locked.legal_entity_code]
    kind = kinds.kind_of(locked.kind)
    waited = _between(kind, stop.at, now, calendar)
    locked.due_at = _after(kind, locked.due_at, waited, calendar)
    locked.turns_at = stop.turns_at and _after(kind, stop.turns_at, waited, calendar)
    waits_for, locked.paused_for = locked.paused_for, ""
    _keep(locked, by=by, is_stop=False, waits_for=waits_for, why=why)
    save_with_reason(locked, why=why, by=by)
    text = f"{why} (due {locked.due_at:%Y-%m-%d %H:%M} UTC now)"
    CaseNote.objects.create(case=locked, at=now, by=by, verb="resumed", text=text)
    return waited


def note_standing() -> int:
    """Note once, in its timeline, that a case is at risk or breached, and who is told. Returns how many notes."""
    noted = 0
    while True:
        with atomic():
            now = timezone.now()
            open_cases = ExceptionCase.objects.filter(closed_at__isnull=True, turns_at__lte=now)
            due = open_cases.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("assignee")
            cases = list(due.order_by("turns_at", "id")[:BATCH])
            if cases:
                noted += _turn(cases, now)
        if len(cases) < BATCH:
            return noted


def _turn(cases: list[ExceptionCase], now: dt.datetime) -> int:
    known = calendars({case.legal_entity_code for case in cases}, on=rules_today())
    turns = [_turn_of(case, now, known[case.legal_entity_code]) for case in cases]
    columns = zip(*((t.case.pk, t.standing, t.turns_at, t.level) for t in turns), strict=True)
    with database.cursor() as cursor:
        cursor.execute(_TURN, [list(column) for column in columns])
    notes = list(_notes(turns, now))
    CaseNote.objects.bulk_create(notes)
    by_level: dict[tuple[str, int], list[ExceptionCase]] = defaultdict(list)
    for row in notes:
        by_level[row.case.standing, row.case.escalation].append(row.case)
    for (standing, level), told in sorted(by_level.items()):
        grouping.add(told, standing, now=now, level=level)
    return len(notes)


def _turn_of(case: ExceptionCase, now: dt.datetime, calendar: EntityCalendar) -> _Turn:
    if now < case.due_at:
        return _Turn(case, sla.RISKY, case.due_at, WORKERS)
    kind = kinds.kind_of(case.kind)
    steps = [(CONTROLLERSHIP, kind.sla / 2), (PLATFORM, kind.sla)]
    level, turns_at = LEAD, None
    for higher, more in steps:
        at = _after(kind, case.due_at, more, calendar)
        if now < at:
            turns_at = at
            break
        level = higher
    return _Turn(case, sla.BREACHED, turns_at, level)


def _notes(turns: Iterable[_Turn], now: dt.datetime) -> Iterable[CaseNote]:
    for turn in turns:
        case = turn.case
        before = escalated_to(case)
        is_new = turn.standing != case.standing
        case.standing, case.turns_at, case.escalation = turn.standing, turn.turns_at, turn.level
        role = escalated_to(case)
        if not is_new and role == before:
            continue  # whoever leads the queue is whom it would go to next
        told = BY_CODE[role].title if role else str(case.assignee) if case.assignee else "its queue"
        text = f"due {case.due_at:%Y-%m-%d %H:%M} UTC; told {told}"
        verb = turn.standing if is_new else "escalated"
        yield CaseNote(case=case, at=now, verb=verb, text=text, data={"level": turn.level, "role": role})


def _after(kind: kinds.Kind, start: dt.datetime, work: dt.timedelta, calendar: EntityCalendar) -> dt.datetime:
    return sla.due_at(start, work, _hours(kind, calendar), fast=calendar.fast, pace=calendar.pace)


def _between(kind: kinds.Kind, start: dt.datetime, end: dt.datetime, calendar: EntityCalendar) -> dt.timedelta:
    return sla.used(start, end, _hours(kind, calendar), fast=calendar.fast, pace=calendar.pace)


def _hours(kind: kinds.Kind, calendar: EntityCalendar) -> Any:
    return None if kind.owner == kind_words.PLATFORM else calendar.work


def _keep(case: ExceptionCase, *, by: Person, is_stop: bool, waits_for: str, why: str) -> None:
    CasePause.objects.create(
        case=case, at=timezone.now(), by=by, is_stop=is_stop, waits_for=waits_for, why=why, due_at=case.due_at,
        turns_at=case.turns_at if is_stop else None,
    )  # fmt: skip


def _lock(case: ExceptionCase) -> ExceptionCase:
    return ExceptionCase.objects.select_for_update().get(pk=case.pk)
