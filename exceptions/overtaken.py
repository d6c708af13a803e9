"""Held documents that a newer version of the same document has overtaken: it waits behind them in their lane. Money
that came back is no version of the money that went."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.transaction import atomic

from exceptions.kind_words import CORRECT_AT_SOURCE
from exceptions.kinds import KINDS
from exceptions.models import Occurrence
from q2c.core import audit
from q2c.flows.tasks import nudge
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.versions import SUPERSEDED, came_back_sql, is_version_sql, may_come_back_sql

AT_ONCE = 5000  # that the sweep lets make way; the next one takes the rest


def sent_back() -> QuerySet[Occurrence]:
    """What somebody said to be corrected at its source."""
    return Occurrence.objects.filter(closed_at__isnull=True, source_asked_at__isnull=False)


def waiting_behind() -> dict[UUID, bool]:
    """Held documents behind which a later transaction of their lane waits, of kinds that a correction at the source
    mends, and those that somebody sent back (true). Found from the work to do, so its cost doesn't grow with the cases;
    first versions aren't looked at."""
    kinds = [kind.code for kind in KINDS if CORRECT_AT_SOURCE in kind.may]
    with connection.cursor() as cursor:
        cursor.execute(_WAITING_BEHIND, {"kinds": kinds, "limit": AT_ONCE})
        return dict(cursor.fetchall())


def superseded(ids: list[UUID]) -> list[UUID]:
    """Which of these held transactions have a later version of the same document in their lane, in their order."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_SUPERSEDED, [ids])
        return [row[0] for row in cursor.fetchall()]


def bring_back() -> list[UUID]:
    """Carry on with money that went and that an older release cancelled as replaced by its coming back, which still
    waits behind it: both are booked, or neither."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN_FOR_OLD)
        ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        return []
    with atomic():
        going = set(ids) - set(restart.lock_behind(ids))
        revived = restart.revive(sorted(going))
        restart.restart(revived, by=audit.PORTAL, why="its money’s coming back is no version of it")
        if revived:
            audit.record(audit.PORTAL, "bring_back", "transaction", revived[0], data={"transactions": revived})
        nudge(set(BusinessTransaction.objects.filter(pk__in=revived).values_list("flow", flat=True)))
    return revived


def left_alone(ids: list[UUID]) -> list[UUID]:
    """Which of these held movements of money have been taken back in the ERP already, by one that overtook them: that
    would stand there alone without them."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT_ALONE, [ids])
        return [row[0] for row in cursor.fetchall()]


_WAITING_BEHIND = """
    SELECT DISTINCT t.id, o.source_asked_at IS NOT NULL FROM transactions_workitem w
      JOIN transactions_businesstransaction t
        ON t.lane = w.lane AND t.flow = w.flow AND t.lane_sequence < w.lane_sequence AND t.state = 'held'
      JOIN exceptions_occurrence o ON o.transaction_id = t.id AND o.closed_at IS NULL
      JOIN exceptions_exceptioncase c ON c.id = o.case_id
     WHERE w.lane_sequence > 1 AND w.worker = '' AND (o.source_asked_at IS NOT NULL OR c.kind = ANY(%(kinds)s))
     LIMIT %(limit)s
"""
_SUPERSEDED = f"""
    SELECT t.id FROM transactions_businesstransaction t
     WHERE t.id = ANY(%s) AND t.state = 'held' AND EXISTS (
        SELECT FROM transactions_businesstransaction later
         WHERE {is_version_sql("later")} AND later.lane_sequence > t.lane_sequence AND later.state <> 'cancelled')
     ORDER BY t.id
"""
_TAKEN_FOR_OLD = f"""
    SELECT DISTINCT t.id FROM transactions_workitem w
      JOIN transactions_businesstransaction t
        ON t.lane = w.lane AND t.flow = w.flow AND t.lane_sequence < w.lane_sequence AND t.state = 'cancelled'
       AND t.waits_for LIKE '{SUPERSEDED}%' AND {may_come_back_sql()}
     WHERE w.lane_sequence > 1 AND w.worker = '' AND NOT EXISTS (
        SELECT FROM transactions_businesstransaction later
         WHERE {is_version_sql("later")} AND later.lane_sequence > t.lane_sequence)
"""
_LEFT_ALONE = f"""
    SELECT t.id FROM transactions_businesstransaction t
     WHERE t.id = ANY(%s) AND {may_come_back_sql()} AND NOT ({came_back_sql()}) AND 0 < (
        SELECT count(*) FILTER (WHERE {came_back_sql("o")}) - count(*) FILTER (WHERE NOT ({came_back_sql("o")}))
          FROM transactions_businesstransaction o
         WHERE o.lane = t.lane AND o.flow = t.flow AND o.source_id = t.source_id AND o.state = 'completed')
     ORDER BY t.id
"""
