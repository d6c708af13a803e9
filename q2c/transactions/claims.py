"""Leasing due work: one statement claims the heads of their lanes and raises their fencing tokens."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from q2c.core.hotpath import once_there
from q2c.transactions.workers import LAPSES_SECONDS

# An item is a lane's head when nothing earlier in its lane and flow is still open: a held one parks its lane, nothing
# else. It's asked once for each item looked at, by the lane's index alone: as an anti-join, or with the flow to look
# for, a table that is young or quickly filled is read whole for every item, as its statistics are of yesterday.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT w.transaction_id FROM transactions_workitem w
    WHERE w.flow = %(flow)s AND w.worker = '' AND w.available_at <= now() AND w.crash_group {group}
      AND (
        SELECT t.lane_sequence FROM transactions_businesstransaction t
        WHERE t.lane = w.lane AND t.lane_sequence < w.lane_sequence AND t.flow || '' = w.flow
          AND t.state NOT IN ('completed', 'cancelled')
        ORDER BY t.lane_sequence LIMIT 1) IS NULL
    ORDER BY w.priority, w.available_at LIMIT %(limit)s
    FOR UPDATE OF w SKIP LOCKED)
UPDATE transactions_workitem w SET worker = %(worker)s, token = w.token + 1, batch_size = (SELECT count(*) FROM due)
FROM due WHERE w.transaction_id = due.transaction_id
RETURNING w.transaction_id, w.token, w.intent, w.generation, w.wait_count, w.probe_count, w.step_count,
    w.parked_at, {after_restore}, w.since, w.known_at, w.priority, w.unanswered_count, w.lane_sequence
"""

# Whether the database was restored from a backup lately: then the targets may hold what it has forgotten.
_AFTER_RESTORE = "EXISTS (SELECT 1 FROM transactions_restore r WHERE r.looks_until > now())"

# Items of a worker that stopped beating: at once without an open intent; with one, after its send deadline and the
# target's settling time. Deaths count only for an item that was alone in its worker; others come back in halves.
_RELEASE_DEAD = """
UPDATE transactions_workitem w SET
    worker = '',
    available_at = least(w.available_at, now()),
    death_count = w.death_count + CASE WHEN w.batch_size = 1 THEN 1 ELSE 0 END,
    crash_group = greatest(w.batch_size / 2, 1)
WHERE w.worker <> '' AND w.flow = %(flow)s AND coalesce(w.intent_free_at, now()) <= now()
  AND NOT EXISTS (SELECT 1 FROM transactions_worker a WHERE a.id = w.worker
                  AND a.beat_at > now() - %(lapses)s * interval '1 second')
RETURNING w.transaction_id, w.death_count
"""


@dataclass(frozen=True)
class Claim:
    """One leased item."""

    transaction_id: UUID
    token: int
    intent: dict[str, Any] | None
    generation: int
    wait_count: int
    probe_count: int
    step_count: int
    parked_at: str
    is_after_restore: bool
    since: dt.datetime | None = None  # since when it's carried: begun, or reposted
    known_at: int | None = None  # the change set by whose mappings it is reposted
    priority: int = 5
    unanswered_count: int = 0
    lane_sequence: int = 0  # unknown of what is only read


def claim_batch(*, flow: str, worker: str, limit: int) -> list[Claim]:
    """Lease at most `limit` due items of a flow. Items whose worker died come alone or in halves, before the others."""
    with connection.cursor() as cursor:
        for group, size in _groups(cursor, flow, limit):
            cursor.execute(
                _CLAIM.format(group=group, after_restore=_AFTER_RESTORE),
                {"flow": flow, "worker": worker, "limit": size},
            )
            rows = cursor.fetchall()
            if rows:
                return [_claim(r) for r in rows]
    return []


def claim_these(ids: list[UUID], *, worker: str) -> list[Claim]:
    """Lease particular free items, whatever their due time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_workitem w SET worker = %s, token = w.token + 1, batch_size = 0"
            " WHERE w.transaction_id = ANY(%s) AND w.worker = ''"
            " RETURNING w.transaction_id, w.token, w.intent, w.generation, w.wait_count, w.probe_count, w.step_count,"
            f" w.parked_at, {_AFTER_RESTORE}, w.since, w.known_at, w.priority, w.unanswered_count, w.lane_sequence",
            [worker, ids],
        )
        return [_claim(r) for r in cursor.fetchall()]


def _claim(row: tuple) -> Claim:
    return Claim(row[0], row[1], json.loads(row[2]) if isinstance(row[2], str) else row[2], *row[3:])


def _groups(cursor: Any, flow: str, limit: int) -> list[tuple[str, int]]:
    cursor.execute(
        "SELECT crash_group FROM transactions_workitem WHERE flow = %s AND worker = '' AND crash_group > 0"
        " AND available_at <= now() ORDER BY crash_group LIMIT 1",
        [flow],
    )
    row = cursor.fetchone()
    suspects = [("> 0", min(row[0], limit))] if row else []
    return [*suspects, ("= 0", limit)]


def release_dead(flow: str) -> list[tuple[UUID, int]]:
    """Free what dead workers held of this flow. Returns (transaction, deaths while alone) of each item freed."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE_DEAD, {"flow": flow, "lapses": LAPSES_SECONDS})
        return cursor.fetchall()


# Due once no earlier send of it can be under way any more: else a look-up finds nothing, and it's sent twice.
_RELEASE = """
UPDATE transactions_workitem SET worker = '', available_at = greatest(available_at, intent_free_at)
WHERE worker = %s AND worker <> ''
"""


def release_items(ids: list[UUID], *, worker: str) -> None:
    """Give leased items back untouched (a round that couldn't start)."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_RELEASE} AND transaction_id = ANY(%s)", [worker, ids])


def release_all(worker: str) -> None:
    """Give back whatever this worker still holds, a claim whose answer was lost included: what a living worker holds is
    given to no other."""

    def release() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RELEASE, [worker])

    once_there(release)


def next_due_at(flow: str) -> dt.datetime | None:
    """When the flow's next unleased item is due, for the nudge of a delay."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(available_at) FROM transactions_workitem WHERE flow = %s AND worker = ''", [flow])
        return cursor.fetchone()[0]


_RAISE = """
WITH old AS (
    SELECT w.transaction_id FROM unnest(%(flows)s::text[]) AS f (flow), generate_series(1, 9) AS p (priority),
    LATERAL (SELECT transaction_id FROM transactions_workitem w
              WHERE w.flow = f.flow AND w.priority = p.priority AND w.worker = ''
                AND w.available_at < now() - %(seconds)s * interval '1 second'
              ORDER BY w.available_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED) w)
UPDATE transactions_workitem w SET priority = w.priority - 10 FROM old WHERE w.transaction_id = old.transaction_id
"""
AGES_SECONDS = 900.0
RAISED_MAX = 50


def raise_old(flows: list[str]) -> int:
    """Let what has been due for a quarter of an hour be claimed first (ten priorities higher), a few of each flow and
    priority at a time: a long back-fill moves on beside urgent work, and doesn't overtake all of it. Its calls stay in
    their lane. Gives how many."""
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, {"flows": flows, "seconds": AGES_SECONDS, "limit": RAISED_MAX})
        return cursor.rowcount
