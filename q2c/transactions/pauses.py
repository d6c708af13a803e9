"""Work that people have paused: claimed work of a paused entity is set aside, and comes back in its order.

A pause of a whole flow or object type claims nothing. Where it's an entity's, what is claimed of it is set aside once
(due in the year 9999), so that a long queue of one entity costs the others nothing; resumed, it's due since it came in.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core.hotpath import fetch_rows
from q2c.transactions.claims import release_items
from q2c.transactions.models import SET_ASIDE, Pause
from q2c.transactions.steps import Flow

AT_ONCE = 5_000
END_OF = "the end of a pause of"  # so begins what a paused document waits for

_STOPS = """
SELECT legal_entity_code, reason FROM transactions_pause
 WHERE resumed_at IS NULL AND flow IN ('', %s) AND object_type IN ('', %s)
"""
# Only while the pause stands: it's locked, so whoever resumes it sees what was set aside, or nothing is.
_SET_ASIDE = """
WITH standing AS MATERIALIZED (
    SELECT legal_entity_code FROM transactions_pause
     WHERE resumed_at IS NULL AND flow IN ('', %s) AND object_type IN ('', %s) FOR SHARE),
aside AS (
    UPDATE transactions_workitem w SET worker = '', available_at = %s FROM transactions_businesstransaction b
     WHERE w.transaction_id = ANY(%s) AND w.worker = %s AND b.id = w.transaction_id
       AND b.legal_entity_code IN (SELECT legal_entity_code FROM standing)
    RETURNING w.transaction_id)
UPDATE transactions_businesstransaction t
   SET state = CASE WHEN t.state = 'running' THEN 'waiting' ELSE t.state END, state_at = now(), waits_for = x.why
  FROM unnest(%s::uuid[], %s::text[]) AS x (id, why)
 WHERE t.id = x.id AND t.id IN (SELECT transaction_id FROM aside)
"""
# What no other pause covers, the earliest first: due since it came in, so before whatever came later.
_BACK = """
WITH back AS (
    SELECT w.transaction_id, t.created_at FROM transactions_workitem w
      JOIN transactions_businesstransaction t ON t.id = w.transaction_id
      JOIN unnest(%(flows)s::text[], %(types)s::text[]) AS f (flow, type) ON f.flow = w.flow
     WHERE w.available_at = %(aside)s AND w.worker = '' AND t.legal_entity_code = %(entity)s
       AND NOT EXISTS (
         SELECT FROM transactions_pause p
          WHERE p.resumed_at IS NULL AND p.flow IN ('', w.flow) AND p.object_type IN ('', f.type)
            AND p.legal_entity_code = t.legal_entity_code)
     ORDER BY t.created_at, t.id LIMIT %(limit)s FOR UPDATE OF w SKIP LOCKED),
due AS (
    UPDATE transactions_workitem w SET available_at = back.created_at FROM back
     WHERE w.transaction_id = back.transaction_id RETURNING w.transaction_id)
UPDATE transactions_businesstransaction t SET waits_for = '' FROM due WHERE t.id = due.transaction_id
"""


def stops_of(flow: Flow) -> dict[str, str]:
    """Of which entities this flow is paused, each with the reason; "" means of all. One statement."""
    return dict(fetch_rows(_STOPS, [flow.code, flow.lane_type]))


def words_of(entity: str, reason: str) -> str:
    """What a document waits for."""
    return f"{END_OF} {entity}: {reason}"[:300]


def set_aside(flow: Flow, found: list[tuple[UUID, str]], *, worker: str) -> None:
    """Give leased work of a flow back until it's resumed; each transaction says why it waits. What was resumed
    meanwhile is given back as it was."""
    ids = [transaction for transaction, _ in found]
    with connection.cursor() as cursor:
        whys = [why for _, why in found]
        cursor.execute(_SET_ASIDE, [flow.code, flow.lane_type, SET_ASIDE, ids, worker, ids, whys])
        missed = cursor.rowcount < len(found)
    if missed:
        release_items(ids, worker=worker)


def bring_back(pause: Pause, flows: list[Flow]) -> int:
    """Make a piece of what a resumed pause had set aside due again; a restart goes on where it was. Gives how many."""
    with atomic(), connection.cursor() as cursor:
        # One at a time: a second one would take the pieces that the first holds for done.
        if not Pause.objects.select_for_update(skip_locked=True).filter(pk=pause.pk, caught_up_at=None).exists():
            return 0
        cursor.execute(
            _BACK,
            {
                "flows": [flow.code for flow in flows],
                "types": [flow.lane_type for flow in flows],
                "entity": pause.legal_entity_code,
                "aside": SET_ASIDE,
                "limit": AT_ONCE,
            },
        )
        count = cursor.rowcount
        if count < AT_ONCE:
            Pause.objects.filter(pk=pause.pk).update(caught_up_at=timezone.now())
    return count
