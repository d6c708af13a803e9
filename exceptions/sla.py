"""When a case is due: hours of work promised by its kind, counted on the entity's own clock. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class WorkCalendar:
    """The hours in which people of an entity work. `holidays` are dates on which they don't."""

    time_zone: str = "UTC"
    opens: dt.time = dt.time(9)
    closes: dt.time = dt.time(17)
    weekdays: frozenset[int] = frozenset(range(5))
    holidays: frozenset[dt.date] = frozenset()

    def is_working_day(self, day: dt.date) -> bool:
        """Whether people work on that date."""
        return day.weekday() in self.weekdays and day not in self.holidays


def due_at(start: dt.datetime, work: dt.timedelta, calendar: WorkCalendar | None) -> dt.datetime:
    """The instant at which `work` is used up from `start`. Without a calendar the clock never stops (platform duty)."""
    if calendar is None:
        return start + work
    zone = ZoneInfo(calendar.time_zone)
    left = work
    day = start.astimezone(zone).date()
    for _ in range(366):
        if calendar.is_working_day(day):
            opens = dt.datetime.combine(day, calendar.opens, zone).astimezone(dt.UTC)
            closes = dt.datetime.combine(day, calendar.closes, zone).astimezone(dt.UTC)
            begins = max(opens, start.astimezone(dt.UTC))
            if begins < closes:
                if closes - begins >= left:
                    return begins + left
                left -= closes - begins
        day += dt.timedelta(days=1)
    return start + work  # a calendar without working days promises clock hours


def standing(due: dt.datetime, now: dt.datetime, *, opened: dt.datetime) -> str:
    """on_time, at_risk (three quarters of the time are gone) or breached."""
    if now >= due:
        return "breached"
    return "at_risk" if now - opened >= (due - opened) * 3 / 4 else "on_time"
