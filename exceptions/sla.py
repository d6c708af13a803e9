"""When a case is due: hours of work promised by its kind, on the entity's own clock, faster around a close. Pure.

Promised time is used up while people of the entity work. On the days around a close (`fast`) an hour of work uses up
`pace` hours of it, so what is opened then is due sooner, and what was opened before is due sooner by its share.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator

from q2c.core.workdays import YEAR, WorkCalendar

# Parts of the promised time: at risk when so much of it is used up; how much more of it until the next ones are told.
AT_RISK = (3, 4)
ON_TIME, RISKY, BREACHED = "on_time", "at_risk", "breached"


def due_at(
    start: dt.datetime, work: dt.timedelta, calendar: WorkCalendar | None, *, fast: Collection[dt.date] = (),
    pace: int = 1,
) -> dt.datetime:  # fmt: skip
    """The instant at which `work` is used up from `start`. Without a calendar the clock never stops (platform duty)."""
    if calendar is None:
        return start + work
    left = work
    for begins, closes, speed in _hours(start, calendar, fast, pace):
        if (closes - begins) * speed >= left:
            return begins + left / speed
        left -= (closes - begins) * speed
    return start + work  # a calendar without working days promises clock hours


def used(
    start: dt.datetime, end: dt.datetime, calendar: WorkCalendar | None, *, fast: Collection[dt.date] = (),
    pace: int = 1,
) -> dt.timedelta:  # fmt: skip
    """How much promised time is used up between two instants; as `due_at` counts it."""
    if calendar is None or not calendar.weekdays:
        return max(end - start, dt.timedelta())
    total = dt.timedelta()
    for begins, closes, speed in _hours(start, calendar, fast, pace):
        if begins >= end:
            break
        total += (min(closes, end) - begins) * speed
    return total


def _hours(
    start: dt.datetime, calendar: WorkCalendar, fast: Collection[dt.date], pace: int
) -> Iterator[tuple[dt.datetime, dt.datetime, int]]:
    """The working hours from an instant on, for two years: begin, end, and how fast promised time is used up."""
    day = start.astimezone(calendar.zone).date()
    for _ in range(2 * YEAR):
        if calendar.is_working_day(day):
            closes = calendar.moment(day, calendar.closes)
            begins = max(calendar.moment(day, calendar.opens), start.astimezone(dt.UTC))
            if begins < closes:
                yield begins, closes, pace if day in fast else 1
        day += dt.timedelta(days=1)
