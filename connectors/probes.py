"""What processes tell each other of a system that fails: until when nobody calls, who tries one call, that it's well.

Asked only while something is wrong, never by a call that goes through. When Redis is away each process is on its own:
it opens after its own failures, and sends one probe of its own.
"""

from __future__ import annotations

import os
import socket
import uuid
from typing import Any

import redis
from django.db import connection as database

from connectors.slots import broker

WELL = "well"
KEPT_SECONDS = 600  # longer than any breaker is open
COUNTED_SECONDS = 3600  # longer than a document waits between two sendings
_PREFIX = "q2c:breaker:"

# KEYS: what is known, who probes, whether writes failed. Gives {what, milliseconds, whether writes failed}: well, wait,
# or probe (granted to one at a time).
_ASK = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('GET', KEYS[1])
if known == 'well' then return {'well', 0, 0} end
local writes = redis.call('EXISTS', KEYS[3])
if known and tonumber(known) > now then return {'wait', tonumber(known) - now, writes} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'probe', 0, writes} end
return {'wait', redis.call('PTTL', KEYS[2]), writes}
"""
# KEYS: what is known, who probes, whether writes failed, how many. ARGV: for how long it's open, for how long that is
# kept, whether writes failed (then it's known until it's well, whatever fails next), for how long their count is kept:
# a process that hasn't failed yet opens with its first failure.
_OPEN = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('SET', KEYS[1], now + ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
redis.call('PEXPIRE', KEYS[4], ARGV[4])
if ARGV[3] == '1' then redis.call('SET', KEYS[3], 1) end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
return 0
"""
_DROP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Probes:
    """One process's view. Every method raises redis.RedisError or OSError when Redis is away."""

    def __init__(self) -> None:
        self.me = f"{socket.gethostname()[:30]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def ask(self, name: str, *, lease_seconds: float) -> tuple[str, float, bool]:
        """Whether it's "well", to "wait" so many seconds, or to "probe": then no other process does, for the lease; and
        whether only a write proves it well."""
        found: Any = broker().eval(_ASK, 3, *_keys(name)[:3], self.me, int(lease_seconds * 1000))
        what, wait, writes = found
        return what.decode(), wait / 1000, bool(writes)

    def open_seconds(self, name: str) -> float:
        """For how long others have stopped calling; 0: they haven't."""
        found: Any = broker().get(_keys(name)[0])
        if found is None or found == WELL.encode():
            return 0.0
        at: Any = broker().time()
        return max(0.0, (int(found) - at[0] * 1000 - at[1] // 1000) / 1000)

    def tell_open(self, name: str, seconds: float, *, asks_a_write: bool = False) -> None:
        """Nobody calls for so long; whoever probed has failed."""
        kept = (KEPT_SECONDS * 1000, int(asks_a_write), COUNTED_SECONDS * 1000)
        broker().eval(_OPEN, 4, *_keys(name), int(seconds * 1000), *kept)

    def tell_well(self, name: str) -> None:
        """A call was answered."""
        known, probe, writes, failed = _keys(name)
        broker().set(known, WELL, px=KEPT_SECONDS * 1000)
        broker().delete(probe, writes, failed)

    def count_failed(self, name: str) -> int:
        """One more write failed in a process that had none answered of late. Returns how many in a row, over all."""
        with broker().pipeline(transaction=True) as pipe:
            pipe.incr(_keys(name)[3])
            pipe.expire(_keys(name)[3], COUNTED_SECONDS)
            count: int = pipe.execute()[0]
        return count

    @staticmethod
    def tell_answered(names: list[str]) -> None:
        """Writes were answered: what had failed before wasn't the system's being away."""
        broker().delete(*(_keys(name)[3] for name in names))

    def drop(self, name: str) -> None:
        """Our probe never left: another process may try at once."""
        broker().eval(_DROP, 1, _keys(name)[1], self.me)


def _own() -> str:
    """Two installations on one Valkey don't hear of each other's systems: each is named by its database."""
    return f"{_PREFIX}{database.settings_dict['NAME']}:"


def _keys(name: str) -> tuple[str, str, str, str]:
    return _own() + name, f"{_own()}{name}:probe", f"{_own()}{name}:writes", f"{_own()}{name}:failed"


def forget(connection: str) -> None:
    """What is known of this connection, and of each object type of it, is over; nothing happens while Redis is away."""
    _forget(f"{_own()}{connection}", f"{_own()}{connection}:probe", f"{_own()}{connection}/*")


def forget_all() -> None:
    """Start afresh, over all processes; nothing happens while Redis is away."""
    _forget(f"{_own()}*")


def _forget(*patterns: str) -> None:
    try:
        for key in [key for pattern in patterns for key in broker().scan_iter(pattern)]:
            broker().delete(key)
    except (redis.RedisError, OSError):
        return
