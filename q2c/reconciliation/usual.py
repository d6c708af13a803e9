"""How much a feed usually brings at that hour and weekday, and whether it brings too little; and whether webhooks come:
no error, and still amiss.

Usual is the median of the same hours of the weeks before. Everything is read from hours that are rolled up from
appended counts; days and hours are UTC's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone

from connectors.models import Connection
from exceptions import cases
from exceptions.models import ExceptionCase
from exceptions.occurrences import StepProblem
from exceptions.opening import fingerprint_of
from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7_bound
from q2c.core.problems import Category, Problem
from q2c.core.usual import usual_of
from q2c.reconciliation.models import LostWebhook
from q2c.reconciliation.words import many

WEEKS = 8
LATE = dt.timedelta(minutes=10)  # after an hour's end, until its counts are rolled up
KEPT_DAYS = 120
LOST_SPAN = dt.timedelta(hours=1)  # of which webhooks are counted, up to `LATE` ago: a poll may be faster than one
LOST_LEAST = 5

_ROLL_UP = """
WITH gone AS (DELETE FROM records_documentarrival RETURNING connection_code, document_type, hour, count)
INSERT INTO reconciliation_feedhour AS h (connection_code, document_type, hour, count)
SELECT connection_code, document_type, hour, sum(count) FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (connection_code, document_type, hour) DO UPDATE SET count = h.count + excluded.count
"""
# Of each day the sum, and the sum up to an hour of it: today is compared with as much of the days before.
_DAYS = """
SELECT connection_code, document_type, (hour AT TIME ZONE 'UTC')::date, sum(count),
    coalesce(sum(count) FILTER (WHERE extract(hour FROM hour AT TIME ZONE 'UTC') < %s), 0)
  FROM reconciliation_feedhour WHERE hour >= %s GROUP BY 1, 2, 3
"""
_HOURS = "SELECT connection_code, document_type, hour, count FROM reconciliation_feedhour WHERE hour = ANY(%s)"
_FIRST = "SELECT connection_code, document_type, min(hour) FROM reconciliation_feedhour GROUP BY 1, 2"
_LOST_WEBHOOKS = """
INSERT INTO reconciliation_lostwebhook (connection_code, event_type, day, count)
SELECT c.code, e.event_type, (k.received_at AT TIME ZONE 'UTC')::date, count(*)
  FROM inbox_inboundkey k JOIN connectors_connection c ON c.id = k.connection_id
  JOIN inbox_inboundevent e ON e.id = k.event_id
 WHERE k.is_polled_only AND k.received_at >= %s GROUP BY 1, 2, 3
"""
# Of each active connection: what only polls brought in a span, and what webhooks brought. Messages are found by the
# time in their ids.
_CAME = """
SELECT c.code, c.name,
    (SELECT count(*) FROM inbox_inboundkey k
      WHERE k.connection_id = c.id AND k.is_polled_only AND k.received_at >= %(since)s AND k.received_at < %(until)s),
    (SELECT count(*) FROM inbox_inboundevent e
      WHERE e.connection_id = c.id AND e.via = 'webhook' AND e.id >= %(first)s AND e.id < %(last)s)
  FROM connectors_connection c WHERE c.state = 'active' ORDER BY c.code
"""
Feed = tuple[str, str]


@dataclass(frozen=True)
class Judged:
    """What a feed brought, and what is usual; None while nothing is."""

    count: int
    usual: float | None

    @property
    def is_few(self) -> bool:
        """Fewer than chance explains: more than three standard deviations of a count below the usual one."""
        return self.usual is not None and self.usual >= 9 and self.count <= self.usual - 3 * math.sqrt(self.usual)


def roll_up_arrivals() -> None:
    """Add what came since to the hours; hours that nobody compares with any more go."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP)
        cursor.execute(
            "DELETE FROM reconciliation_feedhour WHERE hour < %s", [timezone.now() - dt.timedelta(days=KEPT_DAYS)]
        )


def count_lost_webhooks(*, days: int = 4) -> None:
    """Count anew, for the last days, which messages came by poll only; vendors try a webhook again for three days."""
    since = timezone.now().date() - dt.timedelta(days=days)
    with atomic(), connection.cursor() as cursor:
        LostWebhook.objects.filter(day__gte=since).delete()
        cursor.execute(_LOST_WEBHOOKS, [dt.datetime.combine(since, dt.time(), dt.UTC)])


