"""Calls at once over all processes and threads: slots of an account, leased out of Redis and kept while there is work.

Calls wait in lanes (`lanes`): a free slot is the highest lane's first, over processes too; a process whose calls are of
a lower lane than another's hands its slots on. What has waited rises, so no lane waits for ever.
A vendor that refuses for too many calls at once halves the slots for a while (`lower`), over all processes.

Connections of one account (`Limits.is_by_address`) share its slots: each asks for itself, and gets an equal part while
others want some.

A slot is leased for `LEASE_SECONDS` and renewed by its holder; who has more calls than slots takes several in one round
trip, keeps them from call to call, and hands them on when others want some. So the hot path asks nobody.

When Redis is away what is leased holds to the end of its lease; then each worker process keeps to its share of the
slots among the workers that live (`when_alone`), which may be none: its calls wait. Any other process has one.
A killed process's slots are free when its lease ends.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import math
import os
import socket
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import redis
from django.conf import settings

from connectors import lanes
from q2c.core.brokers import client_of
from q2c.core.problems import NeverSent

LEASE_SECONDS = 3.0
WAIT_SECONDS = 20.0  # for a slot; then the call wasn't sent, and that isn't an attempt
ASK_SECONDS = 0.03  # while calls wait for a slot that others hold
RENEW_SECONDS = 0.25  # while all have one: the lease goes on, and we hear who else wants some
AGAIN_SECONDS = 1.0  # while Redis is away

LOWERED_SECONDS = 30.0
ANSWERS_SECONDS = 0.25  # Redis is away when it takes longer: a call waits for it

# Gives back, renews (also after a wipe, as far as there's room), and grants. KEYS: slots, who wants some ("lane|me"),
# the lowered limit. What is left goes to lower lanes only beyond what higher ones of others want.
_TRIP = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local me, limit, lease, lane = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local given, kept, granted, lost = tonumber(ARGV[5]), tonumber(ARGV[6]), {}, {}
limit = math.min(limit, tonumber(redis.call('GET', KEYS[3]) or limit))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
for at = 0, 2 do redis.call('ZREM', KEYS[2], at .. '|' .. me) end
local above, beside = 0, 0
for _, other in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local of = tonumber(string.sub(other, 1, 1))
  if of < lane then above = above + 1 elseif of == lane then beside = beside + 1 end
end
for i = 7, 6 + given do redis.call('ZREM', KEYS[1], ARGV[i]) end
local has = {}
for _, slot in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local whose = string.match(slot, '^(.*):')
  has[whose] = (has[whose] or 0) + 1
end
local least = limit
for _, other in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if tonumber(string.sub(other, 1, 1)) <= lane then least = math.min(least, has[string.sub(other, 3)] or 0) end
end
for i = 7 + given, 6 + given + kept do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) or redis.call('ZCARD', KEYS[1]) < limit then
    redis.call('ZADD', KEYS[1], now + lease, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
for i = 7 + given + kept, #ARGV do
  if redis.call('ZCARD', KEYS[1]) < limit - above then
    redis.call('ZADD', KEYS[1], now + lease, ARGV[i])
    granted[#granted + 1] = ARGV[i]
  end
end
if #granted < #ARGV - 6 - given - kept then redis.call('ZADD', KEYS[2], now + 1000, lane .. '|' .. me) end
redis.call('PEXPIRE', KEYS[1], 2 * lease)
redis.call('PEXPIRE', KEYS[2], 2 * lease)
return {granted, lost, beside, above, limit, least}
"""

Share = Callable[[int], int]


def _one(at_once: int) -> int:
    return 1


_share_alone: Share = _one


def when_alone(share: Share) -> None:
    """Who says how many of so many slots are this process's while Redis is away."""
    global _share_alone
    _share_alone = share


