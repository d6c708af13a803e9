"""How often each mapping rule was used: counted per batch of completed documents, in one statement, per worker."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import connection

from q2c.transactions.workers import this_worker

# A document counts once for each rule, whatever the number of its lines. Sorted, so that two workers can't wait in a
# circle for the rules' rows; each adds to rows of its own.
_COUNT = """
INSERT INTO mappings_ruleuse AS u (rule_id, worker, count)
SELECT (rule ->> 0)::bigint, %s, count(DISTINCT s.transaction_id)
  FROM transactions_steprun s, jsonb_array_elements(s.used -> 'rules') AS rule
 WHERE s.transaction_id = ANY(%s) AND s.state = 'done'
 GROUP BY 1 ORDER BY 1
ON CONFLICT (rule_id, worker) DO UPDATE SET count = u.count + excluded.count
"""
_ROLL_UP = """
WITH gone AS (
    DELETE FROM mappings_ruleuse WHERE worker <> '' AND worker NOT IN (
        SELECT id FROM transactions_worker WHERE beat_at > now() - interval '1 hour') RETURNING rule_id, count)
INSERT INTO mappings_ruleuse AS u (rule_id, worker, count)
SELECT rule_id, '', sum(count) FROM gone GROUP BY 1 ORDER BY 1
ON CONFLICT (rule_id, worker) DO UPDATE SET count = u.count + excluded.count
"""


def count_uses(completed: Collection[UUID]) -> None:
    """Add these documents to the tallies of the rules that their steps used."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [this_worker().id, list(completed)])


def roll_up_uses() -> None:
    """Add up what workers counted that live no more."""
    with connection.cursor() as cursor:
        cursor.execute(_ROLL_UP)
