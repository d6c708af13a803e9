"""Adding up what bill runs' documents came to, and carrying out what was decided of a run, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.transaction import atomic

from q2c.core.hotpath import fetch_rows
from q2c.transactions.bill_runs import KIND, MEASURES, BillRun, BillRunDelta
from q2c.transactions.models import SET_ASIDE

BATCH = 5_000
AT_ONCE = 500
_LOCK = 0x51326308  # whoever adds up takes it first
_WORK = 0x513263  # with the run: whoever carries out what was decided of it
_COLUMNS = [f"{measure}_{of}" for measure in MEASURES for of in ("count", "amount")]
_SUMS = ", ".join(
    f"coalesce(sum(t.{of}) FILTER (WHERE t.measure = '{measure}'), 0)" for measure in MEASURES
    for of in ("count", "amount")
)  # fmt: skip
_ROLL_UP = f"""
    WITH taken AS (
        DELETE FROM transactions_billrundelta WHERE id IN (
            SELECT id FROM transactions_billrundelta ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING *),
    parts AS (
        INSERT INTO transactions_billrunpart AS p
            (run_id, document_type, currency, last_at, late_count, {", ".join(_COLUMNS)})
        SELECT t.run_id, t.document_type, t.currency,
               max(t.at) FILTER (WHERE t.measure IN ('received', 'again', 'ignored')),
               coalesce(sum(t.count) FILTER (WHERE t.measure = 'received' AND t.at > r.decided_at), 0), {_SUMS}
          FROM taken t JOIN transactions_billrun r ON r.id = t.run_id
         GROUP BY t.run_id, t.document_type, t.currency ORDER BY 1, 2, 3
        ON CONFLICT (run_id, document_type, currency) DO UPDATE SET late_count = p.late_count + excluded.late_count,
            last_at = greatest(p.last_at, excluded.last_at),
            {", ".join(f"{column} = p.{column} + excluded.{column}" for column in _COLUMNS)})
    SELECT run_id, count(*) FROM taken GROUP BY 1
"""
# Whoever waits at the gate stands aside; what a worker has at this moment, or what is paused too, comes by itself.
_WAKE = """
    WITH piece AS MATERIALIZED (
        SELECT t.id FROM transactions_businesstransaction t
         WHERE t.bill_run_id = %(run)s AND t.id > %(after)s ORDER BY t.id LIMIT %(limit)s),
    woken AS (
        UPDATE transactions_workitem w SET available_at = now(), probe_count = 0 FROM piece
         WHERE w.transaction_id = piece.id AND w.worker = '' AND w.available_at = %(aside)s
        RETURNING w.transaction_id, w.flow),
    said AS (UPDATE transactions_businesstransaction t SET waits_for = '' FROM woken WHERE t.id = woken.transaction_id)
    SELECT (SELECT count(*) FROM piece), (SELECT max(id::text)::uuid FROM piece),
           (SELECT coalesce(array_agg(DISTINCT flow), '{}') FROM woken)
"""
_PIECE = """
    SELECT t.id FROM transactions_businesstransaction t
     WHERE t.bill_run_id = %s AND t.id > %s AND t.state NOT IN ('completed', 'cancelled') ORDER BY t.id LIMIT %s
"""
# Only what nobody carries and of which nothing may be posted: the row of its work is locked, so no worker takes it.
_FREE = """
    SELECT t.id FROM transactions_businesstransaction t LEFT JOIN transactions_workitem w ON w.transaction_id = t.id
     WHERE t.id = ANY(%s) AND t.open_intent IS NULL
       AND (t.state = 'held' OR (t.state IN ('running', 'waiting') AND w.worker = '' AND w.intent IS NULL))
     ORDER BY t.id FOR UPDATE OF t
"""
_LOCK_WORK = """
    SELECT transaction_id FROM transactions_workitem
     WHERE transaction_id = ANY(%s) AND worker = '' AND intent IS NULL ORDER BY transaction_id FOR UPDATE SKIP LOCKED
"""
# In the commit that makes them wait: one whose run was released meanwhile is due at once; of a rejected run a delta of
# nothing is appended, so that beat looks at it again and gives them up. The run is locked in any case, so whoever
# decides it finds them standing aside, or they find it decided.
_MEET_DECIDED = f"""
    WITH decided AS MATERIALIZED (
        SELECT id, holds, state FROM transactions_billrun WHERE id = ANY(%(runs)s) ORDER BY id FOR SHARE),
    again AS (
        INSERT INTO transactions_billrundelta (run_id, document_type, currency, measure, count, amount, at)
        SELECT DISTINCT t.bill_run_id, {KIND.format(of="t")}, t.currency, 'held', 0, 0, now()
          FROM transactions_businesstransaction t JOIN decided d ON d.id = t.bill_run_id AND d.state = 'rejected'
         WHERE t.id = ANY(%(ids)s))
    UPDATE transactions_workitem w SET available_at = now() FROM transactions_businesstransaction t
     WHERE t.id = ANY(%(ids)s) AND w.transaction_id = t.id
       AND t.bill_run_id IN (SELECT id FROM decided WHERE NOT holds)
"""
# What may still be given up of a run, as _FREE has it.
_HAS_FREE = """
    SELECT EXISTS (
        SELECT FROM transactions_businesstransaction t LEFT JOIN transactions_workitem w ON w.transaction_id = t.id
         WHERE t.bill_run_id = %s AND t.open_intent IS NULL
           AND (t.state = 'held' OR (t.state IN ('running', 'waiting') AND w.worker = '' AND w.intent IS NULL)))
"""
_NONE = UUID(int=0)


class Ignored(NamedTuple):
    """A document that leads to no transaction, of a run."""

    run: int
    document_type: str
    currency: str
    amount: Decimal


def roll_up() -> set[int]:
    """Add up what was appended; returns the runs that it was about. One process at a time: a second one finds nothing
    to do."""
    touched: set[int] = set()
    while True:
        with atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return touched
            cursor.execute(_ROLL_UP, [BATCH])
            rows = cursor.fetchall()
        touched |= {run for run, _ in rows}
        if sum(count for _, count in rows) < BATCH:
            return touched


def note_ignored(rows: Iterable[Ignored]) -> None:
    """Documents of runs that are here and lead to nothing, in the commit that says so."""
    found = list(rows)
    if found:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO transactions_billrundelta (run_id, document_type, currency, measure, count, amount, at)"
                " SELECT r, d, c, 'ignored', 1, a, now()"
                " FROM unnest(%s::int8[], %s::text[], %s::text[], %s::numeric[]) AS n (r, d, c, a)",
                [list(column) for column in zip(*found, strict=True)],
            )


def meet_decided(run_ids: Iterable[int], transaction_ids: Iterable[UUID]) -> None:
    """These transactions have just begun to wait for their runs; one whose run is released by now is due at once, and
    one whose run is rejected by now is given up with the next look at it."""
    with connection.cursor() as cursor:
        cursor.execute(_MEET_DECIDED, {"runs": sorted(set(run_ids)), "ids": list(transaction_ids)})


def wake_piece(run: BillRun) -> tuple[int, list[str]]:
    """Make a piece of a released run's documents due, and note how far it is: the row is locked by the caller. Returns
    how many were looked at, 0 when it's done, and the flows to nudge."""
    asked = {"run": run.pk, "after": run.carried_to or _NONE, "limit": AT_ONCE, "aside": SET_ASIDE}
    ((count, last, flows),) = fetch_rows(_WAKE, asked)
    run.carried_to = last or run.carried_to
    return count, flows


def next_piece(run: BillRun) -> list[UUID]:
    """The next of a run's documents that have no end yet, as they came; [] when all were looked at."""
    return [found for (found,) in fetch_rows(_PIECE, [run.pk, run.carried_to or _NONE, AT_ONCE])]


def has_free(run: BillRun) -> bool:
    """Whether something of a rejected run can be given up yet: what came to the gate behind the pieces that were looked
    at. The caller has locked the run, so whoever comes later finds it rejected."""
    ((has_some,),) = fetch_rows(_HAS_FREE, [run.pk])
    return bool(has_some)


def has_unrolled(run: BillRun) -> bool:
    """Whether documents of it have come that aren't added up yet."""
    rows = BillRunDelta.objects.filter(run_id=run.pk, measure__in=("received", "again", "ignored"))
    return rows.exists()


def take_alone(run: BillRun) -> bool:
    """Whether this transaction is the one that carries a run's work out now; others leave it to it."""
    ((is_mine,),) = fetch_rows("SELECT pg_try_advisory_xact_lock(%s, %s)", [_WORK, run.pk % 2**31])
    return bool(is_mine)


def cancel_free(transaction_ids: list[UUID], *, why: str) -> list[UUID]:
    """Cancel those of these that are held or wait, and of which nothing may be posted: law 4. Returns them. The
    caller's transaction locks them."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_WORK, [transaction_ids])
        unclaimed = {row[0] for row in cursor.fetchall()}
        cursor.execute(_FREE, [transaction_ids])
        free = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "UPDATE transactions_businesstransaction SET state = 'cancelled', state_at = now(), waits_for = %s"
            " WHERE id = ANY(%s) AND (state = 'held' OR id = ANY(%s)) RETURNING id",
            [why[:300], free, sorted(unclaimed)],
        )
        done = [row[0] for row in cursor.fetchall()]
        cursor.execute("DELETE FROM transactions_workitem WHERE transaction_id = ANY(%s)", [done])
        cursor.execute("DELETE FROM transactions_dependency WHERE transaction_id = ANY(%s)", [done])
    return sorted(done)
