"""Lineage: which document came from which. Written by COPY, walked from any document in both directions."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

_COLUMNS = (
    "transaction_id, sequence, step, source_system, source_type, source_id, target_system, target_type,"
    " target_id, amount, currency, legal_entity_code, relation, at"
)
_ADD = f"""
INSERT INTO transactions_lineagelink ({_COLUMNS})
SELECT %s, coalesce(max(sequence), -1) + 1, {", ".join(["%s"] * 12)} FROM transactions_lineagelink
WHERE transaction_id = %s ON CONFLICT DO NOTHING
"""
HOPS_MAX = 12
LINKS_MAX = 400


@dataclass(frozen=True)
class LinkRow:
    """A link to be stored: its transaction, whose entity may see it, and the hop (`q2c.flows.told.Link`)."""

    transaction_id: UUID
    legal_entity_code: str
    link: Any


@dataclass(frozen=True)
class Hop:
    """A stored link, as screens and the API read it."""

    transaction_id: UUID
    step: str
    source: tuple[str, str, str]  # system, type, id
    target: tuple[str, str, str]
    amount: Decimal | None
    currency: str
    legal_entity_code: str
    relation: str
    at: dt.datetime


def store_links(rows: list[LinkRow], at: dt.datetime) -> None:
    """Store the links of a batch in the order given. Runs in the caller's transaction."""
    if not rows:
        return
    places: dict[UUID, int] = {}
    with connection.cursor() as cursor, cursor.copy(f"COPY transactions_lineagelink ({_COLUMNS}) FROM STDIN") as copy:
        for row in rows:
            place = places[row.transaction_id] = places.get(row.transaction_id, -1) + 1
            copy.write_row((row.transaction_id, place, *_told(row, at)))


def add_link(row: LinkRow, at: dt.datetime) -> None:
    """Store one more link of a transaction that ended before, after those that it has. Where another process adds one
    to it in the same moment, this one isn't stored. Runs in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [row.transaction_id, *_told(row, at), row.transaction_id])


def _told(row: LinkRow, at: dt.datetime) -> tuple[Any, ...]:
    hop = row.link
    return (
        hop.step, hop.source_system, hop.source_type, hop.source_id, hop.target_system, hop.target_type, hop.target_id,
        hop.amount, hop.currency, row.legal_entity_code, hop.relation, at,
    )  # fmt: skip


_WALK = """
WITH RECURSIVE walk AS (
    SELECT %(system)s::text AS system, %(type)s::text AS type, %(id)s::text AS id, 0 AS depth
    UNION
    SELECT n.system, n.type, n.id, w.depth + 1 FROM walk w CROSS JOIN LATERAL (
        SELECT l.target_system AS system, l.target_type AS type, l.target_id AS id FROM transactions_lineagelink l
        WHERE l.source_id = w.id AND l.source_type = w.type AND l.source_system = w.system
        UNION ALL
        SELECT l.source_system, l.source_type, l.source_id FROM transactions_lineagelink l
        WHERE l.target_id = w.id AND l.target_type = w.type AND l.target_system = w.system
    ) n WHERE w.depth < %(hops)s
), nodes AS (SELECT DISTINCT system, type, id FROM walk LIMIT %(links)s)
SELECT DISTINCT l.transaction_id, l.step, l.source_system, l.source_type, l.source_id, l.target_system, l.target_type,
    l.target_id, l.amount, l.currency, l.legal_entity_code, l.relation, l.at
FROM nodes n JOIN transactions_lineagelink l
  ON l.source_id = n.id AND l.source_type = n.type AND l.source_system = n.system
ORDER BY l.at, l.transaction_id LIMIT %(links)s
"""


def trace(*, system: str, document_type: str, document_id: str, hops: int = HOPS_MAX) -> list[Hop]:
    """Every hop reachable from a document, in both directions, oldest first. Row visibility is the caller's
    question."""
    with connection.cursor() as cursor:
        cursor.execute(
            _WALK, {"system": system, "type": document_type, "id": document_id, "hops": hops, "links": LINKS_MAX}
        )
        return [Hop(r[0], r[1], tuple(r[2:5]), tuple(r[5:8]), *r[8:]) for r in cursor.fetchall()]