class Slots:
    """The slots of one account in one event loop."""

    def __init__(self, account: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.account = account
        self.clock = clock
        self.me = f"{socket.gethostname()[:30]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.at_once = 1
        self.held: dict[str, float] = {}  # since when
        self.free: list[str] = []
        self.given: list[str] = []  # to be told to Redis with the next trip
        self.waiting: lanes.Line[asyncio.Future[str]] = lanes.Line(clock)
        self.others = 0  # that want some for calls of our lane, or of a higher one
        self.above = 0  # of them, of a higher one
        self.least = 0  # what the one of them has that has least
        self._lane = lanes.NORMAL  # of what was served last
        self.is_away = False
        self._leased_until = 0.0
        self._away_since = 0.0
        self._number = 0
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def take(self, at_once: int, lane: int = lanes.NORMAL) -> str:
        """A slot, as soon as there is one. Raises NeverSent, which isn't an attempt, after a long wait."""
        self.at_once = at_once
        if self.free and not self.waiting:
            self._lane = lane
            return self.free.pop()
        place: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting.join(place, lane)
        self._wanted.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        try:
            return await asyncio.wait_for(asyncio.shield(place), WAIT_SECONDS)
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.give(place.result())
            place.cancel()
            if isinstance(error, TimeoutError):
                raise NeverSent(
                    "All calls that may go out at once are others’", wait_seconds=1.0, counts=False
                ) from error
            raise

    def give(self, slot: str) -> None:
        """A call is over: its slot is the next one's, or goes back where others want some."""
        if slot not in self.held:
            return  # lost while the call lasted
        has_none = self.least == 0  # one of the others: where slots are fewer than we are, our only one goes round too
        is_owed = self.others and (has_none or self.least + 1 < len(self.held))
        is_old = is_owed and self.clock() - self.held[slot] > RENEW_SECONDS
        if is_old or len(self.held) > self._fair():
            self._let_go(slot)
            self._wanted.set()
            return
        self._hand_over(slot)

    def drop(self) -> None:
        """Give everything back at once: the loop or the process ends."""
        for slot in list(self.held):
            self._let_go(slot)
        self.free.clear()
        if self.given and not self.is_away:
            self._ask_redis(0)
        if self._keeper is not None:
            self._keeper.cancel()

    def _hand_over(self, slot: str) -> None:
        while self.waiting:
            lane = self.waiting.best()
            place = self.waiting.take()
            if not place.done():
                self._lane = lane
                place.set_result(slot)
                return
        self.free.append(slot)

    def _let_go(self, slot: str) -> None:
        self.held.pop(slot, None)
        self.given.append(slot)

    def _fair(self) -> int:
        """How many of the slots may be ours while others want some too: an equal part, rounded up, so that none is left
        over (who got less is handed one on); one, while a higher lane wants some."""
        return 1 if self.above else math.ceil(self.at_once / (self.others + 1))

    async def _keep(self) -> None:
        """Lease, renew and give back, as long as a call waits or a slot is held."""
        idle: set[str] = set()
        while self.held or self.waiting or self.given:
            self._wanted.clear()
            for slot in [s for s in self.free if s in idle or self.others]:
                self.free.remove(slot)
                self._let_go(slot)
            idle = set(self.free)
            hands_on = self.given and self.others  # who wants them is asked before us
            self._trip(0 if hands_on else min(len(self.waiting), max(0, self._fair() - len(self.held))))
            await self._pause()

    async def _pause(self) -> None:
        if self.is_away:
            await asyncio.sleep(AGAIN_SECONDS if self.clock() - self._away_since > LEASE_SECONDS else ASK_SECONDS * 5)
        elif self.waiting and len(self.held) < self.at_once:
            await asyncio.sleep(ASK_SECONDS)
        else:
            try:
                await asyncio.wait_for(self._wanted.wait(), RENEW_SECONDS)
            except TimeoutError:
                return
            if len(self.held) >= self.at_once:
                await asyncio.sleep(ASK_SECONDS)

    def _trip(self, wanted: int) -> None:
        before = self.clock()
        try:
            granted, lost, self.others, self.above, self.least = self._ask_redis(wanted)
        except (redis.RedisError, OSError):
            self._go_alone(before)
            return
        self.is_away, self._leased_until = False, before + LEASE_SECONDS
        for slot in lost:
            self.held.pop(slot, None)
            if slot in self.free:
                self.free.remove(slot)
        for slot in granted:
            self.held[slot] = before
            self._hand_over(slot)

    def _ask_redis(self, wanted: int) -> tuple[list[str], list[str], int, int, int]:
        names = [self._name() for _ in range(wanted)]
        key = f"q2c:slots:{self.account}"
        lane = self.waiting.best() if self.waiting else self._lane
        arguments: list[Any] = [self.me, self.at_once, int(LEASE_SECONDS * 1000), lane, len(self.given), len(self.held)]
        keys = (key, f"{key}:wanted", f"{key}:lowered")
        answer: Any = broker().eval(_TRIP, 3, *keys, *arguments, *self.given, *sorted(self.held), *names)
        self.given.clear()
        granted, lost, beside, above, limit, least = answer
        self.at_once = min(self.at_once, limit)
        return [s.decode() for s in granted], [s.decode() for s in lost], beside + above, above, least

    def _go_alone(self, now: float) -> None:
        """Redis is away: no more than our share, once all leases that it gave have ended."""
        if not self.is_away:
            self.is_away, self._away_since, self.others, self.above = True, now, 0, 0
        if now < max(self._leased_until, self._away_since + LEASE_SECONDS):
            return
        self.given.clear()
        share = min(self.at_once, _share_alone(self.at_once))
        while self.free and len(self.held) > share:
            self.held.pop(self.free.pop())
        while self.waiting and len(self.held) < share:
            slot = self._name()
            self.held[slot] = now
            self._hand_over(slot)

    def _name(self) -> str:
        self._number += 1
        return f"{self.me}:{self._number}"


_brokers: dict[str, redis.Redis] = {}


def broker() -> redis.Redis:
    """This process's client of Redis, which gives up soon."""
    url = settings.REDIS_URL
    if url not in _brokers:
        _brokers[url] = client_of(url, socket_timeout=ANSWERS_SECONDS, socket_connect_timeout=ANSWERS_SECONDS)
    return _brokers[url]


_Held = dict[tuple[str, str], Slots]  # by account and connection: each connection asks for itself, so each has its part
_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def one_slot(account: str, at_once: int, lane: int = lanes.NORMAL, *, of: str = "") -> AsyncIterator[None]:
    """Hold one of the account's slots for a connection (`of`). Raises NeverSent, which isn't an attempt, when none
    comes free for long."""
    of_loop = _slots.setdefault(asyncio.get_running_loop(), {})
    slots = of_loop.get((account, of))
    if slots is None:
        slots = of_loop[account, of] = Slots(account)
    slot = await slots.take(at_once, lane)
    try:
        yield
    finally:
        slots.give(slot)


class Lowered(NamedTuple):
    """What an account takes at once for now, since its first refusal; each further one moves the end on."""

    at_once: int
    since: dt.datetime
    until: dt.datetime


def lower(account: str, at_once: int) -> None:
    """The vendor refused for too many calls at once: half as many for a while, over all processes. While Redis is away
    nothing is lowered, and the vendor's next refusal is the last word."""
    key, lasts = f"q2c:slots:{account}:lowered", int(LOWERED_SECONDS * 1000)
    try:
        with broker().pipeline() as pipe:
            pipe.set(key, max(1, at_once // 2), px=lasts)
            pipe.set(f"{key}:since", time.time(), nx=True, px=lasts)
            pipe.pexpire(f"{key}:since", lasts)
            pipe.execute()
    except (redis.RedisError, OSError):
        return


def lowered_of(account: str) -> Lowered | None:
    """What is in force for an account after a refusal; None where nothing is lowered, and while Redis is away."""
    key, now = f"q2c:slots:{account}:lowered", dt.datetime.now(dt.UTC)
    try:
        with broker().pipeline() as pipe:
            pipe.get(key)
            pipe.pttl(key)
            pipe.get(f"{key}:since")
            limit, left, since = pipe.execute()
    except (redis.RedisError, OSError):
        return None
    if limit is None or left <= 0:
        return None
    began = now if since is None else dt.datetime.fromtimestamp(float(since), dt.UTC)
    return Lowered(int(limit), began, now + dt.timedelta(milliseconds=left))


def forget_lowered() -> None:
    """All accounts have their slots again: for tests; nothing happens while Redis is away."""
    try:
        for key in list(broker().scan_iter("q2c:slots:*:lowered*")):
            broker().delete(key)
    except (redis.RedisError, OSError):
        return


def drop_slots() -> None:
    """Give back what the running loop holds."""
    _drop(_slots.pop(asyncio.get_running_loop(), {}))


def _drop(of_loop: _Held) -> None:
    for slots in of_loop.values():
        try:
            slots.drop()
        except (redis.RedisError, OSError, RuntimeError):
            continue  # their lease ends by itself


@atexit.register
def _drop_all() -> None:
    for of_loop in list(_slots.values()):
        _drop(of_loop)
