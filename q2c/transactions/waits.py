"""What a transaction waits for, and whom its end releases: the machine's commit writes both."""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.transactions.batch import Run
from q2c.transactions.restart import CAME, release_waits
from q2c.transactions.steps import parameters
from q2c.transactions.tools import Tools


def store_waits(cursor: Any, runs: list[Run]) -> None:
    """What each waits for now, and since when; what it waited for before had a patience of its own."""
    if not runs:
        return
    awaited = [(r.id, r.awaits) for r in runs if r.awaits is not None]
    cursor.execute(
        "DELETE FROM transactions_dependency d USING unnest(%s::uuid[], %s::text[]) AS x (id, key)"
        " WHERE d.transaction_id = x.id AND d.key <> x.key",
        [[run_id for run_id, _ in awaited], [awaits.key for _, awaits in awaited]],
    )
    keyed = [(run_id, awaits) for run_id, awaits in awaited if awaits.key]
    if not keyed:
        return
    now = dt.datetime.now(dt.UTC)
    cursor.execute(
        "INSERT INTO transactions_dependency (transaction_id, key, since, patience_until)"
        " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[])"
        " ON CONFLICT (transaction_id, key) DO UPDATE SET since = excluded.since,"
        " patience_until = excluded.patience_until WHERE transactions_dependency.patience_until = %s",
        [
            [run_id for run_id, _ in keyed],
            [awaits.key for _, awaits in keyed],
            [now] * len(keyed),
            [now + dt.timedelta(seconds=awaits.patience_seconds) for _, awaits in keyed],
            CAME,
        ],
    )


def release_waiting(cursor: Any, completed: list[Run], tools: Tools) -> None:
    """A parent's end releases the children that wait for its keys, and ends its own waits."""
    cursor.execute("DELETE FROM transactions_dependency WHERE transaction_id = ANY(%s)", [[r.id for r in completed]])
    keys = [key for r in completed for key in _keys(r)]
    flows = release_waits(keys) if keys else set()
    if flows:
        tools.nudge(flows)


def _keys(run: Run) -> list[str]:
    """The keys that a run's end releases; one that was cancelled may not have come to all facts that they're made
    of."""
    completes = run.flow.completes
    if completes is None or not set(parameters(completes)) <= {*run.facts, "txn"}:
        return []
    return list(completes(**_named(completes, run)))


def _named(function: Any, run: Run) -> dict[str, Any]:
    return {name: run if name == "txn" else run.facts[name] for name in parameters(function)}
