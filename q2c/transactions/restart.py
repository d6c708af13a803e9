"""Continuing held transactions: the machine's side of a repost. Who may, and why, is decided in the exceptions room."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.transaction import atomic

from q2c.core import audit
from q2c.transactions.counting import count_replays
from q2c.transactions.versions import came_back_sql, is_version_sql, may_come_back_sql


@dataclass(frozen=True)
class Restarted:
    """What became of one transaction of a repost: restarted, or why not. `what` it is, where it's no document."""

    transaction_id: UUID
    is_restarted: bool
    why_not: str = ""
    what: str = "document"


WHY_NOT = {
    "running": "it is running already",
    "waiting": "it is waiting and goes on by itself",
    "unknown": "its outcome isn't known yet; a look-up decides",
    "completed": "it is completed",
    "cancelled": "it was cancelled",
}


# The patience of a wait whose parent has come: who was held meanwhile, as overdue, is to go on.
CAME = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)
OVERDUE = "dependency_overdue"  # the code of that problem
REPOSTED = 3  # goes before what arrives anew


def lock(transaction_ids: Iterable[UUID]) -> None:
    """Lock these until the transaction ends, in the one order in which everybody locks them: before their cases."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM transactions_businesstransaction WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
            [list(transaction_ids)],
        )


def restart(
    transaction_ids: list[UUID], *, by: str = audit.PORTAL, why: str = "", priority: int = REPOSTED,
    as_then: bool = False,
) -> list[Restarted]:  # fmt: skip
    """Put held transactions back to work at their held step, as often as anybody likes, and keep each time with who and
    why; a double click finds nothing held and says why not.

    Its mappings are the newest, or with `as_then` those by which it was first read, until it's held again.
    An open intent comes back with the work item, so the machine looks before it makes, and not before its target has
    settled. It waits with new patience. Call it inside the transaction
    that records who reposted and closes the occurrences.
    """
    with atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, state FROM transactions_businesstransaction WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
            [transaction_ids],
        )
        states = dict(cursor.fetchall())
        held = [i for i, state in states.items() if state == "held"]
        if held:
            cursor.execute(
                "INSERT INTO transactions_workitem (transaction_id, flow, lane, lane_sequence, priority, available_at,"
                " intent, step_count, generation, intent_free_at, known_at)"
                " SELECT t.id, t.flow, t.lane, t.lane_sequence, %s,"
                " greatest(now(), least((t.open_intent->>'free_at')::timestamptz,"
                " t.state_at + (t.open_intent->>'settles')::float * interval '1 second')), t.open_intent,"
                " (SELECT coalesce(max(s.sequence) + 1, 0) FROM transactions_steprun s WHERE s.transaction_id = t.id),"
                " coalesce((t.open_intent->>'generation')::int, 0), (t.open_intent->>'free_at')::timestamptz,"
                " CASE WHEN %s THEN (SELECT min(s.change_set) FROM transactions_steprun s"
                " WHERE s.transaction_id = t.id) END"
                " FROM transactions_businesstransaction t WHERE t.id = ANY(%s)",
                [priority, as_then, held],
            )
            cursor.execute("DELETE FROM transactions_dependency WHERE transaction_id = ANY(%s)", [held])
            cursor.execute(
                "UPDATE transactions_businesstransaction SET state = 'running', state_at = now(),"
                " attempt = attempt + 1, held_step = '', problem_code = '', problem = NULL, open_intent = NULL,"
                " waits_for = ''"
                " WHERE id = ANY(%s) RETURNING flow, target_connection, legal_entity_code",
                [held],
            )
            count_replays(cursor.fetchall())
            cursor.execute(
                'INSERT INTO transactions_resubmission (transaction_id, attempt, at, "by", why, as_then)'
                " SELECT id, attempt, now(), left(%s, 150), %s, %s FROM transactions_businesstransaction"
                " WHERE id = ANY(%s) ORDER BY id",
                [by, why, as_then, held],
            )
    return [
        Restarted(i, True)
        if states.get(i) == "held"
        else Restarted(i, False, WHY_NOT.get(states.get(i, ""), "there is no such transaction"))
        for i in transaction_ids
    ]


def cancel(transaction_ids: list[UUID], *, why: str) -> list[UUID]:
    """Cancel held transactions for good (a waiver): nothing posts, the lane goes on. Returns those that were held."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_businesstransaction SET state = 'cancelled', state_at = now(), waits_for = %s"
            " WHERE id = ANY(%s) AND state = 'held' RETURNING id",
            [why[:300], transaction_ids],
        )
        done = [row[0] for row in cursor.fetchall()]
        cursor.execute("DELETE FROM transactions_dependency WHERE transaction_id = ANY(%s)", [done])
        return done


