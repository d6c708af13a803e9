"""Months as contracts count them. Pure."""

from __future__ import annotations

import datetime as dt


def add_months(day: dt.date, months: int) -> dt.date:
    """The same day so many months later, or that month's last day where it has none (29, 30, 31)."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    following = dt.date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    return dt.date(year, month + 1, min(day.day, (following - dt.timedelta(days=1)).day))


def last_day(first: dt.date, months: int) -> dt.date:
    """The last day of a term: 2026-03-01 and 12 give 2027-02-28."""
    return add_months(first, months) - dt.timedelta(days=1)


def months_of(first: dt.date, last: dt.date) -> int:
    """The months from the first to the last day. Raises ValueError when they aren't whole."""
    after = last + dt.timedelta(days=1)
    months = (after.year - first.year) * 12 + after.month - first.month
    reached = after.day == first.day or (after.day < first.day and (after + dt.timedelta(days=1)).day == 1)
    if months < 1 or not reached:
        raise ValueError(f"from {first} to {last} aren't whole months")
    return months
