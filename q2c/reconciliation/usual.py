"""How much a feed usually brings at that hour and weekday, of all entities and of each, and whether it brings too
little; and whether webhooks come: no error, and still amiss.

Usual is the median of the same hours of the weeks before. Everything is read from hours that are rolled up from
appended counts; days and hours are UTC's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
from q2c.reconciliation.models import FeedEntityHour, FeedHour, LostWebhook
from q2c.reconciliation.words import many

WEEKS = 8
LEAST = 9  # documents usual, below which nothing is too few
LATE = dt.timedelta(minutes=10)  # after an hour's end, until its counts are rolled up
KEPT_DAYS = 120
LOST_SPAN = dt.timedelta(hours=1)  # of which webhooks are counted, up to `LATE` ago: a poll may be faster than one
LOST_LEAST = 5
FEED_QUIET, ENTITY_QUIET = "feed_quiet", "entity_quiet"

_ROLL_UP = """
WITH gone AS (
    DELETE FROM records_documentarrival RETURNING connection_code, document_type, legal_entity_code, hour, count
), whole AS (
    INSERT INTO reconciliation_feedhour AS h (connection_code, document_type, hour, count)
    SELECT connection_code, document_type, hour, sum(count) FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (connection_code, document_type, hour) DO UPDATE SET count = h.count + excluded.count
)
INSERT INTO reconciliation_feedentityhour AS h (connection_code, document_type, legal_entity_code, hour, count)
SELECT connection_code, document_type, legal_entity_code, hour, sum(count) FROM gone
 WHERE legal_entity_code IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (connection_code, document_type, legal_entity_code, hour) DO UPDATE SET count = h.count + excluded.count
"""
# Of each feed, and of each entity of it, the hours that {which}.
_SOME = """(
    SELECT connection_code, document_type, NULL::varchar AS legal_entity_code, hour, count
      FROM reconciliation_feedhour WHERE {which}
    UNION ALL
    SELECT connection_code, document_type, legal_entity_code, hour, count
      FROM reconciliation_feedentityhour WHERE {which}) AS h"""
# Of each day the sum, and the sum up to an hour of it: today is compared with as much of the days before.
_DAYS = f"""
SELECT connection_code, document_type, legal_entity_code, (hour AT TIME ZONE 'UTC')::date, sum(count),
    coalesce(sum(count) FILTER (WHERE extract(hour FROM hour AT TIME ZONE 'UTC') < %(limit)s), 0)
  FROM {_SOME.format(which="hour >= %(since)s")} GROUP BY 1, 2, 3, 4
"""
_HOURS = f"""
SELECT connection_code, document_type, legal_entity_code, hour, count FROM {_SOME.format(which="hour = ANY(%(hours)s)")}
"""
# The first hour of each. Of entities by leaps through the index: as many as there are places, not hours.
_FIRST = """
WITH RECURSIVE places AS (
    (SELECT connection_code, document_type, legal_entity_code, hour
       FROM reconciliation_feedentityhour ORDER BY 1, 2, 3, 4 LIMIT 1)
    UNION ALL
    SELECT n.* FROM places p, LATERAL (
        SELECT h.connection_code, h.document_type, h.legal_entity_code, h.hour FROM reconciliation_feedentityhour h
         WHERE (h.connection_code, h.document_type, h.legal_entity_code)
             > (p.connection_code, p.document_type, p.legal_entity_code)
         ORDER BY 1, 2, 3, 4 LIMIT 1) n
)
SELECT connection_code, document_type, NULL::varchar, min(hour) FROM reconciliation_feedhour GROUP BY 1, 2
UNION ALL SELECT * FROM places
"""
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
Place = tuple[str, str, str | None]  # a feed, and an entity ("": none is known) or all


@dataclass(frozen=True)
class Judged:
    """What a feed, or an entity of it, brought, and what is usual; None while nothing is. Of a feed also each entity's,
    where one is known."""

    count: int
    usual: float | None
    unknown: int = 0  # of the feed, brought without anybody counting whose: it may all be this entity's
    entities: Mapping[str, Judged] = field(default_factory=dict)

    @property
    def is_usual_known(self) -> bool:
        """Whether so much is usual that too little would show."""
        return self.usual is not None and self.usual >= LEAST

    @property
    def is_few(self) -> bool:
        """Fewer than chance explains: more than three standard deviations of a count below the usual one."""
        if self.usual is None or not self.is_usual_known:
            return False
        return self.count + self.unknown <= self.usual - 3 * math.sqrt(self.usual)

    @property
    def few(self) -> dict[str, Judged]:
        """The entities that bring too few."""
        return {code: judged for code, judged in sorted(self.entities.items()) if judged.is_few}

    @property
    def is_few_everywhere(self) -> bool:
        """Whether it's too few of all entities, of which there are several: it isn't one entity's trouble."""
        known = [judged for judged in self.entities.values() if judged.is_usual_known]
        return self.is_few and len(known) > 1 and all(judged.is_few for judged in known)


