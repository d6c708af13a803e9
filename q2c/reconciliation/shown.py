"""Completeness as a person sees it: each feed's days in a grid, a period's totals, one day's differences, all of their
own entities. Read from the small rows that checks and roll-ups keep; nothing is counted here but those."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, QuerySet, Sum
from django.utils import timezone

from connectors.models import Connection
from q2c.core import access
from q2c.core.exports import Query
from q2c.core.roles import SEEN_BY
from q2c.reconciliation.completeness import registers_of
from q2c.reconciliation.models import FeedCheck, FeedDay, FeedGap, LostWebhook
from q2c.reconciliation.uncompared import Uncompared, uncompared
from q2c.reconciliation.usual import Feed, Judged, judge_days
from q2c.reconciliation.words import many

DAYS = 14
NBSP = "\u00a0"
PERMISSION = SEEN_BY["reconciliation.feedday"]
_SUMS = (
    "source_count", "source_amount", "our_count", "our_amount", "waiting_count", "waiting_amount", "missing_count",
    "missing_amount", "surplus_count", "surplus_amount", "differing_count", "unconfirmed_count", "unconfirmed_amount",
)  # fmt: skip
QUERY = Query("completeness", "Completeness", f"FeedDay of a period by feed, entity, day, currency: {_SUMS}; v2")
_DIFFERENT = ("missing_count", "surplus_count", "differing_count")  # offsetting ones leave no difference in a sum
# What a period's difference is made of, in this order: also where it comes to nothing.
_PARTS = {
    "missing_count": "missing here", "surplus_count": "not known there", "differing_count": "of another amount",
    "waiting_count": "in the inbox", "unconfirmed_count": "not confirmed",
}  # fmt: skip
DAY_QUERY = Query("completeness_day", "Completeness of a day", "FeedGap of a feed's day, open ones first; v1")
# Of a cell, from the loudest: its symbol and its words.
STATES = {
    "differs": ("≠", "doesn’t agree with the source"),
    "few": ("↓", "fewer than usual"),
    "uncompared": ("!", "not compared with the source"),
    "waiting": ("…", "in the inbox, not read yet or refused"),
    "unconfirmed": ("?", "not confirmed: the source has still to be asked for some of ours"),
    "explained": ("○", "differs as a person has explained, or since the last check"),
    "agrees": ("✓", "agrees with the source"),
    "counted": ("", "counted; the source keeps no register that we can ask"),
    "unlisted": ("", "counted as they came; none of that day was compared"),
    "none": ("–", "not counted"),
}


@dataclass(frozen=True)
class Asked:
    """What a person asks to see, within what they may: an entity, a system, or all of them."""

    user: Any
    entity: str = ""
    connection: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether counts that know no entity may be shown."""
        return self.entities is None

    @cached_property
    def entities(self) -> frozenset[str] | None:
        """Of which entities; None: of all, and of what has none."""
        seen = access.entities_of(self.user, PERMISSION)
        if self.entity:
            return frozenset({self.entity}) if seen is None or self.entity in seen else frozenset()
        return seen

    def part_of(self, judged: Judged) -> Judged | None:
        """What a feed brought of these entities: judged for each; as one only where it's one, or the feed itself. None
        where it never brought any of theirs."""
        if self.entities is None:
            return judged
        mine = {code: one for code, one in judged.entities.items() if code in self.entities}
        if len(self.entities) == len(mine) == 1:
            return mine.popitem()[1]
        return Judged(sum(one.count for one in mine.values()), None, entities=mine) if mine else None

    def within(self, rows: QuerySet) -> QuerySet:
        """The rows that the person sees and asks for."""
        rows = access.visible_to(self.user, rows)
        rows = rows.filter(legal_entity_code=self.entity) if self.entity else rows
        return self.of_system(rows)

    def of_system(self, rows: QuerySet) -> QuerySet:
        """The same by system only."""
        return rows.filter(connection_code=self.connection) if self.connection else rows


