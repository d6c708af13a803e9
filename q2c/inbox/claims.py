"""Leasing events to translate: fair over connections, suspects of a crash in ever smaller groups, verdicts fenced."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from q2c.core.hotpath import fetch_rows

LEASE_SECONDS = 20
QUARANTINE_AT = 7  # claims without a verdict; the last three of them alone in a worker

_TAKE = """
UPDATE inbox_inboundkey k SET token = k.token + 1, attempt_count = least(k.attempt_count + 1, 1000),
    available_at = statement_timestamp() + %(lease)s * interval '1 second'
FROM due WHERE k.id = due.id
RETURNING k.id, k.token, k.attempt_count, k.connection_id, k.event_id, k.body_key, k.customer_key_id, k.is_backfill,
    k.received_at
"""
# Each connection gives at most its share, so one that storms doesn't keep the others waiting.
_CLAIM = (
    """
WITH due AS MATERIALIZED (
    SELECT k.id FROM connectors_connection c CROSS JOIN LATERAL (
        SELECT id FROM inbox_inboundkey
        WHERE connection_id = c.id AND verdict = 'received' AND attempt_count = 0
          AND available_at <= statement_timestamp()
        ORDER BY available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) k)
"""
    + _TAKE
)
_CLAIM_SUSPECTS = (
    """
WITH due AS MATERIALIZED (
    SELECT id FROM inbox_inboundkey
    WHERE verdict = 'received' AND attempt_count = %(attempts)s AND available_at <= statement_timestamp()
    ORDER BY available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
    + _TAKE
)
_CLAIM_THESE = (
    """
WITH due AS MATERIALIZED (
    SELECT id FROM inbox_inboundkey WHERE event_id = ANY(%(events)s) AND verdict = 'received' FOR UPDATE SKIP LOCKED)
"""
    + _TAKE
)
# Of several keys of one event (there's one, in all that we know) the first.
_READ_THESE = """
SELECT DISTINCT ON (k.event_id) k.id, k.token, 0, k.connection_id, k.event_id, k.body_key, k.customer_key_id, true,
    k.received_at
FROM inbox_inboundkey k JOIN inbox_inboundevent e ON e.id = k.event_id
WHERE k.event_id = ANY(%s) ORDER BY k.event_id, k.id
"""
_BODIES = """
SELECT id, event_type, source_id, received_at, body FROM inbox_inboundevent
WHERE id = ANY(%(ids)s) AND id >= %(least)s AND id <= %(most)s
"""
_HOLD = "SELECT id, token FROM inbox_inboundkey WHERE id = ANY(%s) AND verdict = 'received' ORDER BY id FOR UPDATE"
_LATER = """
UPDATE inbox_inboundkey k SET available_at = statement_timestamp() + n.wait * interval '1 second', attempt_count = 0
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[]) AS n (id, token, wait)
WHERE k.id = n.id AND k.token = n.token AND k.verdict = 'received'
"""


@dataclass(frozen=True)
class Claimed:
    """One leased event with its sealed body; `is_gone`: its month was let go, and the key is all that is left."""

    key_id: int
    token: int
    attempts: int
    connection_id: int
    event_id: UUID
    body_key: bytes
    customer_key_id: UUID | None
    event_type: str
    source_id: str
    received_at: dt.datetime
    body: bytes
    is_backfill: bool = False
    is_gone: bool = False


def claim_events(limit: int) -> list[Claimed]:
    """Lease due events: what a dead translator left behind first, in smaller groups each time; then fresh ones, at most
    `limit` per connection."""
    suspects = fetch_rows(
        "SELECT min(attempt_count) FROM inbox_inboundkey"
        " WHERE verdict = 'received' AND attempt_count > 0 AND available_at <= statement_timestamp()"
    )[0][0]
    rows: list[tuple[Any, ...]] = []
    if suspects is not None:
        size = max(1, min(limit, 64 >> 2 * (suspects - 1)))
        rows = fetch_rows(_CLAIM_SUSPECTS, {"lease": LEASE_SECONDS, "limit": size, "attempts": suspects})
    return _with_bodies(rows or fetch_rows(_CLAIM, {"lease": LEASE_SECONDS, "limit": limit}))


def claim_these(event_ids: Sequence[UUID]) -> list[Claimed]:
    """Lease particular events that have no verdict yet and that nobody is writing to, whatever their due time."""
    return _with_bodies(fetch_rows(_CLAIM_THESE, {"lease": LEASE_SECONDS, "events": list(event_ids)}))


def read_these(event_ids: Sequence[UUID]) -> list[Claimed]:
    """Particular events as a translator would have them, claimed by nobody: for a dry run. Those that are gone are left
    out."""
    rows = fetch_rows(_READ_THESE, [list(event_ids)])
    return _with_bodies(rows)


def _with_bodies(rows: list[tuple[Any, ...]]) -> list[Claimed]:
    if not rows:
        return []
    ids = [r[4] for r in rows]
    found = fetch_rows(_BODIES, {"ids": ids, "least": min(ids), "most": max(ids)})
    bodies = {r[0]: r[1:] for r in found}
    claimed = []
    for key_id, token, attempts, connection_id, event_id, body_key, customer_key, is_backfill, received_at in rows:
        event_type, source_id, at, body = bodies.get(event_id, ("", "", received_at, b""))
        claimed.append(Claimed(
            key_id, token, attempts, connection_id, event_id, bytes(body_key), customer_key,
            event_type, source_id, at, body, is_backfill, is_gone=event_id not in bodies,
        ))  # fmt: skip
    return sorted(claimed, key=lambda c: c.event_id)


def hold_claims(tokens: dict[int, int]) -> set[int]:
    """Lock these keys for the transaction; the ids of those that are still ours (no newer token, no verdict)."""
    rows = fetch_rows(_HOLD, [sorted(tokens)])
    return {key_id for key_id, token in rows if tokens[key_id] == token}


def release_claims(waits: dict[int, tuple[int, float]]) -> None:
    """Give events back, due after some seconds: key id -> (token, seconds). Not a failed attempt."""
    if waits:
        ids = sorted(waits)
        fetch_rows(_LATER, [ids, [waits[i][0] for i in ids], [waits[i][1] for i in ids]])
