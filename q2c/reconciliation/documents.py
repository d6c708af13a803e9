"""Which documents belong to an entity's period, where each is, and which periods there are: what reports share.

A document belongs to the period that its posting was read for; before that, to the one of its date, which is the day
in the entity's own zone. Of what has versions only the latest counts; of what is posted, the latest that is posted.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from q2c.core.models import AccountingPeriod
from q2c.transactions.steps import AWAITED_IN_ERP
from q2c.transactions.versions import came_back_sql, is_version_sql

# What a document type is called, in the order in which finance reads them. What tells the CRM is no document.
TYPES = {
    "invoice_to_erp": "Invoices",
    "credit_memo_to_erp": "Credit memos",
    "invoice_void_to_erp": "Voided invoices",
    "credit_void_to_erp": "Voided credit memos",
    "payment_to_erp": "Payments",
    "refund_to_erp": "Refunds",
    "dispute_to_erp": "Disputes",
    "payout_to_erp": "Payouts",
}
# Where a document is. Posted is what the ledger has; what its own approval still keeps from it is a place of its own.
PLACES = ("posted", "awaiting", "held", "unknown", "on_way", "given_up")
PLACE_WORDS = {
    "posted": "Posted", "awaiting": "Awaiting approval in the ERP", "held": "Held", "unknown": "Outcome unknown",
    "on_way": "On the way", "given_up": "Given up",
}  # fmt: skip
PLACE_SQL = f"""CASE WHEN t.state = 'completed' THEN 'posted'
                    WHEN t.state = 'waiting' AND t.waits_for = '{AWAITED_IN_ERP}' THEN 'awaiting'
                    WHEN t.state IN ('held', 'unknown') THEN t.state
                    WHEN t.state = 'cancelled' THEN 'given_up' ELSE 'on_way' END"""
# Money that came back is a movement of its own; its amount has no sign.
CAME_BACK_SQL = came_back_sql()
# What a document counts with, so that money which went and came back is nothing.
SIGNED_SQL = f"CASE WHEN {CAME_BACK_SQL} THEN -t.amount ELSE t.amount END"
# Another version of the same document stands for this one: the newest that isn't given up; but what is posted is only
# replaced by what is posted too.
LATEST_SQL = f"""NOT EXISTS (SELECT FROM transactions_businesstransaction n
                 WHERE {is_version_sql("n")}
                   AND CASE WHEN n.state = 'cancelled' THEN t.state = 'cancelled' AND n.lane_sequence > t.lane_sequence
                            ELSE t.state = 'cancelled' OR (n.lane_sequence > t.lane_sequence
                                 AND (t.state <> 'completed' OR n.state = 'completed')) END)"""
# The documents of an entity's period, by index: of its posting, and before that of its date.
OF_PERIOD_SQL = """t.id IN (
       SELECT p.id FROM transactions_businesstransaction p
        WHERE p.legal_entity_code = %(entity)s AND p.period_code = %(period)s
        UNION
       SELECT d.id FROM transactions_businesstransaction d
        WHERE d.legal_entity_code = %(entity)s AND d.document_date BETWEEN %(first)s AND %(last)s
          AND d.period_code = '')"""


@dataclass(frozen=True)
class Month:
    """A period of an entity, from its books: its code, its name there, its first and its last day."""

    entity: str
    code: str
    name: str
    first: dt.date
    last: dt.date
    time_zone: str


def months_of(entity: str, *, limit: int = 240) -> list[Month]:
    """The periods of an entity, newest first. Two books of one entity have the same ones: the widest counts."""
    rows = (
        AccountingPeriod.objects.filter(subsidiary__legal_entity__code=entity)
        .order_by("-start_date", "code")
        .values_list("code", "name", "start_date", "end_date", "subsidiary__legal_entity__time_zone")
    )
    found: dict[str, Month] = {}
    for code, name, first, last, zone in rows[: limit * 3]:
        known = found.get(code)
        if known is not None:
            first, last = min(first, known.first), max(last, known.last)
        found[code] = Month(entity, code, name, first, last, zone)
    return list(found.values())[:limit]


def month_of(entity: str, code: str) -> Month | None:
    """One period of an entity; None where its books have none of this code."""
    return next((month for month in months_of(entity) if month.code == code), None) if entity else None
