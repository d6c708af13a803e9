"""Declared totals: what feeds say of themselves, put down before anything is delivered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, Sum
from django.utils import timezone

from q2c.reconciliation.models import FeedDocument

CHUNK = 2000


@dataclass(frozen=True)
class FeedTotal:
    """Documents of one type and currency of a feed: how many, with how many lines, and their unrounded sum."""

    feed: str
    document_type: str
    currency: str
    count: int
    lines: int
    amount: Decimal


def declare_documents(documents: Iterable[FeedDocument]) -> int:
    """Put down what a file declares, a chunk at a time; a number declared again replaces the earlier one. How many."""
    waiting: list[FeedDocument] = []
    count = 0
    for document in documents:
        document.declared_at = timezone.now()
        waiting.append(document)
        count += 1
        if len(waiting) >= CHUNK:
            _write(waiting)
            waiting = []
    _write(waiting)
    return count


def declared_totals(feed: str) -> list[FeedTotal]:
    """What a feed declares, by document type and currency. Served by the unique index on feed and number."""
    rows = (
        FeedDocument.objects.filter(feed=feed)
        .values("document_type", "currency")
        .annotate(count=Count("id"), line_count=Sum("lines"), total=Sum("amount"))
        .order_by("document_type", "currency")
    )
    return [
        FeedTotal(feed, row["document_type"], row["currency"], row["count"], row["line_count"], _trim(row["total"]))
        for row in rows
    ]


def _trim(amount: Decimal) -> Decimal:
    """Without the zeros that the column adds, and never with an exponent."""
    text = f"{amount:f}"
    return Decimal(text.rstrip("0").rstrip(".")) if "." in text else amount


def _write(documents: list[FeedDocument]) -> None:
    if documents:
        FeedDocument.objects.bulk_create(
            documents,
            update_conflicts=True,
            unique_fields=["feed", "number"],
            update_fields=["document_type", "currency", "lines", "amount", "file_hash", "declared_at"],
        )
