"""Calls per second over all processes, through Redis in blocks; and the pause that a vendor asked for.

When Redis is away nothing stops: each process then keeps to a share of the rate (`SHARE_ALONE`), so that a few
processes
together stay below it, and asks Redis again after some seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import limits
import redis
from django.conf import settings
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from connectors.resumes import Since
from q2c.core.brokers import pool_of
from q2c.core.problems import NeverSent

SHARE_ALONE = 0.25
REDIS_AGAIN_SECONDS = 5.0
WAIT_IN_LINE_SECONDS = 2.0
_BLOCKS_PER_SECOND = 8  # one round trip to Redis buys an eighth of a second's calls


class Throttle:
    """One connection's rate and pause in this process."""

    def __init__(self, connection: str, per_second: float | None, *, clock: Callable[[], float] = time.time) -> None:
        self.connection = connection
        self.per_second = per_second
        self.clock = clock
        self.paused_until = 0.0
        self._resumed = Since(connection, clock)
        self._left = 0
        self._left_until = 0.0
        self._alone_until = 0.0

    def pause(self, seconds: float) -> None:
        """The vendor asked us to stay away for so long; only this connection waits, until a person resumes it."""
        self._resumed.begin()
        self.paused_until = max(self.paused_until, self.clock() + seconds)

    async def wait_turn(self) -> None:
        """Returns when a call may go out. Raises NeverSent (not an attempt) when the pause is too long to wait here."""
        paused = self.paused_until - self.clock()
        if paused > 0 and self._resumed.is_over():
            self.paused_until = paused = 0.0
        if paused > 0:
            if paused > WAIT_IN_LINE_SECONDS:
                raise NeverSent(
                    f"{self.connection} asked us to wait",
                    wait_seconds=paused,
                    counts=False,
                    connection=self.connection,
                )
            await asyncio.sleep(paused)
        if self.per_second is None:
            return
        while not self._take(self.clock()):
            now = self.clock()
            await asyncio.sleep(max(0.005, int(now) + 1 - now))

    def _take(self, now: float) -> bool:
        if self._left <= 0 or now >= self._left_until:
            self._left = self._buy(now)
            self._left_until = int(now) + 1
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def _buy(self, now: float) -> int:
        rate = max(1, int(self.per_second or 1))
        if now < self._alone_until:
            return self._share_alone(now, rate)
        block = max(1, rate // _BLOCKS_PER_SECOND)
        try:
            limiter, item = _limiter(), limits.RateLimitItemPerSecond(rate)
            return block if limiter.hit(item, "q2c-throttle", self.connection, cost=block) else 0
        except (redis.RedisError, OSError):
            self._alone_until = now + REDIS_AGAIN_SECONDS
            return self._share_alone(now, rate)

    def _share_alone(self, now: float, rate: int) -> int:
        if now < self._left_until:
            return 0  # this second's share is spent
        return max(1, int(rate * SHARE_ALONE))


_limiters: dict[str, FixedWindowRateLimiter] = {}


def _limiter() -> FixedWindowRateLimiter:
    url = settings.REDIS_URL
    limiter = _limiters.get(url)
    if limiter is None:
        pool = pool_of(url, socket_timeout=0.25, socket_connect_timeout=0.25)
        storage = RedisStorage("redis://", connection_pool=pool)
        limiter = _limiters[url] = FixedWindowRateLimiter(storage)
    return limiter


_throttles: dict[str, Throttle] = {}


def throttle_of(connection: str, per_second: float | None) -> Throttle:
    """The process's throttle of a connection."""
    throttle = _throttles.get(connection)
    if throttle is None:
        throttle = _throttles[connection] = Throttle(connection, per_second)
    throttle.per_second = per_second
    return throttle


def forget_throttles() -> None:
    """Start afresh: for tests."""
    _throttles.clear()
