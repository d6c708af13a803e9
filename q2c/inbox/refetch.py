"""The vendor's present state instead of a snapshot that may be stale."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from connectors.calls import Outgoing, outgoing
from connectors.fields import UNREADABLE, noting
from connectors.lanes import BACKFILL, NORMAL
from connectors.manifest import Means
from connectors.slots import drop_slots
from q2c.core.ending import await_unless_ending
from q2c.core.problems import Category, Problem
from q2c.inbox.items import Item, Tools
from q2c.inbox.unreadable import unreadable

REFETCH = "refetch"  # the step of such exchanges; their correlation id is the message that asked
REFETCH_SECONDS = 12  # inside the lease of a claim


def fetch_present(items: list[Item], tools: Tools) -> dict[int, Any]:
    """What the vendor says now of the objects whose events ask for it, by key id; an exception where it couldn't.

    All questions are awaited side by side, each object is asked for once.
    """
    asked: dict[tuple[int, str, str], list[int]] = {}
    for item in items:
        if item.is_erased:
            continue  # nothing of them is asked for again
        meaning = tools.manifest(item.source.vendor).events.get(item.claimed.event_type)
        if isinstance(meaning, Means) and meaning.refetch and _is_stale(item, meaning):
            asked.setdefault((item.source.id, meaning.refetch, item.claimed.source_id), []).append(item.claimed.key_id)
    if not asked:
        return {}
    sources = {item.source.id: item.source for item in items}
    clients = {source_id: tools.client(sources[source_id]) for source_id in {each[0] for each in asked}}
    first = {item.claimed.key_id: item.claimed.event_id for item in items}
    lanes = {item.claimed.key_id: BACKFILL if item.claimed.is_backfill else NORMAL for item in items}
    questions = [
        (clients[s], verb, object_id, first[keys[0]], min(lanes[key] for key in keys))
        for (s, verb, object_id), keys in asked.items()
    ]
    answers = run_waiting(_ask_all(questions))
    return {key: answer for keys, answer in zip(asked.values(), answers, strict=True) for key in keys}


def _is_stale(item: Item, meaning: Means) -> bool:
    if meaning.refetch_when is None:
        return True
    try:
        return meaning.refetch_when(item.open_body())
    except Exception:
        return False  # translating it says what is wrong with it


async def _ask_all(questions: list[tuple[Any, str, str, UUID, int]]) -> list[Any]:
    async def ask(client: Any, verb: str, object_id: str, event_id: UUID, lane: int) -> Any:
        outgoing.set(Outgoing(step=REFETCH, correlation_id=str(event_id), lane=lane))  # of this task alone
        try:
            return await asyncio.wait_for(_read(getattr(client, verb), object_id), REFETCH_SECONDS)
        except TimeoutError:
            return Problem("system_unavailable", Category.AVAILABILITY, f"No answer in {REFETCH_SECONDS} s")
        except Exception as error:
            return error

    return await asyncio.gather(*(ask(*question) for question in questions))


async def _read(verb: Callable[[str], Awaitable[Any]], object_id: str) -> Any:
    """The vendor's answer. One that can't be read is asked for once more, to learn which field it is."""
    try:
        return await verb(object_id)
    except UNREADABLE as error:
        with noting() as noted:
            try:
                return await verb(object_id)
            except UNREADABLE:
                raise unreadable(error, noted) from error


_loops = threading.local()


def run_waiting(waiting: Any) -> Any:
    """Run a coroutine on this thread's own loop, which stays, so that kept-alive connections stay too. Raises Problem
    `system_unavailable` when the process is ended meanwhile."""
    loop = getattr(_loops, "loop", None)
    if loop is None or loop.is_closed():
        loop = _loops.loop = asyncio.new_event_loop()
    return loop.run_until_complete(_and_give_back(waiting))


async def _and_give_back(waiting: Any) -> Any:
    """No slot stays with a loop that stands still until the next question."""
    try:
        return await await_unless_ending(waiting)
    finally:
        drop_slots()