@dataclass
class Cell:
    """A feed's day."""

    day: dt.date
    state: str = "none"
    figure: int | None = None
    open_count: int = 0
    usual: int | None = None
    came: int = 0  # where that's too few; the figure may be the register's
    few: Mapping[str, Judged] = field(default_factory=dict)  # entities of which too few came, where not of all
    uncompared: Uncompared | None = None  # where what is known of the day is from before its end

    @property
    def symbol(self) -> str:
        """Beside the figure, so that nobody needs the colour."""
        return STATES[self.state][0]

    @property
    def words(self) -> str:
        """What it says."""
        if self.state == "differs":
            return f"{self.open_count:,} {'documents do' if self.open_count > 1 else 'document does'}n’t agree"
        if self.state == "few" and self.few:
            return f"fewer than usual: {self.few_words}"
        if self.state == "few":
            return f"fewer than the usual {self.usual or 0:,}"
        if self.state == "uncompared" and self.uncompared is not None and self.uncompared.since is not None:
            return f"not compared with the source since {timezone.localtime(self.uncompared.since):%-d %b, %H:%M}"
        return STATES[self.state][1]

    @property
    def few_words(self) -> str:
        """Of which entities too few came, where not of all."""
        each = (f"{one.count:,} of {code} instead of {one.usual or 0:,.0f}" for code, one in self.few.items())
        return ", ".join(part.replace(" ", NBSP) for part in each)

    @property
    def few_of(self) -> str:
        """The same in a cell's width."""
        return next(iter(self.few)) if len(self.few) == 1 else f"{len(self.few)} entities"


@dataclass
class FeedRow:
    """A feed with its days."""

    connection: str
    name: str
    document_type: str
    cells: list[Cell]
    check: FeedCheck | None = None
    uncompared: Uncompared | None = None  # where some of the days shown aren't compared

    @property
    def title(self) -> str:
        """What is counted."""
        return many(self.document_type).capitalize()


class Silence(NamedTuple):
    """Feeds of a system that aren't compared for the same reason, and since when the first of them isn't."""

    name: str
    titles: list[str]
    since: dt.datetime | None
    why: str


class LostRow(NamedTuple):
    """A system's messages that came by poll only, by day."""

    connection: str
    name: str
    counts: list[tuple[dt.date, int]]


@dataclass
class Grid:
    """Feeds by days, and what of it a person has to look at."""

    days: list[dt.date]
    rows: list[FeedRow]
    webhooks: list[LostRow] = field(default_factory=list)
    open_count: int = 0
    quiet_count: int = 0
    elsewhere: int = 0  # open differences of other days
    elsewhere_day: dt.date | None = None  # the last one of these days

    @property
    def failed(self) -> list[FeedRow]:
        """Feeds whose source couldn't be asked the last time, and that were compared a moment before."""
        checked = [row for row in self.rows if row.uncompared is None and row.check is not None]
        return [row for row in checked if row.check is not None and row.check.failed_at is not None]

    @property
    def is_loud(self) -> bool:
        """Whether something is known that isn't as it should be."""
        return bool(self.open_count or self.elsewhere or self.quiet_count)

    @property
    def uncompared_count(self) -> int:
        """How many feeds aren't compared, in these days."""
        return sum(row.uncompared is not None for row in self.rows)

    @property
    def silences(self) -> list[Silence]:
        """Feeds that aren't compared, those of one reason together."""
        found: dict[tuple[str, str], list[FeedRow]] = defaultdict(list)
        for row in self.rows:
            if row.uncompared is not None:
                found[row.name, row.uncompared.why].append(row)
        return [
            Silence(
                name, [row.title.lower() for row in rows],
                min((u.since for row in rows if (u := row.uncompared) and u.since is not None), default=None), why,
            )
            for (name, why), rows in found.items()
        ]  # fmt: skip


