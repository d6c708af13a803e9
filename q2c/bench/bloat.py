"""What a million updates leave of the table that is updated most: the queue of work, with the storage settings that
the portal gives it, beside a twin with PostgreSQL's own, both worked on in turns in the same run."""

from __future__ import annotations

import time

from django.db import connection

from q2c.bench.figures import Figure, Report

OURS, TWIN = "transactions_workitem", "bench_workitem"
ITEMS, UPDATES, BATCH = 10_000, 1_000_000, 200

_ITEMS = """
    INSERT INTO transactions_workitem (transaction_id, flow, lane, lane_sequence, available_at)
    SELECT md5('bloat' || g)::uuid, 'bloat', 'bloat:' || g, 1, now() FROM generate_series(1, %s) AS g
"""
# What a batch does to its rows: it's claimed, its intents are made durable, and it's given back to wait.
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT transaction_id FROM {table} WHERE flow = 'bloat' AND worker = ''
         ORDER BY priority, available_at LIMIT %s)
    UPDATE {table} w SET worker = 'bench', token = w.token + 1, batch_size = 200 FROM due
     WHERE w.transaction_id = due.transaction_id RETURNING w.transaction_id
"""
_INTENT = """
    UPDATE {table} SET intent = jsonb_build_object('step', 'post', 'external_id', lane, 'key', md5(lane)),
           intent_free_at = now() + interval '40 seconds', step_count = 3 WHERE transaction_id = ANY(%s)
"""
_BACK = """
    UPDATE {table} SET worker = '', available_at = clock_timestamp(), intent = NULL, intent_free_at = NULL,
           wait_count = wait_count + 1 WHERE transaction_id = ANY(%s)
"""
_SAYS = """
    SELECT pg_table_size(c.oid), pg_indexes_size(c.oid), s.n_tup_upd, s.n_tup_hot_upd, s.n_dead_tup, s.autovacuum_count
      FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.relname = %s
"""


def measure_bloat(report: Report) -> None:
    """`queue_bloat_after_1e6_updates`: how many times its first size the queue with its indexes has, when each of
    10,000 items was updated a hundred times, beside the same table without the portal's storage settings."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TWIN}")
        cursor.execute(f"DELETE FROM {OURS}")
        cursor.execute(f"VACUUM FULL ANALYZE {OURS}")
        cursor.execute(_ITEMS, [ITEMS])
        cursor.execute(f"CREATE TABLE {TWIN} (LIKE {OURS} INCLUDING ALL)")  # without the table's storage parameters
        cursor.execute(f"INSERT INTO {TWIN} SELECT * FROM {OURS}")
        cursor.execute("SELECT pg_stat_force_next_flush()")
        before = {table: _says(table) for table in (OURS, TWIN)}
        took = dict.fromkeys((OURS, TWIN), 0.0)
        for _ in range(UPDATES // (3 * BATCH)):
            for table in (OURS, TWIN):
                began = time.perf_counter()
                _work(table)
                took[table] += time.perf_counter() - began
        cursor.execute("SELECT pg_stat_force_next_flush()")
        after = {table: _says(table) for table in (OURS, TWIN)}
        cursor.execute(f"DROP TABLE {TWIN}")
        cursor.execute(f"DELETE FROM {OURS} WHERE flow = 'bloat'")
    report.add(
        Figure(
            "queue_bloat_after_1e6_updates",
            [_size(after[OURS]) / _size(before[OURS])],
            "times",
            "PostgreSQL's own storage settings",
            [_size(after[TWIN]) / _size(before[TWIN])],
            is_less_better=True,
            note="; ".join(_tell(name, before[table], after[table], took[table])
                           for name, table in (("ours", OURS), ("the other", TWIN))),
        )
    )  # fmt: skip


def _work(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM.format(table=table), [BATCH])
        ids = [row[0] for row in cursor.fetchall()]
        cursor.execute(_INTENT.format(table=table), [ids])
        cursor.execute(_BACK.format(table=table), [ids])


def _says(table: str) -> tuple[int, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_SAYS, [table])
        row: tuple[int, ...] = cursor.fetchone()
        return row


def _size(row: tuple[int, ...]) -> int:
    return row[0] + row[1]


def _tell(name: str, before: tuple[int, ...], after: tuple[int, ...], seconds: float) -> str:
    updates = after[2] - before[2]
    return (
        f"{name}: table {before[0] / 1e6:.1f} to {after[0] / 1e6:.1f} MB, indexes {before[1] / 1e6:.1f} to"
        f" {after[1] / 1e6:.1f} MB, {(after[3] - before[3]) / max(1, updates):.0%} of {updates:,} updates within their"
        f" page, {after[4]:,} dead rows at the end, {after[5] - before[5]} autovacuums, {seconds:.0f} s"
    )
