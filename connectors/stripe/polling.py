"""Finding events that a webhook lost, in `/v1/events`: newest first, kept 30 days, no more than 100 a page.

Most polls ask only for what Stripe itself calls undelivered, which is little also in a storm. Once an hour, and at the
start, everything since the watermark is listed, in windows that halve until one fits a page of ours: an endpoint that
is switched off has no undelivered events, and still nothing is missed. A whole listing moves the watermark also where
it found nothing: an account may be quiet for longer than Stripe remembers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from connectors.families import Page, Polled
from connectors.rows import read_rows
from connectors.stripe.door import polled
from q2c.core.problems import Category, Problem

KEPT_SECONDS = 30 * 86400
OVERLAP_SECONDS = 300
EVENTS_PER_POLL = 2000
FULL_EVERY_SECONDS = 3600
FIRST_SECONDS = 3600  # how far the very first poll looks back, and each whole listing after a quiet one
AHEAD_SECONDS = 86400  # Stripe's clock may be ahead of ours

List = Callable[[list[tuple[str, str]]], AsyncIterator[dict[str, Any]]]


@dataclass(frozen=True)
class Position:
    """Where a stream stands. `created` is the watermark: all before it was read; within a full listing, the instant up
    to which it has come. `newest` is the newest event that any listing has shown, and `is_lost` says that Stripe has
    forgotten some which we never read."""

    created: int
    full_at: int = 0
    is_within: bool = False
    window: int = 0
    asked_at: int = 0
    has_seen: bool = False
    newest: int = 0
    is_lost: bool = False


async def read_events(list_events: List, given: dict[str, Any], *, connection: str) -> Page:
    """The next page of events, oldest first.

    Raises Problem `feed_gap` when everything was read for the last time before what Stripe keeps, or a listing is empty
    in which there were events before: both are for a person, not for silence. What can be read is read before.
    """
    now = int(dt.datetime.now(dt.UTC).timestamp())
    at = msgspec.convert(given, Position) if given else Position(created=now - FIRST_SECONDS)
    if at.has_seen and not at.newest and not at.is_within:
        at = replace(at, newest=at.created)  # as it was before `newest` was kept by itself
    if max(at.created, at.full_at) < now - KEPT_SECONDS:
        at = Position(created=now - KEPT_SECONDS, is_lost=True)
    if at.is_within or not at.full_at or now - at.full_at >= FULL_EVERY_SECONDS:
        return await _full_page(list_events, at, given, now, connection=connection)
    if at.is_lost:
        why = "keeps events for 30 days, and everything was read longer ago for the last time"
        raise _gap(connection, why, replace(at, is_lost=False))
    query = [("created[gte]", str(at.created - OVERLAP_SECONDS)), ("delivery_success", "false")]
    found = await _at_most(list_events(query))
    if len(found) <= EVENTS_PER_POLL:
        events, unread = _oldest_first(found)
        return Page(events, given if unread else _moved(at, asked_at=now), unread=unread)
    return await _full_page(list_events, at, given, now, connection=connection)


async def _full_page(list_events: List, at: Position, given: dict[str, Any], now: int, *, connection: str) -> Page:
    since = at.created if at.is_within else at.created - OVERLAP_SECONDS
    whole = max(now + AHEAD_SECONDS - since, 1)
    window = min(at.window or whole, whole)
    while True:
        query = [("created[gte]", str(since))]
        if window < whole:
            query.append(("created[lt]", str(since + window)))
        if window == 1:  # a second can't be cut: all of it, however much it is
            found = [row async for row in list_events(query)]
            break
        found = await _at_most(list_events(query))
        if len(found) <= EVENTS_PER_POLL:
            break
        window = max(1, min(window, now - since) // 2)
    events, unread = _oldest_first(found)
    if unread:
        return Page(events, given, unread=unread)
    stamps = [int(event.occurred_at.timestamp()) for event in events if event.occurred_at]
    seen = {"newest": max([at.newest, *stamps]), "has_seen": at.has_seen or bool(found)}
    if window < whole:
        following = _moved(at, created=since + window, is_within=True, window=window * 2, **seen)
        return Page(events, following, True)
    if not found and not at.is_within and await _is_emptied(list_events, at, since, now):
        unseen = replace(at, has_seen=False, newest=0)
        raise _gap(connection, "lists no event where it listed some before", unseen)
    read_until = max(at.created, min(seen["newest"], now), now - FIRST_SECONDS)
    following = _moved(at, created=read_until, is_within=False, window=0, full_at=now, **seen)
    return Page(events, following, at.is_lost)  # there's more of what is lost: to say so


async def _is_emptied(list_events: List, at: Position, since: int, now: int) -> bool:
    """Whether an empty listing lacks the newest event that was listed before, though Stripe should still have it."""
    if at.newest < now - KEPT_SECONDS + FIRST_SECONDS:
        return False
    if at.newest < since:  # it may be quiet since: whether that one is there says it
        async for _ in list_events([("created[gte]", str(at.newest))]):
            return False
    return True


async def _at_most(rows: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, or one more than fit: then the rest isn't asked for."""
    found = []
    async for row in rows:
        found.append(row)
        if len(found) > EVENTS_PER_POLL:
            break
    return found


def _oldest_first(found: list[dict[str, Any]]) -> tuple[tuple[Polled, ...], str]:
    return read_rows(reversed(found), lambda raw: polled(msgspec.json.encode(raw)))


def _moved(at: Position, **changes: Any) -> dict[str, Any]:
    return {**vars(at), **changes}


def _gap(connection: str, why: str, go_on_from: Position) -> Problem:
    """Of a gap that a person accepts, `go_on_from` is where the stream goes on."""
    place = {"go_on_from": vars(go_on_from)}
    return Problem(
        "feed_gap", Category.DRIFT, f"{connection} {why}", connection=connection, stream="events", evidence=place
    )
