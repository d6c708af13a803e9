"""How the portal runs, in figures: flows, systems and close days. Everything is read from what was counted
and from what beat found when it last looked, so no page counts a large table."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet, Sum
from django.urls import reverse
from django.utils import timezone

from connectors import call_figures, in_force
from connectors.call_figures import Calls
from connectors.connections import Health, days_to_expiry, health_of
from connectors.lanes import BACKFILL, CRITICAL, NORMAL, lane_of
from connectors.models import Connection
from mappings.calendars import calendars
from q2c.core import access, stats
from q2c.core.models import AccountingPeriod, StatDay, StatHour, StatNow
from q2c.flows import pausing
from q2c.flows.catalog import FLOWS
from q2c.transactions import counting
from q2c.transactions.counting import BEGUN, COMPLETED, FAILED, HEALED, HELD, REPLAYED, UNKNOWN

PERMISSION = "portal.view_operations"
HOURS = 24
STUCK_AFTER = dt.timedelta(minutes=15)  # due for so long and not carried
FAILING_FROM = 5  # documents that ended in the last hour, below which a bad share says nothing
FAILING_SHARE = 0.5
LOOKED_AGO = dt.timedelta(minutes=2)  # then the figures are told to be old
CLOSE_DAYS = (-3, -2, -1, 1, 2, 3, 4, 5, 6, 7)
HEATS = (1, 5, 20, 100)  # from so many held on, one shade more
MONTHS = 12
LANE_WORDS = {CRITICAL: "for a close", NORMAL: "everyday", BACKFILL: "back-fill"}
_MEASURES = (BEGUN, COMPLETED, HELD, FAILED, UNKNOWN, REPLAYED)


@dataclass
class Figures(stats.Timed):
    """What was counted of some documents."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    about: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, measure: str, about: str, bucket: int, count: int) -> None:
        """One row of the sums."""
        self.counts[measure] += count
        self.about[measure, about] += count
        if measure == COMPLETED:
            self.buckets[bucket] += count

    @property
    def begun(self) -> int:
        """New documents."""
        return self.counts[BEGUN]

    @property
    def completed(self) -> int:
        """Documents that came to their end."""
        return self.counts[COMPLETED]

    @property
    def held(self) -> int:
        """How often one was held."""
        return self.counts[HELD]

    @property
    def failed(self) -> int:
        """Attempts that failed and were made again."""
        return self.counts[FAILED]

    @property
    def unknown(self) -> int:
        """Answers that never came."""
        return self.counts[UNKNOWN]

    @property
    def replayed(self) -> int:
        """How often one was reposted."""
        return self.counts[REPLAYED]

    @property
    def healed(self) -> int:
        """Documents that completed by themselves after failed attempts."""
        return self.about[COMPLETED, HEALED]

    @property
    def share(self) -> str:
        """The share that completed without being held, in percent."""
        return stats.share_words(self.completed, self.completed + self.held)

    @property
    def has_any(self) -> bool:
        """Whether anything was counted."""
        return any(self.counts.values())


@dataclass
class Now:
    """How much is open of some documents, and since when the oldest is."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by state
    lanes: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # due, by lane
    oldest_at: dt.datetime | None = None  # of what is running or waiting
    due_since: dt.datetime | None = None

    def add(self, row: StatNow) -> None:
        """One row of what was found."""
        if row.measure == counting.DUE:
            self.lanes[lane_of(int(row.about))] += row.count
            self.due_since = _earlier(self.due_since, row.oldest_at)
            return
        self.counts[row.about] += row.count
        if row.about in ("running", "waiting"):
            self.oldest_at = _earlier(self.oldest_at, row.oldest_at)

    @property
    def on_the_way(self) -> int:
        """Running and waiting."""
        return self.counts["running"] + self.counts["waiting"]

    @property
    def held(self) -> int:
        """Held now."""
        return self.counts["held"]

    @property
    def unknown(self) -> int:
        """Of unknown outcome now."""
        return self.counts["unknown"]

    @property
    def lane_words(self) -> str:
        """What is due in which lane: "12 for a close, 3 back-fill"."""
        return ", ".join(f"{self.lanes[lane]:,} {LANE_WORDS[lane]}" for lane in LANE_WORDS if self.lanes[lane])


@dataclass
class FlowRow:
    """A flow's line."""

    code: str
    title: str
    figures: Figures
    last_hour: Figures
    now: Now
    pause: str = ""

    @property
    def light(self) -> str:
        """A state of `core.states`, the loudest that holds."""
        ended = self.last_hour.completed + self.last_hour.held
        if ended >= FAILING_FROM and self.last_hour.completed < FAILING_SHARE * ended:
            return "failing"
        if self.pause:
            return "paused"
        if self.now.due_since is not None and timezone.now() - self.now.due_since > STUCK_AFTER:
            return "stuck"
        if self.now.unknown:
            return "unknown"
        if self.now.held:
            return "holds"
        return "runs" if self.figures.has_any or self.now.on_the_way else "idle"


