"""Documents that are not carried into the books, each with its amount, the reason and who answers for the reason.

They were ignored as they came, weren't needed any more once they were read, or were given up by people. Nothing is left
out in silence: what a report of a period lacks stands here, in its own currency. What is held or on its way is the
flash's to show, and what never came completeness'.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from exceptions.kind_words import WAIVE_REASONS
from q2c.core.exports import Query
from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.documents import LATEST_SQL, OF_PERIOD_SQL, SIGNED_SQL, TYPES, Month

ROWS_MAX = 20_000
GIVEN_UP, NOT_NEEDED = "given_up", "not_needed"

# The ignored ones are served by their partial index: they are few.
_LISTED = f"""
SELECT d.connection_code, d.document_type, d.external_id, d.number, d.customer_id, d.document_date AS dated, d.currency,
    d.amount, d.ignored_reason AS reason, '' AS code, '' AS said, '' AS by, NULL::uuid AS transaction_id
FROM records_billeddocument d
WHERE d.ignored_reason <> '' AND {{ignored}}
UNION ALL
SELECT t.source_connection, t.flow, t.source_id, t.number, t.customer_id, t.document_date, t.currency,
    {SIGNED_SQL}, CASE WHEN w.id IS NULL THEN '{NOT_NEEDED}' ELSE '{GIVEN_UP}' END, coalesce(w.code, ''),
    coalesce(w.why, t.waits_for), coalesce(nullif(p.display_name, ''), p.username, ''), t.id
FROM transactions_businesstransaction t
LEFT JOIN exceptions_waiver w ON w.transaction_id = t.id AND w.undone_at IS NULL
LEFT JOIN core_person p ON p.id = w.by_id
WHERE {{ended}} AND t.state = 'cancelled' AND t.flow = ANY(%(flows)s) AND t.amount IS NOT NULL AND {LATEST_SQL}
"""
_IN_ORDER = "ORDER BY reason, dated, connection_code, number, external_id LIMIT %(limit)s\n"
_OF_ENTITY = "d.legal_entity_code = %(entity)s AND d.document_date BETWEEN %(first)s AND %(last)s"
_ROWS = _LISTED.format(ignored=_OF_ENTITY, ended=OF_PERIOD_SQL) + _IN_ORDER
# Of no known entity, dated in the period or not at all: they are in no entity's report.
_NOBODYS = (
    "{0}.legal_entity_code = '' AND ({0}.document_date IS NULL OR {0}.document_date BETWEEN %(first)s AND %(last)s)"
)
_HOMELESS = _LISTED.format(ignored=_NOBODYS.format("d"), ended=_NOBODYS.format("t"))
QUERY = Query("ignored", "Ignored documents", _ROWS)
OF_NOBODY = Query("ignored_of_no_entity", "Ignored documents of no known entity", _HOMELESS + _IN_ORDER)
CONTROLLERSHIP, BILLING = "Controllership", "Billing operations"
# Why, in words, and who answers for it: whoever keeps the rule by which it's so.
_REASONS = {
    "zero_amount": ("A document of 0 has no effect on the books", CONTROLLERSHIP),
    "payout_never_arrived": ("The payout failed on its way: the bank never had the money", CONTROLLERSHIP),
}


@dataclass(frozen=True)
class IgnoredDocument:
    """One document that isn't carried. `amount` is in major units of `currency`; `said` is what its ending says, with
    the `code` and the name of the person where it was given up; `transaction_id` leads to it where it was read."""

    connection: str
    kind: str
    external_id: str
    number: str
    customer: str
    dated: dt.date | None
    currency: str
    amount: Decimal
    reason: str
    code: str = ""
    said: str = ""
    by: str = ""
    transaction_id: UUID | None = None

    @property
    def document_type(self) -> str:
        """What it is, as its source's register names it: of a flow without the word that says where it goes."""
        return self.kind.removesuffix("_to_erp")

    @property
    def why(self) -> str:
        """The reason in words."""
        if self.code:
            return f"Given up. {WAIVE_REASONS.get(self.code, self.code.replace('_', ' ').capitalize())}: {self.said}"
        if self.said:
            return self.said[:1].upper() + self.said[1:]
        if self.reason.startswith("refund_"):
            return f"A refund that is {self.reason.removeprefix('refund_').replace('_', ' ')} moved no money"
        return _REASONS.get(self.reason, (self.reason.replace("_", " ").capitalize(), ""))[0]

    @property
    def owner(self) -> str:
        """Who answers for the reason: whoever gave it up; else who keeps the rule, which for 0 is posting policy."""
        if self.reason == NOT_NEEDED:
            return BILLING if self.amount else CONTROLLERSHIP
        return self.by or _REASONS.get(self.reason, ("", BILLING))[1]

    @property
    def total(self) -> str:
        """What its amount is added up with: documents of one type that aren't carried for the same reason."""
        kind = f" {TYPES[self.kind].lower()}" if self.kind in TYPES else ""
        return f"{self.reason}{kind}, {self.currency}"


def ignored_of(month: Month, *, limit: int = ROWS_MAX) -> list[IgnoredDocument]:
    """The documents of an entity's period that aren't carried, by reason and day; one more than `limit` at most."""
    asked = {**_asked(month), "entity": month.entity, "period": month.code, "limit": limit + 1}
    return [IgnoredDocument(*values) for values in fetch_rows(_ROWS, asked)]


def homeless_of(month: Month, *, limit: int = ROWS_MAX) -> list[IgnoredDocument]:
    """The same of no known entity, dated in the period or not at all."""
    asked = {**_asked(month), "limit": limit + 1}
    return [IgnoredDocument(*values) for values in fetch_rows(OF_NOBODY.definition, asked)]


def count_homeless(month: Month) -> int:
    """How many these are."""
    ((count,),) = fetch_rows(f"SELECT count(*) FROM ({_HOMELESS}) x", _asked(month))
    return int(count)


def _asked(month: Month) -> dict[str, object]:
    return {"first": month.first, "last": month.last, "flows": list(TYPES)}
