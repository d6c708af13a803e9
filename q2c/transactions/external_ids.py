"""One maker per external id, in targets that would take a second document under it.

An idempotency key protects an attempt; two transactions have two keys. So the id itself is claimed in the commit of the
intent: while the first maker's outcome is open nobody else sends, and whoever comes later looks before it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from q2c.core.problems import Awaits
from q2c.transactions.batch import Ending, Run

# Only rows of a lease that is still ours claim. `xmax = 0` tells a first use from a later one.
_CLAIM = """
WITH ours AS MATERIALIZED (
    SELECT x.* FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(connections)s::text[], %(names)s::text[])
        AS x (id, token, connection_code, external_id)
    JOIN transactions_workitem w ON w.transaction_id = x.id AND w.token = x.token AND w.worker = %(worker)s
    ORDER BY w.transaction_id FOR UPDATE OF w)
INSERT INTO transactions_externaliduse AS u (connection_code, external_id, transaction_id, is_open, at)
SELECT connection_code, external_id, id, true, now() FROM ours ORDER BY connection_code, external_id
ON CONFLICT (connection_code, external_id) DO UPDATE
    SET transaction_id = EXCLUDED.transaction_id, is_open = true, at = EXCLUDED.at
    WHERE NOT u.is_open OR u.transaction_id = EXCLUDED.transaction_id
RETURNING u.transaction_id, u.xmax = 0
"""

# Of a maker that was cancelled while its outcome was open: whoever comes next looks first.
_FREE = """
UPDATE transactions_externaliduse u SET is_open = false
FROM unnest(%s::text[], %s::text[]) AS x (connection_code, external_id), transactions_businesstransaction t
WHERE u.connection_code = x.connection_code AND u.external_id = x.external_id AND u.is_open
  AND t.id = u.transaction_id AND t.state IN ('completed', 'cancelled')
"""


def claim_external_ids(cursor: Any, runs: Iterable[Run], worker: str) -> set[UUID]:
    """Claim the ids of these runs' intents. Returns the runs that must not send now: another maker's outcome is open.

    Runs inside the commit of the intents. Sets the intent's `looks` where the id was used before.
    """
    first: dict[tuple[str, str], Run] = {}
    claiming = [r for r in runs if r.due_intent.get("claims")]
    claiming.sort(key=lambda r: not r.due_intent.get("is_open"))  # whoever sent it already goes before who would send
    for run in claiming:
        first.setdefault(_name(run), run)
    if not first:
        return set()
    cursor.execute(
        _CLAIM,
        {
            "ids": [r.id for r in first.values()],
            "tokens": [r.token for r in first.values()],
            "connections": [connection for connection, _ in first],
            "names": [name for _, name in first],
            "worker": worker,
        },
    )
    is_new: dict[UUID, bool] = dict(cursor.fetchall())
    for run in claiming:
        run.due_intent["looks"] = not is_new.get(run.id, True)
    blocked = [r for r in claiming if r.id not in is_new]
    if blocked:
        names = [_name(r) for r in blocked]
        cursor.execute(_FREE, [[connection for connection, _ in names], [name for _, name in names]])
    return {r.id for r in blocked}


def wait_for_external_id(run: Run) -> None:
    """This run comes again shortly: what another transaction makes under the same id isn't decided yet."""
    run.ending, run.awaits = (
        Ending.WAITING,
        Awaits("", f"another transaction that makes {run.due_intent['external_id']}"),
    )
    run.intent = None


def settle_external_ids(cursor: Any, runs: Iterable[Run]) -> None:
    """The outcome of these runs' writes is known: others may look. Runs inside the commit that remembers it."""
    settled = [r for r in runs if r.intent and r.intent.get("claims") and r.drops_intent]
    if settled:
        names = [(r.intent["connection"], r.intent["external_id"]) for r in settled if r.intent]
        cursor.execute(
            "UPDATE transactions_externaliduse u SET is_open = false"
            " FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS x (id, connection_code, external_id)"
            " WHERE u.connection_code = x.connection_code AND u.external_id = x.external_id"
            " AND u.transaction_id = x.id",
            [[r.id for r in settled], [connection for connection, _ in names], [name for _, name in names]],
        )


def _name(run: Run) -> tuple[str, str]:
    return run.due_intent["connection"], run.due_intent["external_id"]
