"""Control totals of the last days, each day: every document that was received is posted, held, ignored or on its way,
to the cent, and nothing is carried that wasn't received. What doesn't add up is a case, which closes when it does.

Compared by document, since errors that offset each other pass a total. The cost is that of the days looked at; what
feeds declare, and what the ERP says, `control_totals` compares over all time.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone

from connectors.models import Connection
from exceptions import cases
from exceptions.models import ExceptionCase
from q2c import ports
from q2c.core.hotpath import fetch_rows
from q2c.core.money import decimals
from q2c.core.problems import Category, Problem
from q2c.reconciliation.control_totals import BILLED_SQL, FLOWS, KINDS, MOVEMENTS_SQL, NEGATIVE
from q2c.reconciliation.documents import CAME_BACK_SQL, SIGNED_SQL
from q2c.reconciliation.words import many

DAYS = 7  # up to today
NAMED = 20  # documents that a case names
KIND = "totals_apart"

# What a document became: the latest transaction of each of its movements.
_ENDED = f"""
    SELECT count(*) AS count, coalesce(sum(l.line_count), 0) AS lines, coalesce(sum(l.amount), 0) AS amount
      FROM (SELECT DISTINCT ON (t.lane, t.flow, {CAME_BACK_SQL}) t.line_count,
                CASE WHEN t.flow = ANY(%(negative)s) THEN -1 ELSE 1 END * {SIGNED_SQL} AS amount
              FROM transactions_businesstransaction t
             WHERE t.source_id = {{id}} AND t.source_connection = {{source}} AND t.flow = ANY({{flows}})
             ORDER BY t.lane, t.flow, {CAME_BACK_SQL}, t.lane_sequence DESC) l"""
_OF_KIND = """CASE d.document_type WHEN 'invoice' THEN '{invoice_to_erp,credit_memo_to_erp}'
                  WHEN 'credit_memo' THEN '{credit_memo_to_erp}' WHEN 'payment' THEN '{payment_to_erp}'
                  ELSE '{refund_to_erp}' END::text[]"""
# An invoice below zero is carried as a credit memo: found by its own id it's the same document.
_APART = f"""
WITH both_sides AS (
    SELECT d.connection_code AS source, d.document_type AS kind, d.legal_entity_code AS entity, d.document_date AS day,
        d.currency, coalesce(nullif(d.number, ''), d.external_id) AS number,
        m.count, m.count * d.line_count AS lines, {BILLED_SQL} AS amount,
        e.count + ignored.n * m.count AS ended, e.lines + ignored.n * m.count * d.line_count AS ended_lines,
        e.amount + ignored.n * {BILLED_SQL} AS ended_amount
      FROM records_billeddocument d
     CROSS JOIN LATERAL {MOVEMENTS_SQL}
     CROSS JOIN LATERAL (SELECT (d.ignored_reason <> '')::int) ignored (n)
     CROSS JOIN LATERAL ({_ENDED.format(id="d.external_id", source="d.connection_code", flows=_OF_KIND)}) e
     WHERE d.connection_code = ANY(%(sources)s) AND d.document_type = ANY(%(kinds)s)
       AND d.document_date = ANY(%(days)s) AND d.content_hash <> ''
    UNION ALL
    SELECT t.source_connection, k.kind, t.legal_entity_code, t.document_date, t.currency,
        coalesce(nullif(t.number, ''), t.source_id), 0, 0, 0, 1, t.line_count,
        CASE WHEN t.flow = ANY(%(negative)s) THEN -1 ELSE 1 END * {SIGNED_SQL}
      FROM transactions_businesstransaction t
      JOIN unnest(%(flows)s::text[], %(kinds)s::text[]) AS k (flow, kind) USING (flow)
     WHERE t.legal_entity_code = ANY(%(entities)s) AND t.document_date = ANY(%(days)s)
       AND t.source_connection = ANY(%(sources)s)
       AND NOT EXISTS (SELECT FROM records_billeddocument d
                        WHERE d.external_id = t.source_id AND d.connection_code = t.source_connection
                          AND d.document_type = ANY(%(kinds)s) AND d.content_hash <> '')
), judged AS (
    SELECT *, (count, lines, amount) IS DISTINCT FROM (ended, ended_lines, ended_amount) AS is_apart FROM both_sides)