@dataclass
class SystemRow:
    """A connection's line."""

    connection: Connection
    health: Health
    seen: Any
    calls: Calls | None
    now: Now
    expires_in: int | None
    quota: in_force.DayQuota | None

    @property
    def breaker(self) -> str:
        """Whether calls go through, in words."""
        stopped = ", ".join(name.replace("_", " ") for name in getattr(self.seen, "stopped", None) or ())
        state = getattr(self.seen, "breaker", "closed")
        if state == "open":
            return "Calls stopped"
        if state == "half_open":
            return "Trying one call"
        return f"Stopped for {stopped}" if stopped else "Calls go through"


@dataclass(frozen=True)
class Cell:
    """A day of an entity's close: how many were held of how many that ended, its shade (0 to 4; None: still to come)
    and the list of that day."""

    day: dt.date
    held: int
    ended: int
    shade: int | None
    is_today: bool
    url: str


def entities_seen(user: Any, wanted: str = "") -> frozenset[str] | None:
    """The entities whose figures a person sees, or that one of them (None: all, those of no entity too)."""
    seen = access.entities_of(user, PERMISSION)
    if wanted:
        return frozenset({wanted}) if seen is None or wanted in seen else frozenset()
    return seen


def flow_rows(user: Any, entities: Collection[str] | None) -> list[FlowRow]:
    """Every flow with its figures of 24 hours and what is open of it now. Three statements, and one of pauses."""
    now = timezone.now()
    day = _figures(_hours(now - dt.timedelta(hours=HOURS), entities), "flow")
    hour = _figures(_hours(now - dt.timedelta(hours=2), entities), "flow")
    open_now = _open_now(entities, "flow")
    stops: dict[str, str] = {}
    for pause in pausing.pauses_seen_by(user):
        if not pause.legal_entity_code or (entities is not None and set(entities) == {pause.legal_entity_code}):
            stops |= {flow.code: pause.reason for flow in pausing.flows_of(pause)}
    return [
        FlowRow(flow.code, flow.title, day[flow.code], hour[flow.code], open_now[flow.code], stops.get(flow.code, ""))
        for flow in FLOWS
    ]


def system_rows(entities: Collection[str] | None) -> list[SystemRow]:
    """Every connection with its calls of 24 hours and what waits for it."""
    calls = call_figures.calls_of_connections()
    open_now = _open_now(entities, "connection_code")
    return [
        SystemRow(
            connection, health_of(connection), getattr(connection, "health", None), calls.get(connection.code),
            open_now[connection.code], days_to_expiry(connection),
            in_force.day_quota_of(connection, getattr(connection, "health", None)),
        )
        for connection in Connection.objects.select_related("health")
    ]  # fmt: skip


def looked_at() -> dt.datetime | None:
    """When beat last looked how much is open; None when it never did."""
    return StatNow.objects.filter(measure=counting.LOOKED).values_list("at", flat=True).first()


def figures_by_hour(flow: str, entities: Collection[str] | None) -> list[tuple[dt.datetime, Figures]]:
    """A flow's last 24 hours, the running one last; hours without anything too."""
    last = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = [last - dt.timedelta(hours=back) for back in reversed(range(HOURS))]
    found = _figures(_hours(hours[0], entities).filter(flow=flow), "hour")
    return [(hour, found[hour]) for hour in hours]


def figures_by_day(flow: str, entities: Collection[str] | None, *, days: int = 7) -> list[tuple[dt.date, Figures]]:
    """A flow's last days, today last."""
    today = timezone.now().date()
    wanted = [today - dt.timedelta(days=back) for back in reversed(range(days))]
    rows = _of(StatDay.objects.filter(measure__in=_MEASURES, flow=flow, day__gte=wanted[0]), entities)
    found = _figures(rows, "day")
    return [(day, found[day]) for day in wanted]


