"""Whether calls to a connection stopped: each process stores what its own breakers found out, and every turn is kept.

Many processes call a connection, each with breakers of its own, and one row says how it is. So a process changes of the
row only what turned in it; one that goes well says so of what another has stopped once that one has had its time to
find out by itself. What nobody has tried for long isn't known any more, and no longer told as stopped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import Error
from django.db.transaction import atomic
from django.utils import timezone

from connectors.breaker import OPEN_SECONDS_MAX, Breaker
from connectors.models import BreakerTurn, Connection, ConnectionHealth

TRIED_WITHIN = dt.timedelta(seconds=OPEN_SECONDS_MAX)  # whoever stopped calls has tried one since, if it lives
UNKNOWN_AFTER = dt.timedelta(minutes=20)  # nobody has tried a call for so long, and a document waits 18 at most
SHOWN = 20
WELL_AGAIN = "Calls go through again"
NOT_TRIED = "Nobody has tried a call for 20 minutes, so it isn’t known any more"


class Outage(NamedTuple):
    """A time in which no call went out, but one at a time that tried: of which object type (empty: the whole system),
    why, until when and how it ended."""

    object_type: str
    since: dt.datetime
    until: dt.datetime | None
    why: str
    how: str

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it lasts, and where its beginning isn't known."""
        return None if self.until is None else (self.until - self.since).total_seconds()


def store(connection_id: int, whole: Breaker, of_types: Iterable[Breaker]) -> None:
    """Store what this process's breakers of a connection saw, and each turn of them."""
    mine = [whole, *of_types]
    turned = [seen for seen in mine if seen.has_turned]
    for seen in turned:
        seen.has_turned = False
    try:
        with atomic():
            _store(connection_id, whole, mine, {seen.object_type for seen in turned})
    except Error:
        for seen in turned:
            seen.has_turned = True
        raise


def _store(connection_id: int, whole: Breaker, mine: list[Breaker], turned: set[str]) -> None:
    now = timezone.now()
    row, _ = ConnectionHealth.objects.select_for_update().get_or_create(connection_id=connection_id)
    stopped = set(row.stopped)
    for seen in mine:
        name = seen.object_type
        was = row.breaker if not name else "open" if name in stopped else "closed"
        state = seen.state if name in turned or _goes_well(seen, was, connection_id) else was
        if (state == "closed") != (was == "closed"):
            why = WELL_AGAIN if state == "closed" else seen.last_failure
            _turn(connection_id, name, state != "closed", why, now)
        if not name:
            row.breaker = state
        elif state == "closed":
            stopped.discard(name)
        else:
            stopped.add(name)
    row.stopped = sorted(stopped)
    # One whose wait is over and that nobody asks is as old as it is, whatever else this process calls.
    waits = [now + wait for seen in mine if seen.state != "closed" and (wait := seen.wait())]
    row.breaker_until = max(waits) if waits else row.breaker_until if is_stopped(row) else None
    row.failures_in_row = whole.failures_in_row
    row.latency_ms = row.latency_ms if whole.latency_ms is None else whole.latency_ms
    row.last_success_at = whole.last_success_at or row.last_success_at
    if whole.last_failure_at:
        row.last_failure_at, row.last_failure = whole.last_failure_at, whole.last_failure
    if whole.quota_limit is not None:
        row.quota_used, row.quota_limit = whole.quota_used, whole.quota_limit
    row.save()


def is_stopped(row: ConnectionHealth) -> bool:
    """Whether calls to it, or about an object type of it, have stopped."""
    return row.breaker != "closed" or bool(row.stopped)


def note_resumed(connection: Connection, why: str) -> None:
    """A person resumed it: whatever was stopped isn't any more."""
    row = ConnectionHealth.objects.select_for_update().filter(connection=connection).first()
    if row is not None:
        _close(row, why[:300], timezone.now())


