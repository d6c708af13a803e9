"""The open documents of cases as rows of a sheet, as they are now; one statement for any number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from exceptions import tallies
from exceptions.kinds import kind_of
from exceptions.models import ExceptionCase, Occurrence
from q2c.core import access
from q2c.core.exports import Cell
from q2c.core.models import Person

_ROWS = """
SELECT o.id, o.case_id, o.transaction_id, c.kind, c.queue, c.legal_entity_code, coalesce(p.username, ''),
       coalesce(nullif(o.problem ->> 'summary', ''), c.summary), coalesce(nullif(t.number, ''), o.number),
       coalesce(nullif(t.legal_entity_code, ''), o.legal_entity_code), o.period_code, o.currency, o.amount,
       CASE WHEN c.closed_at IS NOT NULL THEN 'closed' WHEN c.snoozed_at IS NOT NULL THEN 'snoozed'
            WHEN o.transaction_id IS NULL THEN 'no document' WHEN o.closed_at IS NOT NULL AND t.state = 'held'
            THEN 'held elsewhere' ELSE t.state END,
       coalesce(t.attempt::text, ''), coalesce('h' || left(encode(sha256(t.fact), 'hex'), 16), ''),
       t.open_intent IS NOT NULL
  FROM exceptions_occurrence o
  JOIN exceptions_exceptioncase c ON c.id = o.case_id
  LEFT JOIN transactions_businesstransaction t ON t.id = o.transaction_id
  LEFT JOIN core_person p ON p.id = c.assignee_id
 WHERE o.id IN ({rows}) ORDER BY o.case_id, o.id
"""


@dataclass(frozen=True)
class Document:
    """One open document of a case. `books` are those that it's for; `is_undecided`: the target may hold it."""

    id: int
    case_id: int
    transaction_id: UUID | None
    kind: str
    queue: str
    case_entity: str
    owner: str
    says: str
    number: str
    entity: str
    period: str
    currency: str
    amount: Decimal | None
    state: str
    attempt: str
    hash: str
    is_undecided: bool

    @property
    def locked(self) -> dict[str, Cell]:
        """Its cells that nobody may change."""
        return {
            "row": f"EX-{self.case_id}/{self.id}", "case": f"EX-{self.case_id}", "kind": kind_of(self.kind).title,
            "says": self.says, "number": self.number, "entity": self.entity,
            "books": f"{self.entity} {self.period}".strip(), "currency": self.currency,
            "amount": "" if self.amount is None else self.amount, "state": self.state, "attempt": self.attempt,
            "hash": self.hash, "owner": self.owner, "queue": self.queue,
        }  # fmt: skip


def open_documents(by: Person, cases: QuerySet[ExceptionCase]) -> QuerySet[Occurrence]:
    """The open documents of these cases that the person sees; `cases` are cases that they see."""
    rows = Occurrence.objects.filter(case__in=cases.order_by().values("pk"), closed_at__isnull=True)
    return rows.filter(access.of_cases_q(by))


def known_documents(by: Person, ids: Collection[int]) -> dict[int, Document]:
    """Of these the person's own, whatever became of them meanwhile."""
    cases = tallies.cases_shown_to(by).order_by().values("pk")
    rows = Occurrence.objects.filter(access.of_cases_q(by), pk__in=list(ids), case__in=cases)
    return {row.id: row for row in read_documents(rows)}


def read_documents(rows: QuerySet[Any]) -> list[Document]:
    """These documents as they are now, by case."""
    try:
        sql, params = rows.order_by().values("pk").query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_ROWS.format(rows=sql), params)
        return [Document(*row) for row in cursor.fetchall()]
