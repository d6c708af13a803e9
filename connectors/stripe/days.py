"""Days of a legal entity as instants of Stripe's. Pure.

Stripe counts billing periods from the anchor's day of the month in UTC, and knows nothing of the seller's zone: an
anchor at local midnight falls on another UTC day in most of the world, and moves by an hour with the clocks. So a
subscription is anchored at the first whole UTC hour at which the UTC day and the entity's day are the same in every
season (00:00 in London and Tokyo, 05:00 in New York, 08:00 in Los Angeles): each period then begins on the day of the
month that the contract names, in both.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from zoneinfo import ZoneInfo

_HOUR = dt.timedelta(hours=1)


def begin_day(day: dt.date, time_zone: str) -> dt.datetime:
    """The instant at which we let a period begin on a day where the entity is; in UTC."""
    return dt.datetime.combine(day, dt.time(_common_hour(time_zone, day.year)), dt.UTC)


def has_begun(day: dt.date, time_zone: str, *, now: dt.datetime) -> bool:
    """Whether a day has begun where the entity is, by its own clocks."""
    return day <= now.astimezone(ZoneInfo(time_zone)).date()


@cache
def _common_hour(time_zone: str, year: int) -> int:
    """The first UTC hour of a day that belongs to the same day in a zone, whatever its clocks do within two years."""
    new_year, zone = dt.datetime(year, 1, 1, 12, tzinfo=dt.UTC), ZoneInfo(time_zone)
    offsets = [
        (new_year + dt.timedelta(weeks=week)).astimezone(zone).utcoffset() or dt.timedelta() for week in range(105)
    ]
    return max(0, -(min(offsets) // _HOUR))
