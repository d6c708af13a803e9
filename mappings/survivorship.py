"""Which family of systems owns each field of a golden record. Pure: governed rows come in, defaults stand behind.

The CRM owns the account's context and what was sold, billing what is subscribed and how it's paid, the ERP what is
legal, tax and accounting. Until the owner has spoken, the record's first source stands in (`records.store`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

CRM, BILLING, ERP = "crm", "billing", "erp"
_OWNED: dict[str, dict[str, tuple[str, ...]]] = {
    "customer": {
        CRM: ("name", "number", "email", "phone", "bill_to", "ship_to", "parent_id", "legal_entity"),
        BILLING: ("currency", "crm_id", "is_identified"),
        ERP: ("tax_registrations", "payment_terms"),
    },
    "product": {CRM: ("sku", "name", "family", "is_active"), BILLING: ("prices",)},
    "order": {
        CRM: (
            "number", "name", "customer_id", "currency", "start_date", "term_months", "lines", "legal_entity",
            "billing_frequency", "amount", "quote_id", "quote_status", "payment_terms", "po_number",
            "opportunity_id",
        )
    },
    "subscription": {
        BILLING: ("order_id", "customer_id", "currency", "status", "start_date", "is_active", "schedule_id"),
    },
}  # fmt: skip
DEFAULTS = {
    (record_type, field): family
    for record_type, families in _OWNED.items()
    for family, fields in families.items()
    for field in fields
}


def owners(rules: Iterable[tuple[str, str, str, dt.date]], *, on: dt.date) -> Callable[[str, str], str]:
    """Who owns (record type, field) on a date: the newest rule (record type, field, family, from) in force, else the
    default, else nobody ("")."""
    table = dict(DEFAULTS)
    for record_type, field, family, effective_from in sorted(rules, key=lambda rule: rule[3]):
        if effective_from <= on:
            table[(record_type, field)] = family
    return lambda record_type, field: table.get((record_type, field), "")