def roll_up_arrivals() -> None:
    """Add what came since to the hours; hours that nobody compares with any more go."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP)
    for hours in (FeedHour, FeedEntityHour):
        hours.objects.filter(hour__lt=timezone.now() - dt.timedelta(days=KEPT_DAYS)).delete()


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
    since = dt.datetime.combine(first - dt.timedelta(weeks=WEEKS), dt.time(), dt.UTC)
    limit = until.hour if until.date() == now.date() else 0  # today's first hour isn't over yet
    sums: dict[Place, dict[dt.date, tuple[int, int]]] = defaultdict(dict)
    for *place, day, whole, begun_part in fetch_rows(_DAYS, {"limit": limit, "since": since}):
        sums[place[0], place[1], place[2]][day] = (whole, begun_part)
    begun = _begun()
    found: dict[Feed, dict[dt.date, Judged]] = defaultdict(dict)
    for day in (first + dt.timedelta(days=n) for n in range((now.date() - first).days + 1)):
        part = int(day == now.date())

        def judge(place: Place, day: dt.date = day, part: int = part) -> Judged:
            of_place, began = sums.get(place, {}), begun[place].date()
            before = (d for n in range(1, WEEKS + 1) if (d := day - dt.timedelta(weeks=n)) > began)
            return Judged(of_place.get(day, (0, 0))[part], usual_of(of_place.get(d, (0, 0))[part] for d in before))

        for feed, judged in _judge_all((p for p, at in begun.items() if at.date() <= day), judge).items():
            found[feed][day] = judged
    return dict(found)


def judge_hour(now: dt.datetime) -> dict[Feed, Judged]:
    """Each feed's last hour that is over, against the same hour of the same weekday before."""
    hour = _over(now) - dt.timedelta(hours=1)
    before = [hour - dt.timedelta(weeks=n) for n in range(1, WEEKS + 1)]
    counts = {(*place, at): n for *place, at, n in fetch_rows(_HOURS, {"hours": [hour, *before]})}
    begun = _begun()

    def judge(place: Place) -> Judged:
        known = (b for b in before if b > begun[place])
        return Judged(counts.get((*place, hour), 0), usual_of(counts.get((*place, b), 0) for b in known))

    return _judge_all(begun, judge)


def _judge_all(places: Iterable[Place], judge: Callable[[Place], Judged]) -> dict[Feed, Judged]:
    """Each feed with its entities: what no entity was counted for may be of any of them."""
    of: dict[Feed, dict[str | None, Judged]] = defaultdict(dict)
    for place in places:
        of[place[:2]][place[2]] = judge(place)
    found = {}
    for feed, judged in of.items():
        if (whole := judged.pop(None, None)) is not None:
            unknown = max(whole.count - sum(one.count for one in judged.values()), 0)
            each = {entity: replace(one, unknown=unknown) for entity, one in judged.items() if entity}
            found[feed] = replace(whole, entities=each)
    return found


