"""Slows down before the end of a day's quota: the last of it is kept for what a close waits for.

The vendor's own count (what it tells with its answers, other programs' calls among it) is believed; `per_day` of a
connection is a ceiling below it. Back-fill waits from 80 % on, everyday work from 95 %, everything from 99 %. What was
told is old after some minutes: then one call goes out to hear it anew, so a new day is noticed by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from connectors.lanes import BACKFILL, CRITICAL, NORMAL
from q2c.core.problems import NeverSent

ENDS_AT: Mapping[int, float] = {CRITICAL: 0.99, NORMAL: 0.95, BACKFILL: 0.80}
OLD_SECONDS = 300.0


class Quota:
    """What one connection was last told, in this process: each answer tells it anew, so processes needn't share it."""

    def __init__(self, connection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.connection = connection
        self.clock = clock
        self.used = self.allowed = 0
        self._told_at = 0.0

    def note(self, used: int, allowed: int) -> None:
        """An answer told it."""
        self.used, self.allowed, self._told_at = used, allowed, self.clock()

    def let_through(self, lane: int, *, per_day: int | None = None) -> None:
        """Returns when a call of this lane may use some of what is left. Raises NeverSent, which isn't an attempt."""
        allowed = min(filter(None, (self.allowed, per_day)), default=0) if self.allowed else 0
        if not allowed or self.used < ENDS_AT[lane] * allowed:
            return
        old_in = OLD_SECONDS - (self.clock() - self._told_at)
        if old_in <= 0:
            self._told_at = self.clock()  # this call hears it
            return
        raise NeverSent(
            f"{self.used:,} of the day's {allowed:,} calls to {self.connection} are used; the rest is kept for what is "
            "more urgent",
            wait_seconds=min(old_in, 60.0),
            counts=False,
            connection=self.connection,
        )


_quotas: dict[str, Quota] = {}


def quota_of(connection: str) -> Quota:
    """The process's view of a connection's quota."""
    return _quotas.setdefault(connection, Quota(connection))


def forget_quotas() -> None:
    """Start afresh: for tests."""
    _quotas.clear()
