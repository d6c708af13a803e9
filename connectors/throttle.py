"""Calls per second over all processes, through Redis in blocks; and the pause that a vendor asked for.

The second slides: whichever one a vendor looks at has no more calls than the rate, by Redis's own clock, so hosts
needn't agree on theirs. When Redis is away nothing stops: each process then keeps to a share of the rate
(`SHARE_ALONE`), so that a few processes together stay below it, and asks Redis again after some seconds.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import redis

from connectors.resumes import Since
from connectors.slots import broker
from q2c.core.problems import NeverSent

SHARE_ALONE = 0.25
REDIS_AGAIN_SECONDS = 5.0
WAIT_IN_LINE_SECONDS = 2.0
_BLOCKS_PER_SECOND = 8  # one round trip to Redis buys an eighth of a second's calls at most
_BLOCK_SECONDS = 0.05  # in which they go out, or are lost: who calls more seldom buys one by one

# KEYS: the blocks that were bought ("calls:whose"), by when. ARGV: calls a second, of the block, its name, for how many
# microseconds it counts. Gives 0, or the microseconds until the oldest counts no more.
_BUY = """
local now = redis.call('TIME'); now = now[1] * 1000000 + now[2]
local counts = tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - counts)
local sold = 0
for _, block in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do sold = sold + tonumber(string.match(block, '^%d+')) end
if sold + tonumber(ARGV[2]) > tonumber(ARGV[1]) then
  return math.max(1, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] + counts - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[2] .. ':' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(counts / 1000) + 1000)
return 0
"""


class Throttle:
    """One connection's rate and pause in this process."""

    def __init__(
        self, connection: str, per_second: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.connection = connection
        self.per_second = per_second
        self.clock = clock
        self.paused_until = 0.0
        self._resumed = Since(connection, clock)
        self._left = 0
        self._left_until = 0.0
        self._none_until = 0.0
        self._alone_until = 0.0
        self._bought = 0
        self._block = 1

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
            await asyncio.sleep(max(0.005, self._none_until - self.clock()))

    def _take(self, now: float) -> bool:
        if now >= self._left_until:
            self._left = 0
        if self._left <= 0 and now >= self._none_until:
            self._left = self._buy(now)
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def _buy(self, now: float) -> int:
        rate = max(1, int(self.per_second or 1))
        if now < self._alone_until:
            return self._share_alone(now, rate)
        # Twice as many where the last were gone before their time.
        block = min(2 * self._block, max(1, rate // _BLOCKS_PER_SECOND)) if now < self._left_until else 1
        self._bought += 1
        name, counts = f"{_ME}:{id(self)}:{self._bought}", int((1 + _BLOCK_SECONDS) * 1_000_000)
        try:
            wait: Any = broker().eval(_BUY, 1, f"q2c:rate:{self.connection}", rate, block, name, counts)
        except (redis.RedisError, OSError):
            self._alone_until = now + REDIS_AGAIN_SECONDS
            return self._share_alone(now, rate)
        if wait:
            self._none_until = now + int(wait) / 1_000_000
            return 0
        self._block, self._left_until = block, now + _BLOCK_SECONDS
        return block

    def _share_alone(self, now: float, rate: int) -> int:
        self._left_until = self._none_until = now + 1
        return max(1, int(rate * SHARE_ALONE))


_ME = uuid.uuid4().hex


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
