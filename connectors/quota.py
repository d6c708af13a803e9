"""Slows down before the end of a day's quota: the last of it is kept for what a close waits for.

The vendor's own count (what it tells with its answers, other programs' calls among it) is believed; `per_day` of a
connection is a ceiling below it. Back-fill waits from 80 % on, everyday work from 95 %, everything from 99 %. What was
told is old after some minutes: then one call goes out to hear it anew, so a new day is noticed by itself.

Of a vendor that doesn't tell, an account's calls are counted in Redis, over all processes, for its ceiling alone: by
the UTC day, in blocks, so a process that ends may have counted some that it didn't make, never too few. After a wipe
the count goes on from what the processes know; while Redis is away each goes on from what it last heard, by its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import redis

from connectors.lanes import BACKFILL, CRITICAL, NORMAL
from connectors.slots import broker
from q2c.core.problems import NeverSent

ENDS_AT: Mapping[int, float] = {CRITICAL: 0.99, NORMAL: 0.95, BACKFILL: 0.80}
OLD_SECONDS = 300.0
COUNT_OLD_SECONDS = 5.0  # what other processes counted meanwhile is asked for
DAY_SECONDS = 86_400
_BLOCKS_PER_DAY, _BLOCK_MOST = 2_000, 100  # a round trip to Redis counts so many calls ahead
_KEPT_SECONDS = 2 * DAY_SECONDS

# KEYS: the count of a day. ARGV: what we know of it, how many we add, for how long it's kept. Gives the count.
_COUNT = """
local count = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])) + tonumber(ARGV[2])
redis.call('SET', KEYS[1], count, 'EX', ARGV[3])
return count
"""


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
        raise _used_up(self.connection, self.used, allowed, old_in)

    def take(self, *, per_day: int | None = None) -> tuple[int, int] | None:
        """A call goes out: the vendor counts it, and tells."""
        return None


class Count:
    """The calls of one account on this UTC day, of which this process has some ahead."""

    def __init__(self, account: str, connection: str, clock: Callable[[], float] = time.time) -> None:
        self.account = account
        self.connection = connection
        self.clock = clock
        self._day = -1
        self._heard = 0  # of all processes, with what we have ahead
        self._ahead = 0
        self._untold = 0  # calls that we made while Redis was away
        self._asked_at = 0.0

    def let_through(self, lane: int, *, per_day: int | None = None) -> None:
        """As Quota's, for the connection's own ceiling; without one nothing is counted."""
        if per_day is None:
            return
        now = self.clock()
        if self._is_new_day(now) or not self._has_just_asked(now):
            self._ask(now, 0)
        if self.used >= ENDS_AT[lane] * per_day:
            raise _used_up(self.connection, self.used, per_day, DAY_SECONDS - now % DAY_SECONDS)

    def take(self, *, per_day: int | None = None) -> tuple[int, int] | None:
        """A call goes out. Gives how many have, and how many may."""
        if per_day is None:
            return None
        now = self.clock()
        self._is_new_day(now)
        if not self._ahead:
            self._ask(now, min(max(1, per_day // _BLOCKS_PER_DAY), _BLOCK_MOST))
        if self._ahead:
            self._ahead -= 1
        else:
            self._untold += 1
        return self.used, per_day

    @property
    def used(self) -> int:
        """How many calls went out today, as far as this process knows."""
        return self._heard - self._ahead + self._untold

    def _is_new_day(self, now: float) -> bool:
        day, was = int(now // DAY_SECONDS), self._day
        if day != was:
            self._day, self._heard, self._ahead, self._untold = day, 0, 0, 0
        return day != was

    def _has_just_asked(self, now: float) -> bool:
        return 0 <= now - self._asked_at < COUNT_OLD_SECONDS  # the wall's clock may be set back

    def _ask(self, now: float, block: int) -> None:
        """Hear what all processes counted, and count so many ahead; as little as every few seconds while Redis is
        away."""
        if self._untold and self._has_just_asked(now):
            return
        self._asked_at = now
        key = f"q2c:calls:{self.account}:{self._day}"
        try:
            count: Any = broker().eval(_COUNT, 1, key, self._heard, self._untold + block, _KEPT_SECONDS)
        except (redis.RedisError, OSError):
            return
        self._heard, self._untold, self._ahead = int(count), 0, self._ahead + block


def _used_up(connection: str, used: int, allowed: int, wait_seconds: float) -> NeverSent:
    return NeverSent(
        f"{used:,} of the day's {allowed:,} calls to {connection} are used; the rest is kept for what is more urgent",
        wait_seconds=min(wait_seconds, 60.0),
        counts=False,
        connection=connection,
    )


_quotas: dict[str, Quota] = {}
_counts: dict[tuple[str, str], Count] = {}


def quota_of(connection: str) -> Quota:
    """The process's view of a connection's quota."""
    return _quotas.setdefault(connection, Quota(connection))


def count_of(account: str, connection: str) -> Count:
    """The process's view of the calls that are counted of an account, for one of its connections."""
    return _counts.setdefault((account, connection), Count(account, connection))


def forget_quotas() -> None:
    """Start afresh: for tests."""
    _quotas.clear()
    _counts.clear()
