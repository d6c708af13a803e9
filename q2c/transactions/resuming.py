"""What a claimed transaction begins with: its fact, and what earlier runs of it finished that stands.

A finished write stands, and with it everything that it rests on. All else is read again, so that a repost goes by one
consistent version of all mappings (docs/decisions/0010, 0081).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection

from q2c.canonical import schema
from q2c.core.hotpath import fetch_rows
from q2c.transactions import claims
from q2c.transactions.batch import Ending, Run
from q2c.transactions.newer import Newer, is_of_newer, look_for_newer
from q2c.transactions.reading import unexpected
from q2c.transactions.steps import Flow, Write, decode_output

_RUN_COLUMNS = (
    "id, business_key, lane, correlation_id, attempt, created_at, source_connection, source_type, source_id, number,"
    " legal_entity_code, customer_id, customer_name, currency, amount, line_count, feed, feed_type, target_connection,"
    " period_code, document_date, fact, state, bill_run_id"
)

# Outputs only where some are taken over: behind a finished write, an open intent or a parking wait.
_STEPS = """
SELECT transaction_id, sequence, step, state, CASE WHEN kind = 'write' THEN used ->> 'skipped' END,
       CASE WHEN transaction_id = ANY(%s::uuid[])
              OR bool_or(kind = 'write' AND state = 'done') OVER (PARTITION BY transaction_id) THEN output END
  FROM transactions_steprun WHERE transaction_id = ANY(%s) ORDER BY transaction_id, sequence
"""

_WRITES = """
SELECT transaction_id, sequence, step, state, used ->> 'skipped', NULL FROM transactions_steprun
 WHERE transaction_id = ANY(%s) AND kind = 'write' ORDER BY transaction_id, sequence
"""

# A parent whose bill run is held, or was just released, comes with its run: whoever waits for it isn't overdue.
_PATIENCE = """
SELECT d.transaction_id, d.key, d.patience_until FROM transactions_dependency d
 WHERE d.transaction_id = ANY(%s) AND (d.patience_until > now() OR NOT EXISTS (
       SELECT FROM transactions_businesstransaction p
        WHERE p.source_id = split_part(d.key, ':', 3) AND p.source_connection = split_part(d.key, ':', 2)
          AND p.bill_run_id IS NOT NULL AND p.state IN ('running', 'waiting', 'unknown')))
"""


def load_runs(flow: Flow, claimed: list[claims.Claim]) -> list[Run]:
    """The claimed transactions with what earlier runs of theirs finished."""
    by_id = {c.transaction_id: c for c in claimed}
    with connection.cursor() as cursor:
        cursor.execute(  # in the order in which they came in: ids tell it
            f"SELECT {_RUN_COLUMNS} FROM transactions_businesstransaction WHERE id = ANY(%s) ORDER BY id", [list(by_id)]
        )
        rows = cursor.fetchall()
        resumed = [c.transaction_id for c in claimed if c.step_count]
        steps: dict[UUID, list[tuple]] = {}
        if resumed:
            cursor.execute(_STEPS, [[c.transaction_id for c in claimed if c.intent or c.parked_at], resumed])
            for row in cursor.fetchall():
                steps.setdefault(row[0], []).append(row[1:])
        waited = [c.transaction_id for c in claimed if c.probe_count]
        patience: dict[UUID, dict[str, dt.datetime]] = {}
        if waited:
            cursor.execute(_PATIENCE, [waited])
            for transaction, key, until in cursor.fetchall():
                patience.setdefault(transaction, {})[key] = until
    runs = []
    for row in rows:
        claim = by_id[row[0]]
        values: tuple[Any, ...] = (
            row[0],
            flow,
            claim.token,
            *row[1:21],
            claim.intent,
            claim.generation,
            claim.wait_count,
            claim.probe_count,
            claim.step_count,
            claim.parked_at,
        )
        run = Run(*values)
        run.patience = patience.get(run.id, {})
        run.is_after_restore = claim.is_after_restore
        run.known_at, run.unanswered_count = claim.known_at, claim.unanswered_count
        run.since = claim.since
        run.priority, run.lane_sequence = claim.priority, claim.lane_sequence
        runs.append(run)
        try:
            run.bill_run = row[23]
            run.facts[flow.starts_with[0]] = schema.from_json(bytes(row[21]), flow.fact_type)
            _resume(run, steps.get(run.id, []))
        except Exception as error:  # a fact that we can't read any more is held, not lost
            if isinstance(error, Newer) or is_of_newer(error):
                run.ending, run.newer = Ending.LOST, str(error)
            else:
                run.fail(flow.steps[run.position], unexpected(run, flow.steps[run.position], error))
    return runs


def _resume(run: Run, rows: list[tuple]) -> None:
    """Take over finished steps: everything up to the last write that stands, and the reads on which an open intent or a
    parking wait rests.

    Other reads run again, so that a repost uses one consistent version of all mappings; their new rows name the old
    ones. So does a write that had nothing to write, unless a later one stands that was decided with it.
    """
    latest = _latest(rows)
    look_for_newer(run.flow, latest, run.intent)
    if run.intent:
        run.intent["is_open"] = True  # an earlier attempt left no answer: look before you make
        keep = run.flow.steps.index(run.flow.step(run.intent["step"]))
    elif run.parked_at:
        keep = run.flow.steps.index(run.flow.step(run.parked_at))
    else:
        stands = _standing(run.flow, latest)
        keep = max((i + 1 for i, step in enumerate(run.flow.steps) if step.name in stands), default=0)
    for step in run.flow.steps[:keep]:
        if step.name not in latest:
            if step.quiet:
                run.facts[step.gives] = None
            else:
                run.lacks.append(step)
            continue
        sequence, _skipped, output = latest[step.name]
        run.facts[step.gives] = None if bytes(output) == b"null" else decode_output(bytes(output), step.output_type)
        run.done[step.name] = sequence
        if isinstance(step, Write) and run.facts[step.gives] is not None:
            run.target = run.facts[step.gives]
    run.position = keep
    run.earlier = {name: sequence for name, (sequence, *_) in latest.items() if name not in run.done}


def _latest(rows: Iterable[tuple]) -> dict[str, tuple]:
    """The finished steps by name, each with its last row: sequence, why it was skipped, output."""
    latest: dict[str, tuple] = {}
    for sequence, name, state, skipped, output in rows:
        if state == "done":
            latest[name] = (sequence, skipped, output)
        elif state in ("superseded", "undone"):
            latest.pop(name, None)
    return latest


def _standing(flow: Flow, latest: Mapping[str, tuple]) -> set[str]:
    """The finished writes that a repost keeps. One that had nothing to write isn't among them: nothing rests on it in
    any target, so it's decided anew, with the reads before it. What was left out because it's written elsewhere, or
    since an older release went on without it, stands."""
    writes = (step for step in flow.steps if isinstance(step, Write) and step.name in latest)
    return {step.name for step in writes if latest[step.name][1] != step.prepared}


def standing_writes(flows: Mapping[UUID, Flow]) -> dict[UUID, set[str]]:
    """Of these transactions, each with its flow, the names of the writes that a repost keeps. One statement."""
    if not flows:
        return {}
    rows: dict[UUID, list[tuple]] = {}
    for transaction, *row in fetch_rows(_WRITES, [list(flows)]):
        rows.setdefault(transaction, []).append(tuple(row))
    return {transaction: _standing(flows[transaction], _latest(found)) for transaction, found in rows.items()}
