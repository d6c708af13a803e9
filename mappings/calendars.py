"""When an entity works and when its months close, as two people agreed: read from the governed rules.

What no rule says is said here: Monday to Friday, 09:00 to 17:00, receivables at WD3 18:00, the ledger at WD5 18:00.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import connection as database

from q2c.core.workdays import WorkCalendar

RECEIVABLES, LEDGER = "receivables_close", "ledger_close"
_KIND, _HOLIDAY = "work_calendar", "holiday"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DEFAULTS = {
    "weekdays": "mon tue wed thu fri", "opens": "09:00", "closes": "17:00", RECEIVABLES: "WD3 18:00",
    LEDGER: "WD5 18:00",
}  # fmt: skip


_READ = """
    SELECT w.code, coalesce(e.time_zone, 'UTC'), r.kind, r.key, r.value
      FROM unnest(%(codes)s::text[]) AS w(code)
      LEFT JOIN core_legalentity e ON e.code = w.code
      LEFT JOIN mappings_mappingrule r
        ON r.kind = ANY(%(kinds)s) AND r.known_to IS NULL AND r.legal_entity_code IN ('', w.code)
       AND r.conditions = '{}' AND r.effective_from <= %(on)s
       AND (r.effective_to IS NULL OR r.effective_to > %(on)s)
     ORDER BY w.code, r.legal_entity_code
"""


@dataclass(frozen=True)
class EntityCalendar:
    """An entity's working time, and at which working day and hour what closes."""

    work: WorkCalendar
    closes: dict[str, str] = field(default_factory=dict)

    def closes_at(self, period_end: dt.date, what: str = RECEIVABLES) -> dt.datetime:
        """The instant at which receivables (or the ledger) of the period that ends then are to be closed."""
        day, time = self.closes[what].split()
        return self.work.moment(
            self.work.working_day(period_end, int(day.removeprefix("WD"))), dt.time.fromisoformat(time)
        )


def calendars(entities: Iterable[str], *, on: dt.date) -> dict[str, EntityCalendar]:
    """The calendars of these entities as the rules in force on that date say, by one statement. An unknown code works
    in UTC."""
    with database.cursor() as cursor:
        cursor.execute(_READ, {"codes": sorted(set(entities)), "kinds": [_KIND, _HOLIDAY], "on": on})
        rows = cursor.fetchall()
    said: dict[str, dict[str, str]] = {}
    zones: dict[str, str] = {}
    holidays: dict[str, set[dt.date]] = {}
    for code, zone, kind, key, value in rows:
        zones[code] = zone
        said.setdefault(code, dict(_DEFAULTS))
        if kind == _KIND:
            said[code][key] = value  # an entity's own rule comes after the one for all
        elif kind == _HOLIDAY:
            holidays.setdefault(code, set()).add(dt.date.fromisoformat(key))
    return {code: _read(said[code], zones[code], holidays.get(code, set())) for code in zones}


def _read(said: dict[str, str], zone: str, holidays: set[dt.date]) -> EntityCalendar:
    work = WorkCalendar(
        time_zone=zone,
        opens=dt.time.fromisoformat(said["opens"]),
        closes=dt.time.fromisoformat(said["closes"]),
        weekdays=frozenset(_DAYS.index(day) for day in said["weekdays"].split()),
        holidays=frozenset(holidays),
    )
    return EntityCalendar(work, {what: said[what] for what in (RECEIVABLES, LEDGER)})
