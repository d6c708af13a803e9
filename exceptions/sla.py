"""When a case is due: hours of work promised by its kind, counted on the entity's own clock. Pure."""

from __future__ import annotations

import datetime as dt

from q2c.core.workdays import YEAR, WorkCalendar


def due_at(start: dt.datetime, work: dt.timedelta, calendar: WorkCalendar | None) -> dt.datetime:
    """The instant at which `work` is used up from `start`. Without a calendar the clock never stops (platform duty)."""
    if calendar is None:
        return start + work
    left = work
    day = start.astimezone(calendar.zone).date()
    for _ in range(YEAR):
        if calendar.is_working_day(day):
            opens, closes = calendar.moment(day, calendar.opens), calendar.moment(day, calendar.closes)
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