SELECT source, kind, entity, day, currency, sum(count), sum(amount), sum(ended), sum(ended_amount),
    count(*), (array_agg(number ORDER BY number))[1:{NAMED}]
  FROM judged WHERE is_apart GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


@dataclass(frozen=True)
class Apart:
    """A day's documents of one type, entity and currency that don't add up, without those that do: as received, what
    became of them, how many they are and which."""

    source: str
    kind: str
    entity: str
    day: dt.date
    currency: str
    count: int
    amount: Decimal
    ended: int
    ended_amount: Decimal
    apart: int
    numbers: list[str]

    @property
    def place(self) -> Place:
        """Whose case it is."""
        return Place(self.source, many(self.kind), self.entity, self.day.isoformat())

    @property
    def says(self) -> str:
        """The two sums, and which documents make the difference."""
        places = decimals(self.currency)
        more = f" and {self.apart - len(self.numbers):,} more" if self.apart > len(self.numbers) else ""
        return (
            f"of {', '.join(self.numbers)}{more} received {self.count:,} over {self.currency} "
            f"{self.amount:,.{places}f}; posted, held, ignored and on their way {self.ended:,} over {self.currency} "
            f"{self.ended_amount:,.{places}f}"
        )


class Place(NamedTuple):
    """What a case is the same by."""

    connection: str
    document_type: str
    legal_entity: str
    day: str


def days_apart(days: Iterable[dt.date]) -> list[Apart]:
    """What of these days doesn't add up. One statement, by index, whatever the tables hold of other days."""
    asked = {
        "sources": list(Connection.objects.values_list("code", flat=True)), "entities": ["", *ports.entities()],
        "days": sorted(set(days)), "flows": FLOWS, "kinds": KINDS, "negative": list(NEGATIVE),
    }  # fmt: skip
    return [Apart(*values) for values in fetch_rows(_APART, asked)]


def tell_apart(now: dt.datetime | None = None) -> tuple[int, int]:
    """Open a case for each day of a feed and an entity that doesn't add up, with its sums and documents; close those of
    days that do. A day whose case is open is looked at until it does. Both counts."""
    today = (now or timezone.now()).date()
    open_now = ExceptionCase.objects.filter(kind=KIND, state__in=ExceptionCase.OPEN_STATES)
    known = {_place_of(case) for case in open_now}
    days = {today - dt.timedelta(days=n) for n in range(DAYS)} | {dt.date.fromisoformat(place.day) for place in known}
    found: dict[Place, list[Apart]] = defaultdict(list)
    for one in days_apart(days):
        found[one.place].append(one)
    names = dict(Connection.objects.values_list("code", "name"))
    opened = closed = 0
    for place in sorted(known - found.keys()):
        why = "Everything received of that day is posted, held, ignored or on its way."
        over = _problem(place, "it adds up")
        closed += cases.close_matching(over, how="healed", why=why, connection_code=place.connection) is not None
    for place, parts in found.items():
        whose = f" of {place.legal_entity}" if place.legal_entity else ""
        what = f"{names[place.connection]}'s {place.document_type}{whose} of {place.day}"
        problem = _problem(place, f"{what} don't add up: {'; '.join(part.says for part in parts)}")
        if place in known:
            cases.tell_anew(problem, connection_code=place.connection)
        elif not _is_explained(place, problem.summary):
            cases.open_case(problem, connection_code=place.connection, legal_entity_code=place.legal_entity)
            opened += 1
    return opened, closed


def _problem(place: Place, says: str) -> Problem:
    return Problem(KIND, Category.DRIFT, says[:500], **place._asdict())


def _place_of(case: ExceptionCase) -> Place:
    return Place(**{name: str(case.subject.get(name, "")) for name in Place._fields})


def _is_explained(place: Place, says: str) -> bool:
    """Whether a person has waived just this, document by document and to the cent."""
    waived = ExceptionCase.objects.filter(kind=KIND, state=ExceptionCase.State.WAIVED, summary=says)
    return any(_place_of(case) == place for case in waived)
