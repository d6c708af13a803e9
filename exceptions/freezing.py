"""Freezing what a bulk action will touch: the set as it is now, who may act on which of it, and how much money it is.

A set is written in three statements, however large it is. Nothing happens to a document until the action begins.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import tallies
from exceptions.kind_words import CORRECT_AT_SOURCE, LOOK_AGAIN, REMAP_AND_REPOST, REPOST, WAIVE
from exceptions.kinds import KINDS, kind_of
from exceptions.models import BulkAction, BulkItem, ExceptionCase, Occurrence
from exceptions.resolutions import MAY_REPOST, MAY_WAIVE, OTHER_ENTITY, UNDECIDED, WORK, why_not_solved
from exceptions.resolving.held import NEVER_WAIVED
from q2c.core import access
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import WHY_NOT

DOCUMENTS_MAX = 100_000
ASSIGN = "assign"
NO_DOCUMENT = "it holds no document: its own page says what can be done"


class BulkRefused(ValueError):
    """Why this can't be done in bulk, in words for the screen."""


@dataclass(frozen=True)
class Way:
    """One thing that can be done in bulk: the right it takes, the resolutions of which a kind must allow one (none:
    every kind), and how it's spoken of."""

    code: str
    permission: str
    solves: tuple[str, ...]
    verb: str  # on buttons
    done: str  # "3 documents are ..."


WAYS = {
    way.code: way
    for way in (
        Way(REPOST, MAY_REPOST, (REPOST, REMAP_AND_REPOST), "Repost", "on the way again"),
        Way(LOOK_AGAIN, MAY_REPOST, (LOOK_AGAIN,), "Look again", "looked up again"),
        Way(CORRECT_AT_SOURCE, WORK, (CORRECT_AT_SOURCE,), "Correct at source", "waiting for a corrected version"),
        Way(WAIVE, MAY_WAIVE, (WAIVE,), "Waive", "given up"),
        Way(ASSIGN, WORK, (), "Assign", "assigned"),
    )
}


def freeze(
    what: str,
    *,
    by: Person,
    cases: QuerySet[ExceptionCase],
    chosen: dict[str, Any],
    words: str,
    occurrences: Collection[int] | None = None,
) -> BulkAction:
    """Freeze the open documents of these cases (of them only `occurrences`, if given) that the person sees, as a draft
    that can be confirmed. To be assigned, the cases themselves. `cases` are cases that the person sees.

    Raises BulkRefused when nothing is chosen, or more than 100,000.
    """
    if what == ASSIGN:
        rows: QuerySet[Any] = cases.filter(closed_at__isnull=True)
    else:
        rows = Occurrence.objects.filter(case__in=cases.order_by().values("pk"))
        if occurrences is not None:
            rows = rows.filter(pk__in=list(occurrences))
        rows = rows.filter(access.of_cases_q(by), closed_at__isnull=True)
    return _freeze(WAYS[what], rows, by=by, chosen=chosen, words=words, again_of=None)


def freeze_again(former: BulkAction, *, by: Person) -> BulkAction:
    """Freeze anew what an action left or brought back: refused ones, those held again, and of an undone one all.

    Raises BulkRefused when nothing of it is left that the person sees.
    """
    left = former.items.exclude(result=BulkItem.Result.DONE)
    seen = tallies.cases_shown_to(by).filter(closed_at__isnull=True)
    if former.what == ASSIGN:
        rows: QuerySet[Any] = seen.filter(pk__in=left.values("case"))
        words = f"What {former.number} left"
    else:
        done = former.items.filter(result=BulkItem.Result.DONE).values("transaction_id")
        back = BusinessTransaction.objects.filter(pk__in=done, state="held").values("pk")
        either = Q(transaction_id__in=left.values("transaction_id")) | Q(transaction_id__in=back)
        open_ones = Occurrence.objects.filter(either, closed_at__isnull=True, case__in=seen.order_by().values("pk"))
        rows = open_ones.filter(access.of_cases_q(by))
        words = f"What {former.number} left or brought back"
    chosen = {"again": former.pk}
    return _freeze(WAYS[former.what], rows, by=by, chosen=chosen, words=words, again_of=former)


