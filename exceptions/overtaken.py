"""Held documents that a newer version of the same document has overtaken: it waits behind them in their lane."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from exceptions.kind_words import CORRECT_AT_SOURCE
from exceptions.kinds import KINDS
from exceptions.models import Occurrence

AT_ONCE = 5000  # that the sweep lets make way; the next one takes the rest
# Their facts follow one another in a lane without being versions of each other: another entity or currency of the same
# customer, another ERP's part of the same payout.
_NOT_VERSIONS = ("customer_use_to_erp", "payout_to_erp")


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
        cursor.execute(_SUPERSEDED, [ids, list(_NOT_VERSIONS)])
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
_SUPERSEDED = """
    SELECT t.id FROM transactions_businesstransaction t
     WHERE t.id = ANY(%s) AND t.state = 'held' AND t.flow <> ALL(%s) AND EXISTS (
        SELECT FROM transactions_businesstransaction later
         WHERE later.lane = t.lane AND later.flow = t.flow AND later.lane_sequence > t.lane_sequence
           AND later.source_id = t.source_id AND later.state <> 'cancelled')
     ORDER BY t.id
"""
