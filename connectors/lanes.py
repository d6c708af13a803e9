"""Priority lanes of calls: what a close waits for, everyday work, back-fill. The first goes first; none waits for ever.

A call that has waited `AGES_SECONDS` counts as one lane higher, over processes too, so the last lane gets its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

CRITICAL, NORMAL, BACKFILL = 0, 1, 2
LANES = (CRITICAL, NORMAL, BACKFILL)
AGES_SECONDS = 5.0
_CRITICAL_UP_TO, _NORMAL_UP_TO = 3, 6  # of a work item's priority
RAISED_BY = 10
T = TypeVar("T")


def lane_of(priority: int) -> int:
    """The lane of work of this priority: up to 3 (reposted, of a period that closes) first, from 7 on last. Old work
    that was raised by ten keeps the lane that it had."""
    priority += RAISED_BY if priority <= 0 else 0
    if priority <= _CRITICAL_UP_TO:
        return CRITICAL
    return NORMAL if priority <= _NORMAL_UP_TO else BACKFILL


class Line(Generic[T]):
    """Who waits, by lane and age."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lanes: tuple[deque[tuple[float, T]], ...] = tuple(deque() for _ in LANES)

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)

    def join(self, who: T, lane: int) -> None:
        """Stand at the end of a lane."""
        self._lanes[lane].append((self._clock(), who))

    def best(self) -> int:
        """The highest lane that somebody waits in, ages counted. Raises IndexError when nobody waits."""
        return self._first()[0]

    def take(self) -> T:
        """Whose turn it is: of the highest lane, of equals the one that has waited longest. Raises IndexError."""
        return self._lanes[self._first()[2]].popleft()[1]

    def _first(self) -> tuple[int, float, int]:
        now = self._clock()
        heads = [
            (max(0, number - int((now - lane[0][0]) / AGES_SECONDS)), lane[0][0], number)
            for number, lane in enumerate(self._lanes)
            if lane
        ]
        if not heads:
            raise IndexError("nobody waits")
        return min(heads)
