"""Canonical facts become transactions: which flow, which business key, which lane; written in bulk, duplicates found.

A fact that is known already (the same flow and business key) makes nothing. A changed one is a new transaction in the
same lane, its place in it given under the lane's lock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from q2c.canonical.schema import to_json
from q2c.core.hotpath import fetch_rows, lock_names
from q2c.core.ids import uuid7
from q2c.flows import urgency
from q2c.flows.bill_runs import runs_of
from q2c.transactions.counting import count_begun
from q2c.transactions.restart import drop_unbegun
from q2c.transactions.versions import SUPERSEDED

_LAST_IN_LANE = """
SELECT w.lane, coalesce((SELECT t.lane_sequence FROM transactions_businesstransaction t WHERE t.lane = w.lane
                         ORDER BY t.lane_sequence DESC LIMIT 1), 0)
FROM unnest(%s::text[]) AS w (lane)
"""
_KNOWN = """
SELECT t.flow, t.business_key, t.id FROM transactions_businesstransaction t
JOIN unnest(%s::text[], %s::text[]) AS w (flow, business_key) USING (flow, business_key)
"""
# Corrections that say again what a document said before its newest version, where nothing of that is posted. What was
# said back to before has the same key with a place behind it.
_SAID_BACK = """
SELECT t.flow, t.business_key, newest.id, newest.lane_sequence FROM transactions_businesstransaction t
  JOIN unnest(%s::text[], %s::text[]) AS w (flow, business_key) USING (flow, business_key)
  JOIN LATERAL (SELECT n.id, n.state, n.business_key, n.lane_sequence FROM transactions_businesstransaction n
                 WHERE n.lane = t.lane AND n.flow = t.flow AND n.source_id = t.source_id
                 ORDER BY n.lane_sequence DESC LIMIT 1) newest ON true
 WHERE newest.state IN ('held', 'running', 'waiting')
   AND left(newest.business_key, length(t.business_key)) <> t.business_key
"""
_INSERT = """
WITH new AS (
    INSERT INTO transactions_businesstransaction
        (id, flow, business_key, lane, lane_sequence, state_at, created_at, fact_type, fact, source_connection,
         source_type, source_id, number, event_id, legal_entity_code, customer_id, customer_name, currency, amount,
         line_count, document_date, feed, feed_type, rounding, correlation_id, origin_id, tax, service_end,
         bill_run_id)
    SELECT n.id, n.flow, n.business_key, n.lane, n.lane_sequence, now(), now(), n.fact_type,
         n.fact, n.source_connection, n.source_type, n.source_id, n.number, n.event_id, n.legal_entity,
         n.customer_id, n.customer_name, n.currency, n.amount, n.line_count, n.document_date, n.feed,
         n.feed_type, n.rounding, n.correlation_id, n.origin_id, n.tax, n.service_end,
         n.bill_run
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::int8[], %s::text[], %s::bytea[], %s::text[],
                %s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[],
                %s::numeric[], %s::int4[], %s::date[], %s::text[], %s::text[], %s::numeric[], %s::text[], %s::uuid[],
                %s::numeric[], %s::date[], %s::int8[])
        AS n (id, flow, business_key, lane, lane_sequence, fact_type, fact, source_connection, source_type, source_id,
              number, event_id, legal_entity, customer_id, customer_name, currency, amount, line_count, document_date,
              feed, feed_type, rounding, correlation_id, origin_id, tax, service_end, bill_run)
    ON CONFLICT (flow, business_key) DO NOTHING
    RETURNING id, flow, lane, lane_sequence)
