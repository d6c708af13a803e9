"""Revenue: what was promised and when it's earned. Made by whichever system owns revenue; we carry it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from q2c.canonical.base import Currency, Document, Source


class PerformanceObligation(Document):
    source: Source
    contract_id: str
    sku: str
    currency: Currency
    allocated: Decimal


class ScheduleLine(Document):
    period: str
    amount: Decimal


class RevenueSchedule(Document):
    source: Source
    obligation_id: str
    currency: Currency
    start_date: dt.date
    end_date: dt.date
    lines: tuple[ScheduleLine, ...]