def tell_quiet_feeds(now: dt.datetime | None = None) -> list[Feed]:
    """Open a case for each feed that brings too little, and for each entity of which it does; close those of what
    brings as much as usual again. A feed that is quiet everywhere is one case, and opens none of its entities'.
    Alerts go out as with any other case. Returns the feeds that are too quiet, or of which an entity is."""
    now = now or timezone.now()
    by_hour = judge_hour(now)
    days = judge_days(now.date(), now)
    names = dict(Connection.objects.filter(state=Connection.State.ACTIVE).values_list("code", "name"))
    quiet, still = [], set()
    for feed, hour in sorted(by_hour.items()):
        if feed[0] not in names:
            continue  # paused, which says so itself
        today = days.get(feed, {}).get(now.date(), Judged(0, None))
        few = _few_of(hour, today)
        is_everywhere = hour.is_few_everywhere or today.is_few_everywhere
        for entity, (worse, when) in few.items():
            problem = _quiet(feed, names[feed[0]], entity, worse, when)
            still.add((feed[0], many(feed[1]), entity))
            is_told_otherwise = is_everywhere if entity else not is_everywhere and len(few) > 1
            if not is_told_otherwise and not _is_known(problem, feed[0], now):
                cases.open_case(problem, connection_code=feed[0], legal_entity_code=entity)
        quiet += [feed] if few else []
    _close_calm(names, still)
    return quiet


def _few_of(hour: Judged, today: Judged) -> dict[str, tuple[Judged, str]]:
    """What brings too little, the feed itself by "", then its entities; each with when it does, an hour first."""
    spans = ((today, "today so far"), (hour, "in the last full hour"))
    found: dict[str, tuple[Judged, str]] = {}
    for judged, when in spans:
        too_few = {"": judged} | judged.few if judged.is_few else judged.few
        found |= {entity: (one, when) for entity, one in too_few.items()}
    return found


def _quiet(feed: Feed, name: str, entity: str, judged: Judged, when: str) -> Problem:
    what = f"{many(feed[1])} of {entity}" if entity else many(feed[1])
    says = f"{name} brought {judged.count:,} {what} {when}; usual are {judged.usual or 0:,.0f}"
    kind, of = (ENTITY_QUIET, {"legal_entity": entity}) if entity else (FEED_QUIET, {})
    return _problem(kind, says, {"connection": feed[0], "document_type": many(feed[1]), **of})


def _problem(kind: str, says: str, about: Mapping[str, Any]) -> Problem:
    return Problem(kind, Category.DRIFT, says, **about)


def _close_calm(names: Collection[str], still: Collection[tuple[str, str, str]]) -> None:
    """Close the cases of what isn't quiet any more, of connections that are in use."""
    rows = ExceptionCase.objects.filter(kind__in=(FEED_QUIET, ENTITY_QUIET), state__in=ExceptionCase.OPEN_STATES)
    for kind, about in rows.values_list("kind", "subject"):
        place = (about["connection"], about["document_type"], about.get("legal_entity", ""))
        if place[0] in names and place not in still:
            why = "As many documents come as usual."
            cases.close_matching(_problem(kind, "", about), how="healed", why=why)


def _is_known(problem: Problem, code: str, now: dt.datetime) -> bool:
    """Whether a case of it is open, or a person has waived one since yesterday."""
    print_ = fingerprint_of(StepProblem(problem=problem, at=now, connection_code=code))
    if ExceptionCase.objects.filter(fingerprint=print_, state__in=ExceptionCase.OPEN_STATES).exists():
        return True
    return cases.is_waived_since(problem, now - dt.timedelta(days=1), connection_code=code)


def _over(now: dt.datetime) -> dt.datetime:
    """The end of the last hour whose counts are all rolled up."""
    return (now - LATE).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def _begun() -> dict[Place, dt.datetime]:
    return {(code, kind, entity): first for code, kind, entity, first in fetch_rows(_FIRST)}
