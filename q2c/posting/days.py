"""Instants of a billing document as days where the legal entity is. Pure.

A plain date of the vendor is never shifted (ACCOUNTING section 2). A period's end is the first instant after it, so its
last day is the one before the day on which the next period begins: days of following periods neither overlap nor leave
a gap, whatever the clocks do.
"""

from __future__ import annotations

import datetime as dt
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine

T = TypeVar("T", Invoice, CreditMemo)
_DAY = dt.timedelta(days=1)
# A platform that counts months in UTC moves a midnight of summer to 23:00 of the evening before in winter.
_CLOCKS = dt.timedelta(hours=1)


def with_days(document: T, time_zone: str) -> T:
    """The document with the days of its instants: due date, first and last day of each line's service."""
    zone = ZoneInfo(time_zone)
    changes: dict[str, object] = {}
    if any(line.service_from is not None and line.service_start is None for line in document.lines):
        changes["lines"] = tuple(_with_service(line, zone) for line in document.lines)
    if isinstance(document, Invoice) and document.due_at is not None and document.due_date is None:
        changes["due_date"] = document.due_at.astimezone(zone).date()
    return msgspec.structs.replace(document, **changes) if changes else document


def last_service_day(document: Invoice | CreditMemo, time_zone: str) -> dt.date | None:
    """The last day on which anything of the document was served; None where it doesn't say."""
    zone = ZoneInfo(time_zone)
    days = [_with_service(line, zone).service_end for line in document.lines]
    return max((day for day in days if day is not None), default=None)


def _with_service(line: InvoiceLine, zone: ZoneInfo) -> InvoiceLine:
    if line.service_from is None or line.service_until is None or line.service_start is not None:
        return line
    start = _first_day(line.service_from, zone)
    end = max(start, _first_day(line.service_until, zone) - _DAY)
    return msgspec.structs.replace(line, service_start=start, service_end=end)


def _first_day(boundary: dt.datetime, zone: ZoneInfo) -> dt.date:
    return (boundary + _CLOCKS).astimezone(zone).date()