def grid_of(
    asked: Asked, until: dt.date, connections: Mapping[str, Connection], *, now: dt.datetime | None = None
) -> Grid:
    """The fourteen days up to one. Seven statements at most, whatever the volume."""
    now = now or timezone.now()
    days = [until - dt.timedelta(days=n) for n in range(DAYS)][::-1]
    names = {code: row.name for code, row in connections.items()}
    compared = _compared(asked, days)
    open_gaps = _open_gaps(asked, days)
    judged = _judged(asked, days[0], now)
    checks = {(c.connection_code, c.document_type): c for c in asked.of_system(FeedCheck.objects.defer("answers"))}
    feeds = sorted({*compared, *open_gaps, *judged, *checks}, key=lambda f: (names.get(f[0], f[0]), _order(f[1])))
    rows = []
    for feed in feeds:
        source, check = connections.get(feed[0]), checks.get(feed)
        silence = uncompared(source, feed[1], check, now) if source is not None else None
        is_listed = source is not None and feed[1] in registers_of(source.vendor)
        cells = [
            _cell(
                d, compared[feed].get(d), open_gaps[feed].get(d, 0), judged.get(feed, {}).get(d), is_listed=is_listed,
                silence=silence if silence is not None and silence.concerns(d) else None,
            )
            for d in days
        ]  # fmt: skip
        is_shown = any(cell.uncompared is not None for cell in cells)
        rows.append(FeedRow(feed[0], names.get(feed[0], feed[0]), feed[1], cells, check, silence if is_shown else None))
    all_cells = [cell for row in rows for cell in row.cells]
    others = asked.within(FeedGap.objects.filter(closed_at=None).exclude(day__range=(days[0], days[-1])))
    other = others.aggregate(n=Count("id"), last=Max("day"))
    return Grid(
        days, rows, _webhooks(asked, days, names), sum(c.open_count for c in all_cells),
        sum(c.state == "few" for c in all_cells), other["n"], other["last"],
    )  # fmt: skip


def _judged(asked: Asked, first: dt.date, now: dt.datetime) -> dict[Feed, dict[dt.date, Judged]]:
    found = {}
    for feed, days in judge_days(first, now).items():
        mine = {day: part for day, judged in days.items() if (part := asked.part_of(judged)) is not None}
        if mine and asked.connection in ("", feed[0]):
            found[feed] = mine
    return found


def _cell(
    day: dt.date, compared: dict[str, int] | None, open_count: int, judged: Judged | None, *, is_listed: bool,
    silence: Uncompared | None,
) -> Cell:  # fmt: skip
    cell = Cell(day, open_count=open_count, uncompared=silence)
    if compared is not None:
        cell.figure = compared["source_count"]
    elif judged is not None:
        cell.figure = judged.count
    if judged is not None and judged.usual is not None:
        cell.usual = round(judged.usual)
    if open_count:
        cell.state = "differs"
    elif judged is not None and (judged.is_few or judged.few):
        cell.state, cell.came = "few", judged.count
        cell.few = {} if judged.is_few_everywhere else judged.few
    elif silence is not None:
        cell.state = "uncompared"
    elif compared is None:
        cell.state = "none" if judged is None else "unlisted" if is_listed else "counted"
    elif compared["waiting_count"]:
        cell.state = "waiting"
    elif compared["unconfirmed_count"]:
        cell.state = "unconfirmed"
    elif compared["our_count"] != compared["source_count"] or any(compared[name] for name in _DIFFERENT):
        cell.state = "explained"
    else:
        cell.state = "agrees"
    return cell


def _compared(asked: Asked, days: list[dt.date]) -> dict[Feed, dict[dt.date, dict[str, int]]]:
    rows = asked.within(FeedDay.objects.filter(day__range=(days[0], days[-1])))
    found: dict[Feed, dict[dt.date, dict[str, int]]] = defaultdict(dict)
    names = ("source_count", "our_count", "waiting_count", "unconfirmed_count", *_DIFFERENT)
    summed = rows.values("connection_code", "document_type", "day").annotate(**{f"all_{n}": Sum(n) for n in names})
    for row in summed.order_by():
        found[row["connection_code"], row["document_type"]][row["day"]] = {n: row[f"all_{n}"] for n in names}
    return found


