"""The days of a feed as they were compared last: written whole, read by the screen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from django.db.transaction import atomic

from q2c.reconciliation.comparing import Figures, Key, Sum
from q2c.reconciliation.models import FeedDay

_FIGURES = (
    "period_code", "source_count", "source_amount", "our_count", "our_amount", "waiting_count", "waiting_amount",
    "missing_count", "missing_amount", "surplus_count", "surplus_amount", "differing_count",
    "unconfirmed_count", "unconfirmed_amount", "checked_at",
)  # fmt: skip


def write_days(
    connection: str, document_type: str, first_day: dt.date, days: Mapping[Key, Figures], *, at: dt.datetime,
    period_of: Callable[[Key], str],
) -> None:  # fmt: skip
    """The figures of a feed from a day on, as of an instant. A day in which nothing is left is taken away."""
    rows = [_row(connection, document_type, key, days[key], at, period_of(key)) for key in sorted(days)]
    with atomic():
        FeedDay.objects.bulk_create(
            rows, update_conflicts=True, update_fields=_FIGURES,
            unique_fields=["connection_code", "document_type", "day", "legal_entity_code", "currency"],
        )  # fmt: skip
        kept = FeedDay.objects.filter(connection_code=connection, document_type=document_type, day__gte=first_day)
        kept.filter(checked_at__lt=at).delete()


def confirm_days(
    connection: str, document_type: str, found: Mapping[Key, Figures], confirmed: Mapping[Key, Sum], *,
    at: dt.datetime, period_of: Callable[[Key], str],
) -> None:  # fmt: skip
    """Days that were compared before take over the figures of documents that are confirmed by now. Whoever calls it
    notes in the same transaction that they were."""
    for key in sorted({*found, *confirmed}):
        mine = FeedDay.objects.select_for_update().filter(
            connection_code=connection, document_type=document_type, legal_entity_code=key.legal_entity, day=key.day,
            currency=key.currency,
        )  # fmt: skip
        row, done = mine.first(), confirmed.get(key, Sum())
        if done.count > (row.unconfirmed_count if row is not None else 0):
            continue  # it was taken away since, or compared otherwise
        more = _row(connection, document_type, key, found.get(key, Figures()), at, period_of(key))
        if row is not None:
            for name in _FIGURES[1:-1]:  # all but the period and the instant
                setattr(more, name, getattr(row, name) + getattr(more, name))
            more.pk, more.unconfirmed_count = row.pk, more.unconfirmed_count - done.count
            more.unconfirmed_amount -= done.amount
        more.save()


def _row(connection: str, document_type: str, key: Key, f: Figures, at: dt.datetime, period: str) -> FeedDay:
    return FeedDay(
        connection_code=connection, document_type=document_type, legal_entity_code=key.legal_entity, day=key.day,
        currency=key.currency, period_code=period, checked_at=at,
        source_count=f.source.count, source_amount=f.source.amount, our_count=f.ours.count, our_amount=f.ours.amount,
        waiting_count=f.waiting.count, waiting_amount=f.waiting.amount, missing_count=f.missing.count,
        missing_amount=f.missing.amount, surplus_count=f.surplus.count, surplus_amount=f.surplus.amount,
        differing_count=f.differing, unconfirmed_count=f.unconfirmed.count, unconfirmed_amount=f.unconfirmed.amount,
    )  # fmt: skip
