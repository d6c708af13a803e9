"""Counting what happens, so that no page and no alert ever counts a large table.

Whoever counts appends: `note` within `gathering` becomes one small row of the same commit, whatever it counted. Beat
adds the rows up (`roll_up`) into hours, days and totals, alone, so no row is hot. Durations are counted in fixed
buckets: those of several flows, hours or hosts can be summed, and percentiles read from the sum.
"""

from __future__ import annotations

import bisect
import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core.buckets import BOUNDS
from q2c.core.models import StatDay, StatDelta, StatHour

BATCH = 5_000
BEHIND_AFTER = dt.timedelta(minutes=1)  # then the figures are told to be late
HOURS_KEPT, DAYS_KEPT = dt.timedelta(days=40), dt.timedelta(days=800)
_LOCK = 0x51326306  # whoever adds up takes it first

Histogram = dict[int, int]  # how many by bucket
Key = tuple[str, str, str, str, str, int]
_gathered: ContextVar[dict[Key, list[int]] | None] = ContextVar("gathered", default=None)

_SUMS = (
    "INSERT INTO core_stat{table} AS x ({when}measure, flow, connection_code, legal_entity_code, about, bucket, count,"
    " millis) SELECT {moment}m, f, c, e, a, b, sum(n), sum(s) FROM parts GROUP BY {by}m, f, c, e, a, b"
    " ORDER BY {by}m, f, c, e, a, b"
    " ON CONFLICT ({when}measure, flow, connection_code, legal_entity_code, about, bucket)"
    " DO UPDATE SET count = x.count + excluded.count, millis = x.millis + excluded.millis"
)
# A row is dated by the instant of its own commit; days are the entity's own.
_ROLL_UP = f"""
    WITH taken AS (
        DELETE FROM core_statdelta WHERE id IN (
            SELECT id FROM core_statdelta ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING at, rows),
    parts AS MATERIALIZED (
        SELECT date_trunc('hour', t.at, 'UTC') AS hour, (t.at AT TIME ZONE coalesce(z.time_zone, 'UTC'))::date AS day,
               r.*
          FROM taken t
         CROSS JOIN LATERAL jsonb_to_recordset(t.rows)
            AS r (m text, f text, c text, e text, a text, b int2, n int8, s int8)
          LEFT JOIN core_legalentity z ON z.code = r.e),
    hours AS ({_SUMS.format(table="hour", when="hour, ", moment="hour, ", by="hour, ")}),
    days AS ({_SUMS.format(table="day", when="day, ", moment="day, ", by="day, ")}),
    totals AS ({_SUMS.format(table="total", when="", moment="", by="")})
    SELECT count(*) FROM taken
"""


def note(
    measure: str, *, flow: str = "", connection_code: str = "", entity: str = "", about: str = "", count: int = 1,
    seconds: float | None = None,
) -> None:  # fmt: skip
    """Count something, with how many seconds it took where that is known. Appended at the end of `gathering`, or at
    once outside of it; take part in the transaction of what is counted."""
    bucket = 0 if seconds is None else bucket_of(seconds)
    millis = round(1000 * (seconds or 0.0))
    found = _gathered.get()
    key = (measure, flow[:40], connection_code[:40], entity[:20], about[:40], bucket)
    if found is None:
        _append({key: [count, millis * count]})
        return
    sums = found.setdefault(key, [0, 0])
    sums[0] += count
    sums[1] += millis * count


@contextmanager
def gathering() -> Iterator[None]:
    """What is counted within is appended as one row at its end; nothing of it where it raises. Within another one it's
    that one's."""
    if _gathered.get() is not None:
        yield
        return
    found: dict[Key, list[int]] = {}
    token = _gathered.set(found)
    try:
        yield
    finally:
        _gathered.reset(token)
    if found:
        _append(found)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration: 1 for the shortest."""
    return bisect.bisect_left(BOUNDS, seconds) + 1


def _append(found: Mapping[Key, list[int]]) -> None:
    rows = [dict(zip("mfceabns", (*key, *sums), strict=True)) for key, sums in found.items()]
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO core_statdelta (rows) VALUES (%s::jsonb)", [json.dumps(rows)])


def roll_up() -> int:
    """Add up what was appended; returns how many rows were taken. One process at a time: a second one finds nothing to
    do."""
    taken = 0
    while True:
        with atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return taken
            cursor.execute(_ROLL_UP, [BATCH])
            count = int(cursor.fetchone()[0])
        taken += count
        if count < BATCH:
            return taken


def let_go_of_old() -> int:
    """Drop hours and days that no screen shows any more. Returns how many rows went."""
    now = timezone.now()
    gone, _ = StatHour.objects.filter(hour__lt=now - HOURS_KEPT).delete()
    gone_days, _ = StatDay.objects.filter(day__lt=(now - DAYS_KEPT).date()).delete()
    return gone + gone_days


def counted_until() -> dt.datetime:
    """Up to when everything is added up: now, or since when the oldest row waits for it."""
    oldest = StatDelta.objects.order_by("id").values_list("at", flat=True).first()
    return oldest or timezone.now()


def behind_since() -> dt.datetime | None:
    """Since when what was counted waits to be added up, where that is longer than it should take; None: it doesn't."""
    until = counted_until()
    return until if timezone.now() - until > BEHIND_AFTER else None


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Within how many seconds this share (0.95) was done: interpolated within its bucket, as Prometheus does; None
    where nothing was timed. Of the last bucket, which has no end, its beginning."""
    timed = sorted((bucket, count) for bucket, count in buckets.items() if bucket and count > 0)
    total = sum(count for _, count in timed)
    if not total:
        return None
    wanted, before = share * total, 0.0
    for bucket, count in timed:
        if before + count >= wanted:
            if bucket > len(BOUNDS):
                return float(BOUNDS[-1])
            low = BOUNDS[bucket - 2] if bucket > 1 else 0.0
            return low + (BOUNDS[bucket - 1] - low) * (wanted - before) / count
        before += count
    return float(BOUNDS[-1])


def within(buckets: Mapping[int, int], seconds: float) -> int:
    """How many were done within so many seconds, which is one of `BOUNDS`: exact."""
    last = BOUNDS.index(seconds) + 1
    return sum(count for bucket, count in buckets.items() if 0 < bucket <= last)


def share_words(part: int, total: int) -> str:
    """A share in percent with one decimal: rounded down, so that 100 % means all; "" of nothing."""
    return f"{1000 * part // total / 10:.1f}" if total else ""


def add(buckets: Iterable[Mapping[int, int]]) -> Histogram:
    """Several histograms as one."""
    found: Histogram = {}
    for part in buckets:
        for bucket, count in part.items():
            found[bucket] = found.get(bucket, 0) + count
    return found


@dataclass
class Timed:
    """How long things took, from the histogram of them; each None where nothing was timed. Seconds."""

    buckets: Histogram = field(default_factory=lambda: defaultdict(int))

    @property
    def typical(self) -> float | None:
        """Half of them took no longer."""
        return percentile(self.buckets, 0.5)

    @property
    def within(self) -> float | None:
        """95 % of them took no longer."""
        return percentile(self.buckets, 0.95)

    @property
    def slowest(self) -> float | None:
        """99 % of them took no longer."""
        return percentile(self.buckets, 0.99)
