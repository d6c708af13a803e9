"""The flash: what an entity billed in a period, and where it is: posted, awaiting, held, on the way, given up.

Every document stands in exactly one place, so billed is their sum. Net, tax and gross are the document's own; nothing
is converted, and currencies are never added up.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from q2c.core.exports import Query
from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.documents import (
    LATEST_SQL,
    OF_PERIOD_SQL,
    PLACE_SQL,
    PLACES,
    SIGNED_SQL,
    TYPES,
    Month,
)

_OF_PERIOD = f"""
SELECT t.flow, t.currency, t.source_connection, t.source_id, t.target_connection, t.target_id,
       {SIGNED_SQL} AS amount, coalesce(t.tax, 0) AS tax, {PLACE_SQL} AS place
  FROM transactions_businesstransaction t
 WHERE {OF_PERIOD_SQL}
   AND t.flow = ANY(%(flows)s) AND t.currency <> '' AND t.amount IS NOT NULL AND {LATEST_SQL}
"""
_FIGURES = f"""
SELECT flow, currency, place, count(*), sum(amount), sum(tax) FROM ({_OF_PERIOD}) d GROUP BY 1, 2, 3
"""
# What of posted receipts and credit memos settles nothing yet. Lineage tells what was applied: in the ERP (settles), of
# which two people may have agreed to less than billing applied, and where the ERP was told nothing in billing (paid by,
# settled by); by the credit memo itself in the ERP (applied to), what went back or came again, and what was taken off
# an invoice (released from) and put on the one that stands in its place (settles, told by the same act). Signed, and in
# the document's own currency; each movement is one of its own, no version of another.
_UNAPPLIED = f"""
WITH docs AS MATERIALIZED (
    SELECT * FROM ({_OF_PERIOD}) d
     WHERE place = 'posted' AND flow IN ('payment_to_erp', 'credit_memo_to_erp')),
used AS (
    SELECT d.source_connection, d.source_id, l.transaction_id, l.amount FROM docs d
      JOIN transactions_lineagelink l ON l.target_id = d.source_id AND l.target_system = d.source_connection
       AND l.currency = d.currency AND l.relation IN ('paid by', 'settled by') AND NOT EXISTS (
            SELECT FROM transactions_lineagelink s WHERE s.transaction_id = l.transaction_id
               AND s.source_id = d.target_id AND s.source_system = d.target_connection AND s.relation = 'settles')
     UNION ALL
    SELECT d.source_connection, d.source_id, l.transaction_id, -l.amount FROM docs d
      JOIN transactions_lineagelink l ON l.source_id = d.source_id AND l.source_system = d.source_connection
       AND l.currency = d.currency
       AND l.relation IN ('given back by', 'refunded by', 'refund failed', 'disputed by', 'dispute won',
                          'dispute taken back')
     UNION ALL
    SELECT d.source_connection, d.source_id, l.transaction_id, l.amount FROM docs d
      JOIN transactions_lineagelink l ON d.target_id <> '' AND l.source_id = d.target_id
       AND l.source_system = d.target_connection AND l.currency = d.currency
       AND (l.relation IN ('applied to', 'released from') OR l.relation = 'settles' AND EXISTS (
            SELECT FROM transactions_lineagelink r WHERE r.transaction_id = l.transaction_id
               AND (r.source_id = l.source_id AND r.relation = 'released from' OR r.target_id = d.source_id
                    AND r.target_system = d.source_connection AND r.relation IN ('paid by', 'settled by'))))),
sums AS (
    SELECT u.source_connection, u.source_id, sum(u.amount) AS amount FROM used u
      JOIN transactions_businesstransaction t ON t.id = u.transaction_id AND t.state = 'completed'
       AND (t.flow IN ('unwinding_to_erp', 'reversal_to_erp') OR {LATEST_SQL})
     GROUP BY 1, 2)
SELECT d.flow, d.currency, count(*), sum(d.amount - coalesce(s.amount, 0)) FROM docs d
  LEFT JOIN sums s USING (source_connection, source_id)
 WHERE d.amount > coalesce(s.amount, 0) GROUP BY 1, 2
"""
_HOMELESS = """
SELECT count(*) FROM transactions_businesstransaction t
 WHERE t.legal_entity_code = '' AND t.state IN ('held', 'unknown') AND t.flow = ANY(%s)
"""
QUERY = Query("flash", "Flash", _FIGURES + _UNAPPLIED)


@dataclass
class Figure:
    """How many documents, and their net, tax and gross in their own currency."""

    count: int = 0
    gross: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)

    @property
    def net(self) -> Decimal:
        """Gross less tax."""
        return self.gross - self.tax

    def add(self, other: Figure) -> None:
        """One more part."""
        self.count, self.gross, self.tax = self.count + other.count, self.gross + other.gross, self.tax + other.tax


@dataclass
class Line:
    """One document type in one currency: where each of its documents is, and what of posted ones is unapplied."""

    flow: str
    currency: str
    places: dict[str, Figure] = field(default_factory=lambda: {place: Figure() for place in PLACES})
    unapplied: Figure = field(default_factory=Figure)

    @property
    def title(self) -> str:
        """What the type is called."""
        return TYPES[self.flow]

    @property
    def billed(self) -> Figure:
        """All of them, wherever they are."""
        whole = Figure()
        for part in self.places.values():
            whole.add(part)
        return whole


@dataclass(frozen=True)
class Flash:
    """The lines of an entity's period as of an instant."""

    month: Month
    as_of: dt.datetime
    lines: tuple[Line, ...]


def flash_of(month: Month) -> Flash:
    """The flash of an entity's period, as of now: two statements, each by index."""
    asked = {
        "entity": month.entity, "period": month.code, "first": month.first, "last": month.last, "flows": list(TYPES),
    }  # fmt: skip
    as_of = dt.datetime.now(dt.UTC)
    found: dict[tuple[str, str], Line] = {}
    for flow, currency, place, count, gross, tax in fetch_rows(_FIGURES, asked):
        line = found.setdefault((flow, currency), Line(flow, currency))
        line.places[place] = Figure(count, gross, tax)
    for flow, currency, count, amount in fetch_rows(_UNAPPLIED, asked):
        found[flow, currency].unapplied = Figure(count, amount)
    order = list(TYPES)
    lines = sorted(found.values(), key=lambda line: (order.index(line.flow), line.currency))
    return Flash(month, as_of, tuple(lines))


def count_homeless() -> int:
    """Held documents of which nobody knows yet whose they are: they are in no entity's flash."""
    ((count,),) = fetch_rows(_HOMELESS, [list(TYPES)])
    return int(count)