def settle(now: dt.datetime) -> None:
    """What nobody has tried for long isn't told as stopped any more; what a process of another release stored without
    its turn gets it."""
    latest = latest_turns()
    for row in ConnectionHealth.objects.order_by("connection_id"):
        told = {turn.object_type: turn.at for turn in latest if turn.connection_id == row.pk and turn.is_open}
        tried_at = row.breaker_until or max(told.values(), default=now)
        is_old = tried_at < now - UNKNOWN_AFTER
        if told.keys() == _stopped(row) and not (told and is_old):
            continue
        with atomic():
            locked = ConnectionHealth.objects.select_for_update().get(pk=row.pk)
            if is_stopped(locked) and locked.breaker_until == row.breaker_until and is_old:
                _close(locked, NOT_TRIED, now)
            _tell_missing(locked, now)


# From one object type to the next by the index, and of each the last: what it costs doesn't grow with the table.
_LATEST = """
WITH RECURSIVE named AS (
  SELECT h.connection_id, (SELECT min(t.object_type) FROM connectors_breakerturn t
                            WHERE t.connection_id = h.connection_id) AS object_type
    FROM connectors_connectionhealth h WHERE %(only)s::bigint IS NULL OR h.connection_id = %(only)s
  UNION ALL
  SELECT n.connection_id, (SELECT min(t.object_type) FROM connectors_breakerturn t
                            WHERE t.connection_id = n.connection_id AND t.object_type > n.object_type)
    FROM named n WHERE n.object_type IS NOT NULL)
SELECT last.* FROM named n CROSS JOIN LATERAL (
       SELECT t.* FROM connectors_breakerturn t WHERE t.connection_id = n.connection_id
          AND t.object_type = n.object_type ORDER BY t.id DESC LIMIT 1) last
 WHERE n.object_type IS NOT NULL ORDER BY last.connection_id, last.object_type
"""


def latest_turns(only: int | None = None) -> list[BreakerTurn]:
    """The last turn of each connection's breakers, or of one connection's."""
    return list(BreakerTurn.objects.raw(_LATEST, {"only": only}))


def outages(connection: Connection) -> list[Outage]:
    """The newest times in which no call went out, the newest first."""
    found: list[Outage] = []
    ends: dict[str, BreakerTurn] = {}
    for turn in BreakerTurn.objects.filter(connection=connection).order_by("-id")[: 4 * SHOWN]:
        if not turn.is_open:
            ends[turn.object_type] = turn
            continue
        end = ends.pop(turn.object_type, None)
        found.append(Outage(turn.object_type, turn.at, end.at if end else None, turn.why, end.why if end else ""))
    return found[:SHOWN]


def _goes_well(seen: Breaker, was: str, connection_id: int) -> bool:
    """Whether what another process has stopped is known here to go well, since it has had time to try."""
    if was == "closed" or seen.state != "closed" or seen.last_success_at is None:
        return False
    found = BreakerTurn.objects.filter(connection_id=connection_id, object_type=seen.object_type, is_open=True)
    opened = found.order_by("-id").values_list("at", flat=True).first()
    return opened is None or seen.last_success_at > opened + TRIED_WITHIN


def _stopped(row: ConnectionHealth) -> set[str]:
    return {*row.stopped, *([""] if row.breaker != "closed" else [])}


def _close(row: ConnectionHealth, why: str, now: dt.datetime) -> None:
    for name in sorted(_stopped(row)):
        _turn(row.pk, name, False, why, now)
    row.breaker, row.breaker_until, row.stopped, row.failures_in_row = "closed", None, [], 0
    row.save(update_fields=["breaker", "breaker_until", "stopped", "failures_in_row"])


def _tell_missing(row: ConnectionHealth, now: dt.datetime) -> None:
    told = {turn.object_type for turn in latest_turns(row.pk) if turn.is_open}
    stopped = _stopped(row)
    for name in sorted(told ^ stopped):
        _turn(row.pk, name, name in stopped, row.last_failure if name in stopped else WELL_AGAIN, now)


def _turn(connection_id: Any, object_type: str, is_open: bool, why: str, now: dt.datetime) -> None:
    BreakerTurn.objects.create(
        connection_id=connection_id, object_type=object_type, is_open=is_open, at=now, why=why[:300]
    )
