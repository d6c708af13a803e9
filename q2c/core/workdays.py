"""When people of an entity work, and which day of a close a date is: hours, weekdays, holidays. Pure.

Working days of a close are counted from the end of its period, as controllers do: WD1 is the first working day after
it, WD-1 the last one within it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

YEAR = 366  # days in which a calendar that has working days has one


@dataclass(frozen=True)
class WorkCalendar:
    """The hours in which people of an entity work, in its own time zone. `holidays` are dates on which they don't."""

    time_zone: str = "UTC"
    opens: dt.time = dt.time(9)
    closes: dt.time = dt.time(17)
    weekdays: frozenset[int] = frozenset(range(5))
    holidays: frozenset[dt.date] = frozenset()

    @property
    def zone(self) -> ZoneInfo:
        """The entity's time zone."""
        return ZoneInfo(self.time_zone)

    def is_working_day(self, day: dt.date) -> bool:
        """Whether people work on that date."""
        return day.weekday() in self.weekdays and day not in self.holidays

    def working_day(self, period_end: dt.date, number: int) -> dt.date:
        """The date of working day `number` of the close of the period that ends then: 1 is the first after it, -1 the
        last within it. Raises ValueError for 0, which isn't a working day, and for a calendar without working days."""
        if number == 0:
            raise ValueError("working days of a close are counted from 1, or backwards from -1")
        step = dt.timedelta(days=1 if number > 0 else -1)
        day = period_end if number > 0 else period_end + dt.timedelta(days=1)
        left, idle = abs(number), 0
        while left and idle < YEAR:
            day += step
            is_work = self.is_working_day(day)
            left, idle = (left - 1, 0) if is_work else (left, idle + 1)
        if left:
            raise ValueError("nobody works in this calendar")
        return day

    def moment(self, day: dt.date, time: dt.time) -> dt.datetime:
        """That time of that day in the entity's zone, in UTC."""
        return dt.datetime.combine(day, time, self.zone).astimezone(dt.UTC)
