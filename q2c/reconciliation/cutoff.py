"""The cut-off list: documents dated, served or posted within some days of a period's end, and what crosses it.

Dates are the entity's own: a document's date and last day of service in its zone, the posting date of its ledger.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from q2c.core.exports import Query
from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.documents import LATEST_SQL, PLACE_SQL, SIGNED_SQL, TYPES, Month

DAYS, DAYS_MAX = 5, 31
ROWS_MAX = 5_000  # read for a screen
FILE_ROWS_MAX = 500_000  # a workbook's sheet has 1,048,576 rows
_POSTED = "CASE WHEN t.state = 'completed' THEN coalesce(p.posting_date, c.posting_date) END"
_DAYS = f"t.document_date, t.service_end, {_POSTED}"
_LIST = f"""
SELECT t.id, t.flow, coalesce(nullif(t.number, ''), t.source_id), t.customer_name, t.currency, {SIGNED_SQL},
       t.tax, {_DAYS}, t.period_code, {PLACE_SQL}
  FROM transactions_businesstransaction t
  LEFT JOIN LATERAL (
       SELECT x.posting_date FROM transactions_preparedposting x WHERE x.transaction_id = t.id
        ORDER BY x.sequence DESC LIMIT 1) p ON true
  LEFT JOIN transactions_contribution c ON c.transaction_id = t.id
 WHERE t.id IN (
       SELECT d.id FROM transactions_businesstransaction d
        WHERE d.legal_entity_code = %(entity)s AND d.document_date BETWEEN %(since)s AND %(until)s
        UNION
       SELECT s.id FROM transactions_businesstransaction s
        WHERE s.legal_entity_code = %(entity)s AND s.service_end BETWEEN %(since)s AND %(until)s
        UNION
       SELECT x.transaction_id FROM transactions_preparedposting x
        WHERE x.legal_entity_code = %(entity)s AND x.posting_date BETWEEN %(since)s AND %(until)s
        UNION
       SELECT y.transaction_id
         FROM transactions_summary m JOIN transactions_contribution y ON y.summary_id = m.transaction_id
        WHERE m.legal_entity_code = %(entity)s AND m.posting_date BETWEEN %(since)s AND %(until)s)
   AND t.flow = ANY(%(flows)s) AND t.amount IS NOT NULL AND t.legal_entity_code = %(entity)s AND {LATEST_SQL}
 ORDER BY coalesce(least({_DAYS}) <= %(last)s AND greatest({_DAYS}) > %(last)s, false) DESC, t.document_date, t.id
 LIMIT %(limit)s
"""
QUERY = Query("cut-off", "Cut-off list", _LIST)


@dataclass(frozen=True)
class Row:
    """One document around a period's end. `reasons` say which of its dates lie there, `crosses` what lies on both
    sides of it."""

    id: UUID
    flow: str
    number: str
    customer: str
    currency: str
    amount: Decimal
    tax: Decimal | None
    dated: dt.date | None
    served: dt.date | None
    posted: dt.date | None
    period: str
    place: str
    reasons: tuple[str, ...]
    crosses: str

    @property
    def title(self) -> str:
        """What its type is called."""
        return TYPES[self.flow]


@dataclass(frozen=True)
class CutOff:
    """The rows, as of an instant; whether there are more than were read."""

    month: Month
    days: int
    since: dt.date
    until: dt.date
    as_of: dt.datetime
    rows: tuple[Row, ...]
    has_more: bool

    @property
    def crossing(self) -> int:
        """How many documents have dates on both sides of the period's end."""
        return sum(1 for row in self.rows if row.crosses)


def cut_off(month: Month, *, days: int = DAYS, limit: int = ROWS_MAX) -> CutOff:
    """The documents around the end of a period: `days` days up to its last one, and as many after it; those with
    days on both sides of it first. One statement, by index. Raises ValueError for fewer than 1 or more than 31 days."""
    if not 1 <= days <= DAYS_MAX:
        raise ValueError(f"From 1 to {DAYS_MAX} days around a period’s end can be listed.")
    since, until = month.last - dt.timedelta(days=days - 1), month.last + dt.timedelta(days=days)
    asked = {"entity": month.entity, "since": since, "until": until, "flows": list(TYPES), "limit": limit + 1,
             "last": month.last}  # fmt: skip
    as_of = dt.datetime.now(dt.UTC)
    found = [_row(month, since, until, fields) for fields in fetch_rows(_LIST, asked)]
    rows = tuple(row for row in found[:limit] if row.reasons)  # a posting that was only prepared is no date of it
    return CutOff(month, days, since, until, as_of, rows, len(found) > limit)


def _row(month: Month, since: dt.date, until: dt.date, fields: tuple[Any, ...]) -> Row:
    own = dict(zip(("dated", "served", "posted"), fields[7:10], strict=True))
    reasons = tuple(name for name, day in own.items() if day is not None and since <= day <= until)
    return Row(*(*fields, reasons, _crosses(month, own)))


def _crosses(month: Month, days: dict[str, dt.date | None]) -> str:
    """For example `served by the end, dated after it`; empty where all its days lie on one side."""
    before = [name for name, day in days.items() if day is not None and day <= month.last]
    after = [name for name, day in days.items() if day is not None and day > month.last]
    if not before or not after:
        return ""
    return f"{' and '.join(before)} by the end, {' and '.join(after)} after it"