def figures_by_place(flow: str, entities: Collection[str] | None, *, days: int) -> list[tuple[str, str, Figures]]:
    """A flow's last days by target system and legal entity, what was held most first."""
    since = timezone.now().date() - dt.timedelta(days=days - 1)
    rows = _of(StatDay.objects.filter(measure__in=(COMPLETED, HELD), flow=flow, day__gte=since), entities)
    found = _figures(rows, "connection_code", "legal_entity_code")
    return sorted(
        ((code, entity, figures) for (code, entity), figures in found.items()),
        key=lambda row: (-row[2].held, -row[2].completed, row[:2]),
    )


def close_periods(entities: Collection[str] | None) -> list[tuple[str, dt.date]]:
    """The periods whose close days can be looked at, the newest first: code and last day. Those that have begun."""
    rows = AccountingPeriod.objects.filter(start_date__lte=timezone.now().date())
    if entities is not None:
        rows = rows.filter(subsidiary__legal_entity__code__in=sorted(entities))
    found = rows.order_by("-end_date").values_list("code", "end_date").distinct()
    return list(found[:MONTHS])


def heat_of(entities: list[str], end: dt.date) -> list[tuple[str, list[Cell | None]]]:
    """Each entity's working days around the close of a period that ends on that day: what was held on each. A day that
    its calendar doesn't have is None."""
    days: dict[str, list[dt.date | None]] = {}
    known = calendars(entities, on=end)
    for entity in entities:
        work = known[entity].work
        days[entity] = [_working_day(work, end, number) for number in CLOSE_DAYS]
    wanted = [day for row in days.values() for day in row if day is not None]
    counts: dict[tuple[str, dt.date], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    if wanted:
        rows = StatDay.objects.filter(
            measure__in=(COMPLETED, HELD), day__range=(min(wanted), max(wanted)), legal_entity_code__in=entities
        )
        for entity, day, measure, count in (
            rows.order_by().values_list("legal_entity_code", "day", "measure").annotate(Sum("count"))
        ):
            counts[entity, day][measure] += count
    return [
        (entity, [None if day is None else _cell(entity, day, counts[entity, day], known[entity].work.zone)
                  for day in days[entity]])
        for entity in entities
    ]  # fmt: skip


def _cell(entity: str, day: dt.date, counts: dict[str, int], zone: dt.tzinfo) -> Cell:
    today = timezone.now().astimezone(zone).date()
    held = counts.get(HELD, 0)
    shade = None if day > today else sum(held >= least for least in HEATS)
    query = urlencode({"entity": entity, "received_from": day, "received_to": day})
    url = f"{reverse('portal:transaction_list')}?{query}"
    return Cell(day, held, held + counts.get(COMPLETED, 0), shade, day == today, url)


def _working_day(work: Any, end: dt.date, number: int) -> dt.date | None:
    try:
        day: dt.date = work.working_day(end, number)
    except ValueError:
        return None
    return day


def _hours(since: dt.datetime, entities: Collection[str] | None) -> QuerySet[StatHour]:
    return _of(StatHour.objects.filter(measure__in=_MEASURES, hour__gte=since), entities)


def _of(rows: QuerySet, entities: Collection[str] | None) -> QuerySet:
    return rows if entities is None else rows.filter(legal_entity_code__in=sorted(entities))


def _figures(rows: QuerySet, *by: str) -> dict[Any, Figures]:
    """The sums of these rows by some columns, in one statement."""
    found: dict[Any, Figures] = defaultdict(Figures)
    sums = rows.order_by().values_list(*by, "measure", "about", "bucket").annotate(Sum("count"))
    for *key, measure, about, bucket, count in sums:
        found[key[0] if len(by) == 1 else tuple(key)].add(measure, about, bucket, count)
    return found


def _open_now(entities: Collection[str] | None, by: str) -> dict[str, Now]:
    found: dict[str, Now] = defaultdict(Now)
    for row in _of(StatNow.objects.filter(measure__in=(counting.OPEN, counting.DUE)), entities):
        found[getattr(row, by)].add(row)
    return found


def _earlier(one: dt.datetime | None, other: dt.datetime | None) -> dt.datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)
