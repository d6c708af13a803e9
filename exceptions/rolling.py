"""Brings what the workers' tallies say into the cases' own rows, for the lists that are sorted by it: on a schedule.

Only tallies that changed since are looked at. Cases are locked before tallies, as everywhere; one that somebody holds
is left for the next time. A case that another entity's document has joined is about several from then on: each of them
finds it.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection as database
from django.db.transaction import atomic

from exceptions.opening import keep_history

BATCH = 2000
_LOCK = """
    SELECT id FROM exceptions_exceptioncase
     WHERE id IN (SELECT case_id FROM exceptions_casetally WHERE NOT is_rolled AND case_id > %s ORDER BY case_id
                   LIMIT %s)
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
_TAKE = "UPDATE exceptions_casetally SET is_rolled = true WHERE case_id = ANY(%s) AND NOT is_rolled"
_SUM = """
    UPDATE exceptions_exceptioncase c
       SET document_count = t.documents, amount_at_risk = t.at_risk, last_at = greatest(c.last_at, t.last_at),
           blocks_entity = coalesce(t.entity, c.blocks_entity), blocks_period = coalesce(t.period, c.blocks_period),
           legal_entity_code = CASE WHEN t.is_joined THEN '' ELSE c.legal_entity_code END
      FROM (SELECT s.case_id, sum(s.documents) AS documents, sum(s.at_risk) AS at_risk, max(s.last_at) AS last_at,
                   (array_agg(s.entity ORDER BY s.is_of_period DESC, s.at_risk DESC, s.period, s.entity)
                       FILTER (WHERE s.documents > 0))[1] AS entity,
                   (array_agg(s.period ORDER BY s.is_of_period DESC, s.at_risk DESC, s.period, s.entity)
                       FILTER (WHERE s.documents > 0))[1] AS period,
                   bool_or(k.legal_entity_code <> '' AND s.documents > 0
                           AND s.entity NOT IN ('', k.legal_entity_code)) AS is_joined
              FROM (SELECT case_id, legal_entity_code AS entity, period_code AS period,
                           period_code <> '' AS is_of_period, sum(document_count) AS documents,
                           sum(amount_at_risk) AS at_risk, max(last_at) AS last_at
                      FROM exceptions_casetally WHERE case_id = ANY(%s) GROUP BY 1, 2, 3, 4) s
              JOIN exceptions_exceptioncase k ON k.id = s.case_id
             GROUP BY s.case_id) t
     WHERE c.id = t.case_id
       AND (t.is_joined
            OR (c.document_count, c.amount_at_risk, c.last_at, c.blocks_entity, c.blocks_period) IS DISTINCT FROM
               (t.documents, t.at_risk, greatest(c.last_at, t.last_at), coalesce(t.entity, c.blocks_entity),
                coalesce(t.period, c.blocks_period)))
 RETURNING c.id, t.is_joined
"""


def roll_up(then: Callable[[list[int]], object] | None = None) -> int:
    """Bring the newest failure, the open documents, the amount at risk and the blocked close of every case whose
    tallies changed up to date. Returns how many cases changed; `then` is told which, a batch at a time."""
    changed, after = 0, 0
    while True:
        with atomic(), database.cursor() as cursor:
            cursor.execute(_LOCK, [after, BATCH])
            cases = [row[0] for row in cursor.fetchall()]
            if cases:
                cursor.execute(_TAKE, [cases])
                cursor.execute(_SUM, [cases])  # a statement of its own: it sees what was committed while we waited
                found = cursor.fetchall()
                rolled = [case for case, _ in found]
                if joined := [case for case, is_joined in found if is_joined]:
                    keep_history(cursor, joined, why="another entity's document joined it")
                changed += len(rolled)
        if not cases:
            return changed
        if then is not None and rolled:
            then(rolled)
        after = cases[-1]
