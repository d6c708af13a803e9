"""Asking a system what changed: pages into the inbox, the cursor moved only after each page is stored.

A crash between the two reads the page again, and the inbox knows what it has. Nothing is ever deleted by a poll, so
half a listing does no harm. A listing that is empty although it had something in the same window before is not
believed. What can't be read is a case, and keeps back no row that can.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.db.transaction import atomic
from django.utils import timezone

from connectors import registry
from connectors.families import Page
from connectors.fields import UNREADABLE, noting
from connectors.models import Connection, SyncCursor
from connectors.recorder import Collector, for_their_owners, write_exchanges
from connectors.rows import say_unreadable
from exceptions import cases
from q2c.core import leases
from q2c.core.ending import is_ending
from q2c.core.problems import NOT_PERMITTED, Category, Problem
from q2c.flows.done import pause_refused
from q2c.inbox.models import InboundEvent
from q2c.inbox.receive import receive
from q2c.inbox.refetch import run_waiting

MOST_PAGES = 100  # a call ends after so many; the next one goes on from the cursor
LEASE_SECONDS = 120.0
FOUND_BEFORE = "_found"  # in the cursor: how many the last complete poll found
log = structlog.get_logger()


@dataclass(frozen=True)
class PollResult:
    """What a poll brought: messages found, and those of them that the inbox didn't know."""

    found: int = 0
    new: int = 0
    failure: str = ""


def poll_connection(code: str, stream: str, *, client: Any = None) -> PollResult:
    """Read one stream of a connection from its cursor on. One poll per stream runs at a time.

    A vendor's failure is noted on the cursor; one that no waiting mends opens a case. Raises Connection.DoesNotExist.
    """
    row = Connection.objects.get(code=code)
    if row.state == Connection.State.PAUSED:
        return PollResult(failure="the connection is paused")
    name, me = f"poll:{code}:{stream}", leases.this_process()
    if not leases.take_lease(name, holder=me, seconds=LEASE_SECONDS):
        return PollResult(failure="another poll of this stream runs")
    collector = Collector()
    cursor, _ = SyncCursor.objects.get_or_create(connection=row, stream=stream)
    failed_at = cursor.failed_at
    try:
        asked = client or registry.client_for(row, collector=collector)
        return _read_pages(row, cursor, asked, name, me, keep=lambda: _keep(collector))
    except Problem as problem:
        return _go_past(row, cursor, problem, failed_at) or _fail(row, cursor, problem)
    finally:
        _keep(collector)
        registry.save_health_sometimes()
        leases.release_lease(name, holder=me)


def _keep(collector: Collector) -> None:
    """Store what was said to the vendor since the last time; its answers take megabytes a page, so none waits here."""
    write_exchanges(for_their_owners(collector.take(), {}))


def _read_pages(
    row: Connection, cursor: SyncCursor, client: Any, lease: str, me: str, *, keep: Callable[[], None]
) -> PollResult:
    found = new = 0
    position = dict(cursor.position)
    before = position.pop(FOUND_BEFORE, 0)
    start = dict(position)
    lacks_webhook = registry.manifest(row.vendor).polls_its_webhooks
    for _ in range(MOST_PAGES):
        page = _ask(row, cursor.stream, client, position)
        new += len(receive(row.pk, page.found, via=InboundEvent.Via.POLL, lacks_webhook=lacks_webhook).new)
        found += len(page.found)
        if page.unread:
            raise _not_understood(row, cursor.stream, page.unread)
        is_stuck = page.has_more and page.position == position
        if is_stuck:
            raise _gap(row, cursor.stream, "says that there is more, but gives the same page again")
        if not page.has_more and not found and before and page.position == start:
            what = f"gave nothing, where the last poll of the same window found {before}"
            raise _gap(row, cursor.stream, what, go_on_from=page.position)
        position = dict(page.position)
        if page.has_more:
            _move(cursor, position, 0, failed_at=cursor.failed_at)
        else:
            _end_round(row, cursor, position, found)
        keep()
        if not page.has_more:
            break
        if is_ending() or not leases.take_lease(lease, holder=me, seconds=LEASE_SECONDS):
            break  # the next poll goes on from here; or another one does since this process was paused for long
    return PollResult(found, new)


