"""Feeds that nobody compares with their source's register: it can't be asked, its connection is paused, or no check
runs. Whether all of it is here isn't known: the screen says so after three cycles, and a case after an hour.

A check that fails keeps why and since when, but who doesn't run keeps nothing: what counts is how old the last
comparison is.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from connectors.models import Connection
from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core.problems import Category, Problem
from q2c.reconciliation.completeness import open_day, registers_of
from q2c.reconciliation.models import FeedCheck
from q2c.reconciliation.words import many

STALE = dt.timedelta(minutes=15)  # three cycles of the schedule
TOLD_AFTER = dt.timedelta(hours=1)
KIND, SYSTEM_AWAY = "feed_unchecked", "system_away"
NOBODY_ASKED = "Nobody has asked its register since: look at Schedules, and whether the worker of reconciliation lives"
NOT_ENDED = "Its first comparison is under way; if it stays so, see whether the worker of reconciliation lives"
Place = tuple[str, str]  # a connection, and what its documents are called


class Uncompared(NamedTuple):
    """Since when a feed isn't compared (None: it never was), from which day on nothing is known of it (None: of none is
    anything known), and why."""

    since: dt.datetime | None
    first_day: dt.date | None
    why: str

    def concerns(self, day: dt.date) -> bool:
        """Whether this isn't known of the day, or not up to its end."""
        return self.first_day is None or day >= self.first_day


def uncompared(row: Connection, document_type: str, check: FeedCheck | None, now: dt.datetime) -> Uncompared | None:
    """What a screen says of a feed whose last comparison is too old; None where it's recent, and where its source keeps
    no register."""
    if document_type not in registers_of(row.vendor):
        return None
    last = check.checked_at if check is not None else None
    is_paused = row.state == Connection.State.PAUSED
    if not is_paused and last is not None and now - last <= STALE:
        return None
    known = last or (check.counts_from if check is not None else None)
    failure = check.failure if check is not None else ""
    why = f"{row.name} is paused" if is_paused else failure or (NOT_ENDED if last is None else NOBODY_ASKED)
    return Uncompared(last, open_day(known) if known is not None else None, why)


def tell_uncompared(now: dt.datetime | None = None) -> tuple[int, int]:
    """Open a case for each feed that hasn't been compared for an hour, and say in it for how long as long as it's open;
    close those of feeds that are compared again, and of paused connections, which say so themselves. A system that is
    away is one case already. Both counts."""
    now = now or timezone.now()
    rows = {row.code: row for row in Connection.objects.order_by("code")}
    due: dict[Place, tuple[Problem, dt.datetime]] = {}
    for check in FeedCheck.objects.defer("answers").order_by("connection_code", "document_type"):
        row, since = rows.get(check.connection_code), check.checked_at or check.failed_at
        if row is not None and since is not None and now - since >= TOLD_AFTER and _is_asked(row, check.document_type):
            due[row.code, many(check.document_type)] = _problem(row, check, now - since), since
    known = {(case.subject["connection"], case.subject["document_type"]): case for case in _open(KIND)}
    away = {case.connection_code for case in _open(SYSTEM_AWAY)}
    opened = closed = 0
    for place in known.keys() - due.keys():
        over = Problem(KIND, Category.DRIFT, "over", **known[place].subject)
        why = _why_over(rows.get(place[0]))
        closed += cases.close_matching(over, how="healed", why=why, connection_code=place[0]) is not None
    for place, (problem, since) in due.items():
        if place in known:
            cases.tell_anew(problem, connection_code=place[0])
        elif place[0] not in away and not cases.is_waived_since(problem, since, connection_code=place[0]):
            cases.open_case(problem, connection_code=place[0])
            opened += 1
    return opened, closed


def _is_asked(row: Connection, document_type: str) -> bool:
    return row.state != Connection.State.PAUSED and document_type in registers_of(row.vendor)


def _why_over(row: Connection | None) -> str:
    is_paused = row is not None and row.state == Connection.State.PAUSED
    return "It’s paused, which says so itself." if is_paused else "It’s compared with its source’s register again."


def _problem(row: Connection, check: FeedCheck, lasts: dt.timedelta) -> Problem:
    hours = lasts // dt.timedelta(hours=1)
    says = f"{row.name}'s {many(check.document_type)} haven't been compared with its register for {hours:,} hour"
    return Problem(
        KIND, Category.DRIFT, f"{says}{'s' if hours > 1 else ''}: {check.failure or NOBODY_ASKED}",
        connection=row.code, document_type=many(check.document_type),
    )  # fmt: skip


def _open(kind: str) -> QuerySet[ExceptionCase]:
    return ExceptionCase.objects.filter(kind=kind, state__in=ExceptionCase.OPEN_STATES)