def drop_unbegun(transaction_ids: list[UUID], *, why: str) -> None:
    """Cancel those of these transactions that nobody has begun to carry: they wait behind another one in their lane.
    In the caller's transaction."""
    if not transaction_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM transactions_workitem WHERE transaction_id = ANY(%s) AND worker = ''"
            " AND intent IS NULL AND step_count = 0 RETURNING transaction_id)"
            " UPDATE transactions_businesstransaction t SET state = 'cancelled', state_at = now(), waits_for = %s"
            " FROM gone WHERE t.id = gone.transaction_id AND t.state IN ('running', 'waiting') RETURNING t.id",
            [transaction_ids, why[:300]],
        )
        gone = [row[0] for row in cursor.fetchall()]
        cursor.execute("DELETE FROM transactions_dependency WHERE transaction_id = ANY(%s)", [gone])


def revive(transaction_ids: list[UUID]) -> list[UUID]:
    """Hold cancelled transactions again (a waiver taken back), so that they can be restarted. One of which a later
    version has come stays cancelled. Returns those that are held now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_businesstransaction t SET state = 'held', state_at = now(), waits_for = ''"
            " WHERE t.id = ANY(%s) AND t.state = 'cancelled' AND NOT EXISTS ("
            " SELECT FROM transactions_businesstransaction later"
            f" WHERE {is_version_sql('later')} AND later.lane_sequence > t.lane_sequence"
            " AND later.state <> 'cancelled') RETURNING t.id",
            [transaction_ids],
        )
        return [row[0] for row in cursor.fetchall()]


def lock_behind(transaction_ids: list[UUID]) -> list[UUID]:
    """Keep what takes these movements of money back, and waits behind them, from being carried until the transaction
    ends: it rests on whether they stand. Returns those of which it's being carried already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.id, w.worker FROM transactions_businesstransaction t JOIN transactions_workitem w"
            " ON w.lane = t.lane AND w.flow = t.flow AND w.lane_sequence > t.lane_sequence"
            f" WHERE t.id = ANY(%s) AND {may_come_back_sql()} ORDER BY w.transaction_id FOR UPDATE OF w",
            [transaction_ids],
        )
        return [found for found, worker in cursor.fetchall() if worker]


def not_needed_without(transaction_ids: list[UUID]) -> list[UUID]:
    """What would have taken these movements of money back, and was cancelled behind them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT back.id FROM transactions_businesstransaction t"
            " JOIN transactions_businesstransaction back ON back.lane = t.lane AND back.flow = t.flow"
            " AND back.source_id = t.source_id AND back.lane_sequence > t.lane_sequence AND back.state = 'cancelled'"
            f" WHERE t.id = ANY(%s) AND {may_come_back_sql()} AND ({came_back_sql('back')}) ORDER BY back.id",
            [transaction_ids],
        )
        return [row[0] for row in cursor.fetchall()]


def release_waits(keys: list[str]) -> set[str]:
    """What these keys were waited for has come: whoever waits is due at once (one that has sent something since keeps
    its time), and who was held as overdue is noted (`followers`). Returns the flows to nudge."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_workitem w SET available_at = now(), probe_count = 0 FROM transactions_dependency d"
            " WHERE d.key = ANY(%s) AND w.transaction_id = d.transaction_id AND w.worker = '' AND w.intent IS NULL"
            " RETURNING w.flow",
            [keys],
        )
        flows = {row[0] for row in cursor.fetchall()}
        # After the work items: a child's own commit takes its locks in this order.
        cursor.execute("UPDATE transactions_dependency SET patience_until = %s WHERE key = ANY(%s)", [CAME, keys])
        return flows


def followers(*, limit: int = 500) -> list[UUID]:
    """What is held as overdue although what it waited for has come since."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.id FROM transactions_dependency d JOIN transactions_businesstransaction t"
            " ON t.id = d.transaction_id WHERE d.patience_until = %s AND t.state = 'held' AND t.problem_code = %s"
            " ORDER BY t.id LIMIT %s",
            [CAME, OVERDUE, limit],
        )
        return [row[0] for row in cursor.fetchall()]


def hasten(transaction_ids: list[UUID]) -> set[str]:
    """These waiting transactions look again now; one whose outcome isn't known keeps its time. Returns their flows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_workitem SET available_at = now() WHERE transaction_id = ANY(%s) AND worker = ''"
            " AND intent IS NULL RETURNING flow",
            [transaction_ids],
        )
        return {row[0] for row in cursor.fetchall()}


def resume_waiting(*, connection_code: str) -> list[str]:
    """A connection works again: what waits for it is due at once. Returns the flows to nudge."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_workitem w SET available_at = now() FROM transactions_businesstransaction t"
            " WHERE w.transaction_id = t.id AND t.target_connection = %s AND t.state IN ('waiting', 'unknown')"
            " AND w.worker = '' AND (w.intent_free_at IS NULL OR w.intent_free_at <= now()) RETURNING w.flow",
            [connection_code],
        )
        return sorted({row[0] for row in cursor.fetchall()})
