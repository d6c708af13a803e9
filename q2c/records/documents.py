"""Billed documents: the latest known state of each, upserted in bulk; an older status never replaces a newer one."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from q2c.canonical.progress import PROGRESS, rank_of
from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7

_STATES = [state for states in PROGRESS for state in states]  # of the same second, the one that came further counts

# A document's facts come from the event that issued it, its status from whichever event is newest: they may arrive in
# either order. A row without a hash is known by a status only. What is void stays void, whatever the instants say:
# nobody takes a void back, and billing's clock may have gone back before it.
_UPSERT = """
INSERT INTO records_billeddocument AS d
    (id, connection_code, document_type, external_id, number, legal_entity_code, customer_id, order_id, subscription_id,
     currency, amount, line_count, document_date, status, status_at, ignored_reason, feed, feed_type, rounding,
     content_hash, changed_at)
SELECT *, now() FROM unnest(
    %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::numeric[], %s::int4[], %s::date[], %s::text[], %s::timestamptz[], %s::text[], %s::text[],
    %s::text[], %s::numeric[], %s::text[])
ON CONFLICT (connection_code, document_type, external_id) DO UPDATE SET
    number = coalesce(nullif(excluded.number, ''), d.number),
    legal_entity_code = coalesce(nullif(excluded.legal_entity_code, ''), d.legal_entity_code),
    customer_id = coalesce(nullif(excluded.customer_id, ''), d.customer_id),
    order_id = coalesce(nullif(excluded.order_id, ''), d.order_id),
    subscription_id = coalesce(nullif(excluded.subscription_id, ''), d.subscription_id),
    currency = coalesce(nullif(excluded.currency, ''), d.currency),
    amount = CASE WHEN excluded.content_hash = '' THEN d.amount ELSE excluded.amount END,
    line_count = CASE WHEN excluded.content_hash = '' THEN d.line_count ELSE excluded.line_count END,
    document_date = coalesce(excluded.document_date, d.document_date),
    status = CASE WHEN d.document_type IN ('invoice', 'credit_memo') AND 'void' IN (d.status, excluded.status)
        THEN 'void'
        WHEN d.document_type IN ('refund', 'payout') AND 'failed' IN (d.status, excluded.status)
        THEN 'failed'
        WHEN d.status_at > excluded.status_at
        OR d.status_at = excluded.status_at AND d.document_type = 'invoice'
        AND coalesce(array_position(%s::text[], d.status::text), 0)
          > coalesce(array_position(%s::text[], excluded.status::text), 0)
        THEN d.status ELSE excluded.status END,
    status_at = greatest(d.status_at, excluded.status_at),
    ignored_reason = CASE WHEN excluded.content_hash = '' THEN d.ignored_reason ELSE excluded.ignored_reason END,
    feed = coalesce(nullif(excluded.feed, ''), d.feed),
    feed_type = coalesce(nullif(excluded.feed_type, ''), d.feed_type),
    rounding = CASE WHEN excluded.content_hash = '' THEN d.rounding ELSE excluded.rounding END,
    content_hash = coalesce(nullif(excluded.content_hash, ''), d.content_hash),
    changed_at = now()
"""
_SEEN = """
SELECT d.connection_code, d.document_type, d.external_id, d.status, d.status_at, d.order_id, d.ignored_reason,
    d.content_hash <> ''
FROM records_billeddocument d
JOIN unnest(%s::text[], %s::text[], %s::text[]) AS w (connection_code, document_type, external_id)
  USING (connection_code, document_type, external_id)
ORDER BY d.connection_code, d.document_type, d.external_id FOR UPDATE OF d
"""
_ARRIVED = """
INSERT INTO records_documentarrival (connection_code, document_type, legal_entity_code, hour, count)
SELECT code, kind, entity, date_trunc('hour', now()), n
FROM unnest(%s::text[], %s::text[], %s::text[], %s::int4[]) AS x (code, kind, entity, n)
"""
_PAID_TO = """
SELECT d.connection_code, d.external_id, d.legal_entity_code
FROM records_billeddocument d
JOIN unnest(%s::text[], %s::text[]) AS w (connection_code, external_id) USING (connection_code, external_id)
WHERE d.document_type = 'payment'
"""
_STATUSES = """
SELECT d.connection_code, d.external_id, d.status
FROM records_billeddocument d
JOIN unnest(%s::text[], %s::text[]) AS w (connection_code, external_id) USING (connection_code, external_id)
WHERE d.document_type IN ('invoice', 'credit_memo')
"""


_LAST = {"invoice": "void", "credit_memo": "void", "refund": "failed", "payout": "failed"}  # as the statement says it


@dataclass(frozen=True)
class Billed:
    """What an event says of one billed document. Without `content_hash` it says a status only."""

    connection_code: str
    document_type: str  # invoice, credit_memo, payment, application, refund, dispute, payout
    external_id: str
    status: str
    status_at: dt.datetime
    number: str = ""
    legal_entity_code: str = ""
    customer_id: str = ""
    order_id: str = ""
    subscription_id: str = ""
    currency: str = ""
    amount: Decimal = Decimal(0)
    line_count: int = 0
    document_date: dt.date | None = None
    dated_at: dt.datetime | None = None  # what a source says instead of a day: it becomes one where the seller is
    ignored_reason: str = ""
    feed: str = ""
    feed_type: str = ""
    rounding: Decimal = Decimal(0)
    content_hash: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one document."""
        return self.connection_code, self.document_type, self.external_id