def _ask(row: Connection, stream: str, client: Any, position: dict[str, Any]) -> Page:
    """A page. An answer that can't be read is asked for once more, to learn which field it is. Raises Problem."""
    try:
        page: Page = run_waiting(client.changes(stream, dict(position)))
    except UNREADABLE as error:
        with noting() as noted:
            try:
                page = run_waiting(client.changes(stream, dict(position)))
            except UNREADABLE:
                raise _not_understood(row, stream, say_unreadable(error, noted.path)) from error
    return page


def _not_understood(row: Connection, stream: str, why: str) -> Problem:
    """It doesn't heal by itself: nothing behind it is read until the reader is mended, or the record at its source."""
    return Problem(
        "answer_not_understood", Category.VALIDATION, f"A row of {row.name} can't be read ({stream}): {why}"[:500],
        connection=row.code, stream=stream, error=f"poll of {stream}",
    )  # fmt: skip


def _unread(row: Connection, stream: str, why: str) -> Problem:
    says = f"{row.name}’s stream {stream} can’t be read: {why}"
    return Problem("stream_unread", Category.DRIFT, says, connection=row.code, stream=stream)


def _end_round(row: Connection, cursor: SyncCursor, position: dict[str, Any], found: int) -> None:
    """The last page is stored: what failed since the round before is over, its cases with it, however many polls it
    took to come here."""
    with atomic():
        if cursor.failed_at is not None:
            _heal(row, cursor.stream)
        _move(cursor, position, found)


def _heal(row: Connection, stream: str) -> None:
    """The stream was read whole again: it has no gap and no unreadable row any more, and we may read it."""
    whole = "was read whole"
    for was in (_gap(row, stream, whole), _unread(row, stream, whole), _not_understood(row, stream, "")):
        cases.close_matching(was, how="healed", why="The stream was read whole again.", connection_code=row.code)


def _gap(row: Connection, stream: str, what: str, **evidence: Any) -> Problem:
    says = f"{row.name} {what} ({stream})"
    return Problem("feed_gap", Category.DRIFT, says, connection=row.code, stream=stream, evidence=evidence)


def _go_past(row: Connection, cursor: SyncCursor, problem: Problem, failed_at: dt.datetime | None) -> PollResult | None:
    """A gap whose case a person has waived since the poll before failed is passed over: what is missing stays missing,
    and the next poll goes on behind it. Not one behind which there's no place to go on from. By that the stream hasn't
    been read whole, and what the waiver was given for doesn't cover the next gap."""
    place = problem.evidence.get("go_on_from")
    if problem.code != "feed_gap" or place is None or failed_at is None:
        return None
    if not cases.is_waived_since(problem, failed_at, connection_code=row.code):
        return None
    log.info("gap_passed_over", connection=row.code, stream=cursor.stream, position=place)
    _move(cursor, place, 0, failed_at=timezone.now())
    return PollResult()


def _move(cursor: SyncCursor, position: dict[str, Any], found: int, *, failed_at: dt.datetime | None = None) -> None:
    """Go on from here. `failed_at` stays until the stream has been read whole."""
    cursor.position = {**position, FOUND_BEFORE: found}
    cursor.read_at, cursor.failed_at, cursor.failure = timezone.now(), failed_at, ""
    cursor.save(update_fields=["position", "read_at", "failed_at", "failure"])


def _fail(row: Connection, cursor: SyncCursor, problem: Problem) -> PollResult:
    SyncCursor.objects.filter(pk=cursor.pk).update(failed_at=timezone.now(), failure=problem.summary[:300])
    log.warning("poll_failed", connection=row.code, stream=cursor.stream, problem=problem.code, summary=problem.summary)
    if problem.pauses_connection:
        pause_refused(row.code, problem)
    elif problem.code == NOT_PERMITTED:  # this stream's, whatever else the connection may do
        cases.open_case(_unread(row, cursor.stream, problem.summary), connection_code=row.code)
    elif not problem.heals_by_itself:
        problem.subject.setdefault("connection", row.code)
        problem.subject.setdefault("stream", cursor.stream)
        cases.open_case(problem, connection_code=row.code)
    return PollResult(failure=problem.summary)