def _freeze(
    way: Way, rows: QuerySet[Any], *, by: Person, chosen: dict[str, Any], words: str, again_of: BulkAction | None
) -> BulkAction:
    allowed = access.reach(by, way.permission)
    of_kind = [f"{entity}|{kind}" for entity, kind in sorted(allowed.of_kind)]
    may: list[Any] = [allowed.is_everywhere, sorted(allowed.entities), of_kind, of_kind]
    try:
        asked, given = rows.order_by().values_list("pk")[: DOCUMENTS_MAX + 1].query.sql_with_params()
    except EmptyResultSet:
        raise BulkRefused("Nothing of it is open any more.") from None
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('exceptions_bulkaction', 'id'))")
        number: int = cursor.fetchone()[0]
        if way.code == ASSIGN:
            cursor.execute(_CASES.format(rows=asked), [number, *may, OTHER_ENTITY, *given])
        else:
            kinds: list[Any] = [[kind.code for kind in KINDS], [why_not_solved(kind, *way.solves) for kind in KINDS]]
            unknown = why_not_solved(kind_of(""), *way.solves)
            undecided: list[Any] = [way.code == WAIVE, UNDECIDED]
            kept = NEVER_WAIVED if way.code == WAIVE else {}
            cursor.execute(
                _DOCUMENTS.format(rows=asked),
                [number, NO_DOCUMENT, *may, OTHER_ENTITY, *undecided, unknown, *kinds, [*WHY_NOT], [*WHY_NOT.values()],
                 [*kept], [*kept.values()], *given],
            )  # fmt: skip
        count = cursor.rowcount
        if not count:
            raise BulkRefused("Nothing of it is open any more.")
        if count > DOCUMENTS_MAX:
            raise BulkRefused(f"These are more than {DOCUMENTS_MAX:,}. Choose fewer, with a filter.")
        cursor.execute(_TOTALS, [number])
        totals = [[*row[:-1], str(row[-1])] for row in cursor.fetchall()]
        return BulkAction.objects.create(
            pk=number, what=way.code, made_by=by, frozen_at=timezone.now(), chosen=chosen, chosen_words=words[:300],
            totals=totals, item_count=count, queues=sorted({row[0] for row in totals}), again_of=again_of,
            legal_entity_codes=sorted({row[2] for row in totals}),
            refused_count=sum(row[6] for row in totals if not row[5]),
        )  # fmt: skip


_COLUMNS = """
    INSERT INTO exceptions_bulkitem (
        action_id, case_id, transaction_id, queue, flow, number, legal_entity_code, period_code, currency, amount,
        version, result, says)
"""
_DOCUMENTS = f"""{_COLUMNS}
    SELECT %s, x.case_id, x.transaction_id, x.queue, x.flow, x.number, x.entity, x.period_code, x.currency, x.amount,
           x.version, CASE x.says WHEN '' THEN 'pending' ELSE 'refused' END, left(x.says, 300)
      FROM (
        SELECT o.case_id, o.transaction_id, c.queue, o.flow, o.number, o.period_code, o.currency, o.amount,
               coalesce(nullif(t.legal_entity_code, ''), o.legal_entity_code) AS entity,
               coalesce(t.attempt::text, '') AS version,
               CASE WHEN o.transaction_id IS NULL THEN %s
                    WHEN coalesce(k.says, u.says) <> '' THEN coalesce(k.says, u.says)
                    WHEN NOT (%s OR t.legal_entity_code = ANY(%s) OR t.legal_entity_code || '|' || c.kind = ANY(%s)
                              OR '|' || c.kind = ANY(%s)) THEN %s
                    WHEN t.state IS DISTINCT FROM 'held' THEN coalesce(w.says, 'there is no such transaction')
                    WHEN n.says IS NOT NULL THEN n.says
                    WHEN %s AND t.open_intent IS NOT NULL THEN %s
                    ELSE '' END AS says
          FROM exceptions_occurrence o
          JOIN exceptions_exceptioncase c ON c.id = o.case_id
          CROSS JOIN (SELECT %s::text AS says) u
          LEFT JOIN transactions_businesstransaction t ON t.id = o.transaction_id
          LEFT JOIN unnest(%s::text[], %s::text[]) AS k(code, says) ON k.code = c.kind
          LEFT JOIN unnest(%s::text[], %s::text[]) AS w(state, says) ON w.state = t.state
          LEFT JOIN unnest(%s::text[], %s::text[]) AS n(flow, says) ON n.flow = t.flow
         WHERE o.id IN ({{rows}})) x
     ORDER BY x.case_id, x.transaction_id
"""
_CASES = f"""{_COLUMNS}
    SELECT %s, x.id, NULL, x.queue, x.flow, 'EX-' || x.id, x.legal_entity_code, x.period_code, '', NULL,
           coalesce(x.assignee_id::text, ''), CASE x.says WHEN '' THEN 'pending' ELSE 'refused' END, x.says
      FROM (
        SELECT c.*,
               CASE WHEN %s OR c.legal_entity_code = '' OR c.legal_entity_code = ANY(%s)
                      OR c.legal_entity_code || '|' || c.kind = ANY(%s) OR '|' || c.kind = ANY(%s) THEN ''
                    ELSE %s END AS says
          FROM exceptions_exceptioncase c WHERE c.id IN ({{rows}})) x
     ORDER BY x.id
"""
_TOTALS = """
    SELECT queue, flow, legal_entity_code, period_code, currency, result = 'pending', count(*),
           coalesce(sum(amount), 0)
      FROM exceptions_bulkitem WHERE action_id = %s GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""
