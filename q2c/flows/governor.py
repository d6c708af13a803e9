"""Slots per connection, leased to workers in shares: together they keep within what the target takes at once.

A worker that is about to send announces itself in Redis for two seconds; the slots are divided among those announced.
When
Redis is away the share is reckoned from the living workers in PostgreSQL, so the target is never asked for more.
"""

from __future__ import annotations

import functools
import time

import redis
from django.conf import settings

from q2c.transactions.models import Worker
from q2c.transactions.workers import LAPSES_SECONDS, this_worker

ANNOUNCED_SECONDS = 2.0


@functools.cache
def broker() -> redis.Redis:
    """The broker's client; short time-outs, since nothing may wait for it."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def slots(connection_code: str, at_once: int) -> int:
    """This worker's share of a connection's slots, at least one."""
    me = this_worker().id
    try:
        key, now = f"q2c:slots:{connection_code}", time.time()
        pipe = broker().pipeline()
        pipe.zadd(key, {me: now + ANNOUNCED_SECONDS})
        pipe.zremrangebyscore(key, 0, now)
        pipe.zrange(key, 0, -1)
        pipe.expire(key, 10)
        sharers = sorted(name.decode() for name in pipe.execute()[2])
    except redis.RedisError:
        sharers = _living()
    if me not in sharers:
        sharers = sorted([*sharers, me])
    share, rest = divmod(at_once, len(sharers))
    return max(1, share + (sharers.index(me) < rest))


def _living() -> list[str]:
    rows = Worker.objects.extra(where=["beat_at > now() - %s * interval '1 second'"], params=[LAPSES_SECONDS])
    return sorted(rows.values_list("id", flat=True))