def tell_lost_webhooks(now: dt.datetime | None = None) -> list[str]:
    """Open a case for each connection of whose messages half or more lacked their webhook in the last hour; close those
    of connections of which more come by webhook again. Where nothing comes, nothing is known, and its case stays.
    Returns the connections that lose theirs."""
    now = now or timezone.now()
    until = now - LATE
    since = until - LOST_SPAN
    bounds = {"first": uuid7_bound(int(since.timestamp() * 1000)), "last": uuid7_bound(int(until.timestamp() * 1000))}
    losing = []
    for code, name, lost, came in fetch_rows(_CAME, {"since": since, "until": until, **bounds}):
        says = (
            f"{name} should have sent us {lost + came:,} messages by webhook in an hour; {lost:,} came by polling only"
        )
        problem = Problem("webhooks_lost", Category.AVAILABILITY, says, connection=code)
        if lost + came >= LOST_LEAST and lost >= came:
            losing.append(code)
            if not _is_known(problem, code, now):
                cases.open_case(problem, connection_code=code)
        elif came > lost:
            why = "More came by webhook than by polling alone."
            cases.close_matching(problem, how="healed", why=why, connection_code=code)
    return losing


def judge_days(first: dt.date, now: dt.datetime) -> dict[Feed, dict[dt.date, Judged]]:
    """Each feed's days from one on, today up to the last hour that is over. Two statements, whatever the volume."""
    until = _over(now)
    since = first - dt.timedelta(weeks=WEEKS)
    sums: dict[Feed, dict[dt.date, tuple[int, int]]] = defaultdict(dict)
    limit = until.hour if until.date() == now.date() else 0  # today's first hour isn't over yet
    for code, kind, day, whole, part in fetch_rows(_DAYS, [limit, dt.datetime.combine(since, dt.time(), dt.UTC)]):
        sums[code, kind][day] = (whole, part)
    begun = _begun()
    found: dict[Feed, dict[dt.date, Judged]] = {}
    for feed, began in begun.items():
        of_feed = sums.get(feed, {})
        days = [first + dt.timedelta(days=n) for n in range((now.date() - first).days + 1)]
        found[feed] = {
            day: _judge(of_feed, day, began.date(), is_part=day == now.date()) for day in days if day >= began.date()
        }
    return found


def _judge(sums: Mapping[dt.date, tuple[int, int]], day: dt.date, began: dt.date, *, is_part: bool) -> Judged:
    place = 1 if is_part else 0
    before = [day - dt.timedelta(weeks=n) for n in range(1, WEEKS + 1)]
    return Judged(sums.get(day, (0, 0))[place], usual_of(sums.get(d, (0, 0))[place] for d in before if d > began))


def judge_hour(now: dt.datetime) -> dict[Feed, Judged]:
    """Each feed's last hour that is over, against the same hour of the same weekday before."""
    hour = _over(now) - dt.timedelta(hours=1)
    before = [hour - dt.timedelta(weeks=n) for n in range(1, WEEKS + 1)]
    counts = {(code, kind, at): n for code, kind, at, n in fetch_rows(_HOURS, [[hour, *before]])}
    return {
        (code, kind): Judged(
            counts.get((code, kind, hour), 0), usual_of(counts.get((code, kind, b), 0) for b in before if b > began)
        )
        for (code, kind), began in _begun().items()
    }


def tell_quiet_feeds(now: dt.datetime | None = None) -> list[Feed]:
    """Open a case for each feed that brings too little, and close those of feeds that bring as much as usual again.
    Alerts go out as with any other case. Returns the feeds that are too quiet."""
    now = now or timezone.now()
    by_hour = judge_hour(now)
    days = judge_days(now.date(), now)
    names = dict(Connection.objects.filter(state=Connection.State.ACTIVE).values_list("code", "name"))
    quiet = []
    for feed, hour in sorted(by_hour.items()):
        if feed[0] not in names:
            continue  # paused, which says so itself
        today = days.get(feed, {}).get(now.date(), Judged(0, None))
        worse, when = (hour, "in the last full hour") if hour.is_few else (today, "today so far")
        usual = f"{worse.usual:,.0f}" if worse.usual is not None else "none"
        says = f"{names[feed[0]]} brought {worse.count:,} {many(feed[1])} {when}; usual are {usual}"
        problem = Problem("feed_quiet", Category.DRIFT, says, connection=feed[0], document_type=many(feed[1]))
        if worse.is_few:
            quiet.append(feed)
            if not _is_known(problem, feed[0], now):
                cases.open_case(problem, connection_code=feed[0])
        else:
            why = "As many documents come as usual."
            cases.close_matching(problem, how="healed", why=why, connection_code=feed[0])
    return quiet


def _is_known(problem: Problem, code: str, now: dt.datetime) -> bool:
    """Whether a case of it is open, or a person has waived one since yesterday."""
    print_ = fingerprint_of(StepProblem(problem=problem, at=now, connection_code=code))
    if ExceptionCase.objects.filter(fingerprint=print_, state__in=ExceptionCase.OPEN_STATES).exists():
        return True
    return cases.is_waived_since(problem, now - dt.timedelta(days=1), connection_code=code)


def _over(now: dt.datetime) -> dt.datetime:
    """The end of the last hour whose counts are all rolled up."""
    return (now - LATE).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def _begun() -> dict[Feed, dt.datetime]:
    return {(code, kind): first for code, kind, first in fetch_rows(_FIRST)}
