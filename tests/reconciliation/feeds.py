"""Rows of completeness for tests: a feed's day as it was compared, when it was, and a document on which both don't
agree."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django.utils import timezone

from q2c.reconciliation.models import FeedCheck, FeedDay, FeedGap
from tests import factories


def make_day(
    entity: str = "GB01", day: dt.date | None = None, *, source: int = 10, ours: int = 10, **fields: Any
) -> FeedDay:
    """Stripe's invoices of a day, of 100.00 each; today's by default. Compared just now, if not before."""
    factories.make_connection("stripe")
    if not FeedCheck.objects.filter(connection_code="stripe", document_type="invoice").exists():
        make_check()
    factories.make_entity(entity)
    day = day or timezone.now().date()
    given = {
        "source_amount": Decimal(source * 100), "our_amount": Decimal(ours * 100), "currency": "GBP",
        "period_code": f"{day:%Y-%m}", "checked_at": timezone.now(), **fields,
    }  # fmt: skip
    return FeedDay.objects.create(
        connection_code="stripe", document_type="invoice", legal_entity_code=entity, day=day, source_count=source,
        our_count=ours, **given,
    )  # fmt: skip


def make_check(document_type: str = "invoice", *, minutes: float | None = 0, **fields: Any) -> FeedCheck:
    """Stripe's feed, compared last so many minutes ago (None: never)."""
    now = timezone.now()
    given = {
        "counts_from": now - dt.timedelta(days=30),
        "checked_at": None if minutes is None else now - dt.timedelta(minutes=minutes), **fields,
    }  # fmt: skip
    return FeedCheck.objects.create(connection_code="stripe", document_type=document_type, **given)


def make_gap(entity: str = "GB01", number: str = "INV-17", **fields: Any) -> FeedGap:
    """An invoice of today that Stripe lists and that never reached us."""
    given = {"kind": "missing", "day": timezone.now().date(), "currency": "GBP", "amount": Decimal(100), **fields}
    return FeedGap.objects.create(
        connection_code="stripe", document_type="invoice", external_id=f"in_{number}", number=number,
        legal_entity_code=entity, found_at=timezone.now(), **given,
    )  # fmt: skip