def _open_gaps(asked: Asked, days: list[dt.date]) -> dict[Feed, dict[dt.date, int]]:
    rows = asked.within(FeedGap.objects.filter(closed_at=None, day__range=(days[0], days[-1])))
    found: dict[Feed, dict[dt.date, int]] = defaultdict(dict)
    for code, kind, day, n in rows.values_list("connection_code", "document_type", "day").annotate(Count("id")):
        found[code, kind][day] = n
    return found


def _webhooks(asked: Asked, days: list[dt.date], names: dict[str, str]) -> list[LostRow]:
    if not asked.is_whole:
        return []
    rows = asked.of_system(LostWebhook.objects.filter(day__range=(days[0], days[-1])))
    found: dict[str, dict[dt.date, int]] = defaultdict(dict)
    for code, day, n in rows.values_list("connection_code", "day").annotate(Sum("count")):
        found[code][day] = n
    return [
        LostRow(code, names.get(code, code), [(day, of.get(day, 0)) for day in days])
        for code, of in sorted(found.items())
    ]


def totals_of(asked: Asked, period: str) -> list[dict[str, Any]]:
    """A posting period's totals by system, type, entity and currency; currencies are never added up."""
    rows = asked.within(FeedDay.objects.filter(period_code=period))
    keys = ("connection_code", "document_type", "legal_entity_code", "currency")
    summed = (
        rows.values(*keys).annotate(**{f"all_{n}": Sum(n) for n in _SUMS}, oldest=Min("checked_at")).order_by(*keys)
    )
    found = []
    for row in summed:
        total = {name.removeprefix("all_"): value for name, value in row.items()}
        total["title"] = many(total["document_type"]).capitalize()
        total["difference"] = total["source_amount"] - total["our_amount"]
        total["parts"] = [f"{total[name]:,} {words}" for name, words in _PARTS.items() if total[name]]
        is_even = not total["difference"] and total["source_count"] == total["our_count"]
        total["agrees"] = is_even and not total["parts"]
        found.append(total)
    return found


def periods_of(asked: Asked) -> list[str]:
    """The posting periods of which something was compared, newest first."""
    rows = asked.within(FeedDay.objects.exclude(period_code=""))
    return sorted(rows.order_by().values_list("period_code", flat=True).distinct(), reverse=True)


def days_of_period(asked: Asked, period: str) -> Iterable[FeedDay]:
    """Every compared day of a period, for the file."""
    rows = asked.within(FeedDay.objects.filter(period_code=period))
    return rows.order_by("connection_code", "document_type", "legal_entity_code", "day", "currency").iterator(2000)


def day_rows(asked: Asked, document_type: str, day: dt.date) -> list[FeedDay]:
    """A feed's day as it was compared, by entity and currency."""
    rows = asked.within(FeedDay.objects.filter(document_type=document_type, day=day))
    return list(rows.order_by("legal_entity_code", "currency"))


def gaps_of_day(asked: Asked, document_type: str, day: dt.date) -> QuerySet[FeedGap]:
    """The documents of a feed's day on which both don't agree or didn't; open ones first, then by id."""
    rows = asked.within(FeedGap.objects.filter(document_type=document_type, day=day))
    found: QuerySet[FeedGap] = rows.order_by("-closed_at", "id")  # PostgreSQL has nulls first when it descends
    return found


def lost_webhooks_of(asked: Asked, day: dt.date) -> list[tuple[str, int]]:
    """What of a system's day came by poll only, by type; nothing for who sees some entities only."""
    if not asked.is_whole:
        return []
    rows = LostWebhook.objects.filter(connection_code=asked.connection, day=day).order_by("-count", "event_type")
    return list(rows.values_list("event_type", "count"))


def _order(document_type: str) -> int:
    order = ("invoice", "credit_memo", "payment", "application", "refund", "dispute", "payout")
    return order.index(document_type) if document_type in order else len(order)
