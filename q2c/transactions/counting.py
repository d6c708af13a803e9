"""What the machine counts of its own work, in the commit that it's about (`q2c.core.stats`).

`begun`, `completed` (about: straight, healed after failed attempts, replayed after a person reposted it; timed since it
was begun or reposted), `lead` (timed since it was received, a person's work included), `held` and `failed` (an attempt
that is made again; both about the category), `unknown` (outcomes), `replayed`. And how much there is now.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.transaction import atomic

from q2c.core import stats
from q2c.core.audit import ANCHORED
from q2c.core.buckets import AGES
from q2c.transactions.batch import Ending, Run

BEGUN, COMPLETED, LEAD, HELD = "begun", "completed", "lead", "held"
FAILED, UNKNOWN, REPLAYED = "failed", "unknown", "replayed"
STRAIGHT, HEALED = "straight", "healed"
OPEN, DUE, LOOKED = "open", "due", "looked"  # of what there is now
LEAD_AGE, REPLAY_AGE = "lead_age", "replay_age"  # the same by age (about: bucket of `AGES`), since received, reposted
_LOCK = 0x51326307  # whoever looks takes it first

# What is open by state (held ones by when they were held) and by age, what is due by priority, what was reposted by
# age. Its cost is that of the open work, whatever was carried before, and it's beat's: pages read what it found.
_LOOK = """
    WITH found AS MATERIALIZED (
        SELECT flow, target_connection, legal_entity_code, state,
               width_bucket(extract(epoch FROM now() - created_at)::int8, %(ages)s::int8[]) AS age, count(*) AS n,
               min(CASE state WHEN 'held' THEN state_at ELSE created_at END) AS oldest
          FROM transactions_businesstransaction WHERE state NOT IN ('completed', 'cancelled') GROUP BY 1, 2, 3, 4, 5)
    INSERT INTO core_statnow (measure, flow, connection_code, legal_entity_code, about, count, oldest_at)
    SELECT 'open', flow, target_connection, legal_entity_code, state, sum(n), min(oldest)
      FROM found GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT 'lead_age', flow, '', legal_entity_code, age::text, sum(n), NULL
      FROM found WHERE age BETWEEN 1 AND %(last)s GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT 'replay_age', flow, '', legal_entity_code, age::text, count(*), NULL
      FROM (SELECT w.flow, t.legal_entity_code,
                   width_bucket(extract(epoch FROM now() - w.since)::int8, %(ages)s::int8[]) AS age
              FROM transactions_workitem w JOIN transactions_businesstransaction t ON t.id = w.transaction_id
             WHERE t.attempt > 1) r
     WHERE age BETWEEN 1 AND %(last)s GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT 'due', w.flow, t.target_connection, t.legal_entity_code, w.priority::text, count(*), min(w.available_at)
      FROM transactions_workitem w JOIN transactions_businesstransaction t ON t.id = w.transaction_id
     WHERE w.available_at <= now() GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT 'looked', '', '', '', '', 0, NULL
"""


def count_round(runs: Iterable[Run]) -> None:
    """How a round ended for these runs."""
    now = dt.datetime.now(dt.UTC)
    for run in runs:
        where: dict[str, Any] = {
            "flow": run.flow.code,
            "connection_code": run.target_connection,
            "entity": run.legal_entity_code,
        }
        if run.ending is Ending.COMPLETED:
            how = REPLAYED if run.attempt > 1 else HEALED if run.wait_count else STRAIGHT
            stats.note(COMPLETED, **where, about=how, seconds=_seconds(now, run.since or run.created_at))
            stats.note(LEAD, **where, seconds=_seconds(now, run.created_at))
        elif run.ending is Ending.HELD and run.problem is not None:
            stats.note(HELD, **where, about=run.problem.category.value)
        elif run.ending is Ending.UNKNOWN:
            stats.note(UNKNOWN, **where)
        elif run.ending is Ending.WAITING and run.problem is not None and run.counts:
            stats.note(FAILED, **where, about=run.problem.category.value)


def count_begun(begun: Iterable[tuple[str, str]]) -> None:
    """Transactions that were made: flow and legal entity of each."""
    with stats.gathering():
        for flow, entity in begun:
            stats.note(BEGUN, flow=flow, entity=entity)


def count_replays(replayed: Iterable[tuple[str, str, str]]) -> None:
    """Held transactions that go on: flow, target's connection and legal entity of each."""
    with stats.gathering():
        for flow, connection_code, entity in replayed:
            stats.note(REPLAYED, flow=flow, connection_code=connection_code, entity=entity)


def look_at_open() -> bool:
    """Note what is open and due now, for the screens. False while another process does it."""
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("DELETE FROM core_statnow WHERE measure <> %s", [ANCHORED])
        cursor.execute(_LOOK, {"ages": list(AGES), "last": len(AGES) - 1})
    return True


def _seconds(now: dt.datetime, then: dt.datetime) -> float:
    """Never below 0: clocks of two hosts may differ."""
    return max(0.0, (now - then).total_seconds())