@dataclass(frozen=True)
class Seen:
    """What was known of a document before."""

    status: str
    status_at: dt.datetime | None
    order_id: str

    ignored_reason: str = ""
    has_content: bool = False  # else only a status of it was told

    def is_ahead_of(self, billed: Billed) -> bool:
        """Whether it was newer already; of the same second, whether an invoice had come further. A void is the last,
        and so is the failure of a refund or payout, which may be told within the second of its making and before it."""
        last = _LAST.get(billed.document_type)
        if last is not None and last in (self.status, billed.status):
            return billed.status != last
        if self.status_at is None or self.status_at != billed.status_at:
            return self.status_at is not None and self.status_at > billed.status_at
        return billed.document_type == "invoice" and rank_of(self.status) > rank_of(billed.status)

    def has_heard(self, billed: Billed) -> bool:
        """Whether this very change of its status was told before."""
        return (self.status, self.status_at) == (billed.status, billed.status_at)

    def after(self, billed: Billed, ignored_reason: str) -> Seen:
        """What is known after this event, as `store_documents` will have stored it."""
        is_older = self.is_ahead_of(billed)
        return Seen(
            self.status if is_older else billed.status,
            max(billed.status_at, self.status_at or billed.status_at),
            billed.order_id or self.order_id,
            ignored_reason if billed.content_hash else self.ignored_reason,
            self.has_content or bool(billed.content_hash),
        )


def known_documents(keys: set[tuple[str, str, str]]) -> dict[tuple[str, str, str], Seen]:
    """What is known of these documents, locked for the caller's transaction."""
    if not keys:
        return {}
    rows = fetch_rows(_SEEN, [list(column) for column in zip(*sorted(keys), strict=True)])
    return {(r[0], r[1], r[2]): Seen(r[3], r[4], r[5], r[6], r[7]) for r in rows}


def count_arrivals(arrived: Iterable[Billed]) -> None:
    """Put down how many documents came that weren't known, by connection, type and entity, in the caller's transaction:
    rows that are only ever added, and rolled up on a schedule, so that no screen counts a large table."""
    counts = Counter((b.connection_code, b.document_type, b.legal_entity_code[:20]) for b in arrived)
    if counts:
        rows = [(*key, n) for key, n in sorted(counts.items())]
        fetch_rows(_ARRIVED, [list(column) for column in zip(*rows, strict=True)])


def find_statuses(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The status of these invoices and credit notes, by connection and id."""
    return {(connection, found): status for connection, found, status in fetch_rows(_STATUSES, _columns(keys))}


def find_paid_to(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """To which entity these payments went, by connection and id."""
    return {(connection, found): entity for connection, found, entity in fetch_rows(_PAID_TO, _columns(keys))}


def _columns(keys: Iterable[tuple[str, str]]) -> list[list[str]]:
    pairs = list(keys)
    return [[connection for connection, _ in pairs], [document for _, document in pairs]]


def store_documents(billed: list[Billed]) -> None:
    """Upsert these in order, in the caller's transaction. Several events of one document take several rounds."""
    waiting = list(billed)
    while waiting:
        this_round: dict[tuple[str, str, str], Billed] = {}
        rest = []
        for one in waiting:
            if one.key in this_round:
                rest.append(one)
            else:
                this_round[one.key] = one
        rows: list[tuple[Any, ...]] = [_row(this_round[key]) for key in sorted(this_round)]
        fetch_rows(_UPSERT, [*(list(column) for column in zip(*rows, strict=True)), _STATES, _STATES])
        waiting = rest


def _row(b: Billed) -> tuple[Any, ...]:
    return (
        uuid7(), b.connection_code, b.document_type, b.external_id[:120], b.number[:80], b.legal_entity_code[:20],
        b.customer_id[:120], b.order_id[:120], b.subscription_id[:120], b.currency, b.amount, b.line_count,
        b.document_date, b.status[:30], b.status_at, b.ignored_reason[:60], b.feed[:40], b.feed_type[:20], b.rounding,
        b.content_hash,
    )  # fmt: skip