INSERT INTO transactions_workitem (transaction_id, flow, lane, lane_sequence, priority, available_at)
SELECT new.id, new.flow, new.lane, new.lane_sequence, p.priority, now()
FROM new JOIN unnest(%s::uuid[], %s::int2[]) AS p (id, priority) ON p.id = new.id
RETURNING transaction_id
"""


@dataclass(frozen=True)
class Fact:
    """One fact for one flow, with what lists, searches and totals show of it."""

    flow: str
    business_key: str
    lane: str
    document: Any  # canonical
    source_connection: str
    source_type: str
    source_id: str
    number: str = ""
    legal_entity_code: str = ""
    customer_id: str = ""
    customer_name: str = ""
    currency: str = ""
    amount: Decimal | None = None
    line_count: int = 0
    document_date: dt.date | None = None
    tax: Decimal | None = None
    service_end: dt.date | None = None
    feed: str = ""
    feed_type: str = ""
    rounding: Decimal = Decimal(0)
    event_id: UUID | None = None
    correlation_id: str = ""
    origin_id: UUID | None = None
    priority: int = 5
    is_correction: bool = False  # of what is held: may say again what a version before the newest one said


@dataclass(frozen=True)
class Dispatched:
    """What became of the facts: transaction ids in the order of the facts, those that are new, and their flows."""

    ids: tuple[UUID, ...]
    new: frozenset[UUID]
    flows: frozenset[str]


def dispatch_facts(facts: Sequence[Fact]) -> Dispatched:
    """Make the transactions and work items of these facts: four statements for any number, in the caller's transaction.

    A fact that has its transaction already gets that one's id; a correction back to what a document said before the
    version that is held is a version of its own. Must run inside a transaction, since lanes are locked.
    """
    if not facts:
        return Dispatched((), frozenset(), frozenset())
    lock_names({f.lane for f in facts})
    facts = _as_versions(facts)
    unique = {(f.flow, f.business_key): f for f in facts}
    known = _find_known(unique)
    fresh = [(uuid7(), fact) for key, fact in unique.items() if key not in known]
    if fresh:
        _insert(fresh)
        known |= {(fact.flow, fact.business_key): new_id for new_id, fact in fresh}
    return Dispatched(
        ids=tuple(known[f.flow, f.business_key] for f in facts),
        new=frozenset(new_id for new_id, _ in fresh),
        flows=frozenset(fact.flow for _, fact in fresh),
    )


def _as_versions(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Corrections are read from billing as it is now, so one that is known from before the newest version is newer than
    that: a version of its own, instead of one that nobody has begun to carry."""
    asked = [f for f in facts if f.is_correction]
    if not asked:
        return facts
    rows = fetch_rows(_SAID_BACK, [[f.flow for f in asked], [f.business_key for f in asked]])
    said_back = {(flow, key): (newest, place) for flow, key, newest, place in rows}
    drop_unbegun([newest for newest, _ in said_back.values()], why=f"{SUPERSEDED}billing took it back")
    return [
        replace(f, business_key=f"{f.business_key}-{said_back[f.flow, f.business_key][1]}")
        if f.is_correction and (f.flow, f.business_key) in said_back
        else f
        for f in facts
    ]


def _find_known(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    pairs = list(keys)
    rows = fetch_rows(_KNOWN, [[flow for flow, _ in pairs], [key for _, key in pairs]])
    return {(flow, key): found for flow, key, found in rows}


def _insert(fresh: list[tuple[UUID, Fact]]) -> None:
    lanes = sorted({fact.lane for _, fact in fresh})
    last: dict[str, int] = dict(fetch_rows(_LAST_IN_LANE, [lanes]))
    runs = runs_of([fact for _, fact in fresh])
    rows = []
    for (new_id, fact), run in zip(fresh, runs, strict=True):
        last[fact.lane] += 1
        rows.append(
            (
                new_id, fact.flow, fact.business_key[:250], fact.lane[:250], last[fact.lane],
                type(fact.document).__name__, to_json(fact.document), fact.source_connection, fact.source_type,
                fact.source_id, fact.number[:80], fact.event_id, fact.legal_entity_code[:20], fact.customer_id[:120],
                fact.customer_name[:200], fact.currency, fact.amount, fact.line_count, fact.document_date,
                fact.feed[:40],
                fact.feed_type[:20], fact.rounding, fact.correlation_id or str(fact.event_id or new_id), fact.origin_id,
                fact.tax, fact.service_end, run,
            )
        )  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    priorities = urgency.priorities_of([fact for _, fact in fresh])
    written = fetch_rows(_INSERT, [*columns, columns[0], priorities])
    if len(written) != len(fresh):
        raise RuntimeError("another lane holds the same business key")  # the key names the lane, so this can't be
    count_begun((fact.flow, fact.legal_entity_code) for _, fact in fresh)
