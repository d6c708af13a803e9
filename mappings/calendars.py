"""When an entity works and when its months close, as two people agreed: read from the governed rules.

What no rule says is said here: Monday to Friday, 09:00 to 17:00, receivables at WD3 18:00, the ledger at WD5 18:00,
promised time used up twice as fast from WD-2 to WD+3.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q
from django.db.models.functions import JSONObject

from mappings.kinds import FREEZE_PATTERN
from mappings.models import MappingRule
from q2c.core.models import AccountingPeriod, LegalEntity
from q2c.core.workdays import WorkCalendar

RECEIVABLES, LEDGER = "receivables_close", "ledger_close"
_KIND, _HOLIDAY = "work_calendar", "holiday"
_NEAR, _AHEAD = dt.timedelta(days=45), dt.timedelta(days=200)  # ends of periods that promised times may meet
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DEFAULTS = {
    "weekdays": "mon tue wed thu fri", "opens": "09:00", "closes": "17:00", RECEIVABLES: "WD3 18:00",
    LEDGER: "WD5 18:00", "close_days": "WD-2 to WD+3", "close_pace": "2",
}  # fmt: skip


@dataclass(frozen=True)
class EntityCalendar:
    """An entity's working time, and at which working day and hour what closes."""

    work: WorkCalendar
    closes: dict[str, str] = field(default_factory=dict)
    fast: frozenset[dt.date] = frozenset()  # days around a close, of the periods that `calendars` was given
    pace: int = 1  # how many times as fast promised time is used up on them

    def closes_at(self, period_end: dt.date, what: str = RECEIVABLES) -> dt.datetime:
        """The instant at which receivables (or the ledger) of the period that ends then are to be closed."""
        day, time = self.closes[what].split()
        return self.work.moment(
            self.work.working_day(period_end, int(day.removeprefix("WD"))), dt.time.fromisoformat(time)
        )


def calendars(entities: Iterable[str], *, on: dt.date) -> dict[str, EntityCalendar]:
    """The calendars of these entities as the rules in force on that date say, with the closes around it, by one
    statement. An unknown code works in UTC by what no rule says."""
    codes = set(entities)
    ends = AccountingPeriod.objects.filter(
        subsidiary__legal_entity=OuterRef("pk"), end_date__range=(on - _NEAR, on + _AHEAD)
    ).order_by("end_date")
    rows = LegalEntity.objects.filter(code__in=codes).annotate(
        rules=rules_of("code", on=on), ends=ArraySubquery(ends.values("end_date").distinct())
    )
    facts = rows.values_list("code", "time_zone", "rules", "ends")
    known = {code: read_calendar(zone, rules, ends=ends) for code, zone, rules, ends in facts}
    return {code: known.get(code) or read_calendar("UTC", []) for code in sorted(codes)}


def rules_of(entity: str, *, on: dt.date) -> ArraySubquery:
    """What `read_calendar` reads, to annotate rows with: the rules in force for the entity whose code is in that
    field."""
    rules = MappingRule.objects.filter(
        Q(effective_to=None) | Q(effective_to__gt=on), Q(legal_entity_code="") | Q(legal_entity_code=OuterRef(entity)),
        kind__in=(_KIND, _HOLIDAY), known_to=None, conditions={}, effective_from__lte=on,
    )  # fmt: skip
    own_last = rules.order_by("legal_entity_code", "pk")
    return ArraySubquery(own_last.values_list(JSONObject(kind="kind", key="key", value="value")))


def read_calendar(zone: str, rules: Iterable[Mapping[str, str]], *, ends: Iterable[dt.date] = ()) -> EntityCalendar:
    """An entity's calendar in its zone, by its `rules_of`: what is said for it comes after what is said for all.
    `ends` are the last days of the periods whose closes count."""
    said, holidays = dict(_DEFAULTS), set()
    for rule in rules:
        if rule["kind"] == _KIND:
            said[rule["key"]] = rule["value"]
        else:
            holidays.add(dt.date.fromisoformat(rule["key"]))
    work = WorkCalendar(
        time_zone=zone,
        opens=dt.time.fromisoformat(said["opens"]),
        closes=dt.time.fromisoformat(said["closes"]),
        weekdays=frozenset(_DAYS.index(day) for day in said["weekdays"].split()),
        holidays=frozenset(holidays),
    )
    closes = {what: said[what] for what in (RECEIVABLES, LEDGER)}
    pace = int(said["close_pace"])
    around = _around(work, said["close_days"], ends) if pace > 1 else frozenset()
    return EntityCalendar(work, closes, around, pace)


def _around(work: WorkCalendar, said: str, ends: Iterable[dt.date]) -> frozenset[dt.date]:
    """The days from working day to working day around each period's end, first and last included."""
    match = re.fullmatch(FREEZE_PATTERN, said)
    days: set[dt.date] = set()
    if match is None or not match[3] or not work.weekdays:
        return frozenset()
    for end in ends:
        first, last = work.working_day(end, -int(match[1])), work.working_day(end, int(match[3]))
        days |= {first + dt.timedelta(days=n) for n in range((last - first).days + 1)}
    return frozenset(days)
