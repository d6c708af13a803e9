"""Walking through a vendor's pages without going round in circles or stopping early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from q2c.core.problems import Category, Problem

PAGES_MAX = 10_000


async def walk_pages(
    fetch: Callable[[Any], Awaitable[tuple[list[Any], Any]]], *, connection: str, first: Any = None
) -> AsyncIterator[Any]:
    """Every row of a list. `fetch(cursor)` gives (rows, next cursor or None); an empty page in between goes on.

    Raises Problem `answer_not_understood` when a cursor comes back twice or the list never ends: never a truncation.
    """
    cursor, seen = first, set()
    for _ in range(PAGES_MAX):
        rows, following = await fetch(cursor)
        for row in rows:
            yield row
        if following is None:
            return
        if following in seen:
            raise _broken(connection, f"the cursor {str(following)[:60]} came back")
        seen.add(following)
        cursor = following
    raise _broken(connection, f"more than {PAGES_MAX:,} pages", Category.VALIDATION)  # it won't grow shorter by itself


def _broken(connection: str, why: str, category: Category = Category.AVAILABILITY) -> Problem:
    return Problem(
        "answer_not_understood",
        category,
        f"A list of {connection} can't be walked: {why}",
        connection=connection,
    )
