"""Documents that are not carried into the books, each with its amount, the reason and who answers for the reason.

Nothing is left out in silence: what a report of a period lacks stands here, in its own currency.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from q2c.core.exports import Query
from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.documents import Month

ROWS_MAX = 20_000

# Served by the partial index of ignored documents: they are few.
_ROWS = """
SELECT d.connection_code, d.document_type, d.external_id, d.number, d.customer_id, d.document_date, d.currency,
    d.amount, d.ignored_reason
FROM records_billeddocument d
WHERE d.ignored_reason <> '' AND d.legal_entity_code = %(entity)s AND d.document_date BETWEEN %(first)s AND %(last)s
ORDER BY d.ignored_reason, d.document_date, d.connection_code, d.number, d.external_id LIMIT %(limit)s
"""
QUERY = Query("ignored", "Ignored documents", _ROWS)
CONTROLLERSHIP, BILLING = "Controllership", "Billing operations"
# Why, in words, and who answers for it: whoever keeps the rule by which it's so.
_REASONS = {
    "zero_amount": ("A document of 0 has no effect on the books", CONTROLLERSHIP),
    "payout_never_arrived": ("The payout failed on its way: the bank never had the money", CONTROLLERSHIP),
}


@dataclass(frozen=True)
class IgnoredDocument:
    """One document that isn't carried. `amount` is as the document says it, in major units of `currency`."""

    connection: str
    document_type: str
    external_id: str
    number: str
    customer: str
    dated: dt.date
    currency: str
    amount: Decimal
    reason: str

    @property
    def why(self) -> str:
        """The reason in words."""
        if self.reason.startswith("refund_"):
            return f"A refund that is {self.reason.removeprefix('refund_').replace('_', ' ')} moved no money"
        return _REASONS.get(self.reason, (self.reason.replace("_", " ").capitalize(), ""))[0]

    @property
    def owner(self) -> str:
        """Who answers for the reason."""
        return _REASONS.get(self.reason, ("", BILLING))[1]


def ignored_of(month: Month, *, limit: int = ROWS_MAX) -> list[IgnoredDocument]:
    """The documents of an entity's period that aren't carried, by reason and day; one more than `limit` at most."""
    asked = {"entity": month.entity, "first": month.first, "last": month.last, "limit": limit + 1}
    return [IgnoredDocument(*values) for values in fetch_rows(_ROWS, asked)]
