"""Which system owns each field of a golden record. Pure: governed rules come in as words, defaults behind.

The CRM owns the account's context and what was sold, billing what is subscribed and how it's paid, the ERP what is
legal, tax and accounting. Until the owner has spoken, the record's first source stands in, except where the owner
stands alone: a tax registration is the ERP's or nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass

CRM, BILLING, ERP = "crm", "billing", "erp"
ALONE = "alone"
KEEP, CASE = "keep", "case"
OWNER_PATTERN = "(crm|billing|erp)(:[a-z0-9_-]{1,40})?( alone)?"
OWNER_WORDS = "crm, billing or erp, with :connection where one of several counts, and “ alone” where nobody stands in"
_OWNED: dict[str, dict[str, tuple[str, ...]]] = {
    "customer": {
        CRM: ("name", "number", "email", "phone", "bill_to", "ship_to", "parent_id", "legal_entity"),
        BILLING: ("currency", "crm_id", "is_identified", "pays_from"),
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
_ALONE = frozenset({("customer", "tax_registrations")})
_CASES = frozenset({("customer", "tax_registrations")})


@dataclass(frozen=True)
class Owner:
    """Who owns a field: a family of systems, or one connection of it. `is_alone`: nobody stands in until it has spoken.
    `opens_case`: another system's value isn't only kept, somebody looks at it."""

    family: str = ""
    connection: str = ""
    is_alone: bool = False
    opens_case: bool = False

    def owns(self, family: str, connection: str) -> bool:
        """Whether what this system says of the field counts."""
        return bool(self.family) and family == self.family and self.connection in ("", connection)


NOBODY = Owner()
DEFAULTS = {
    (record_type, field): Owner(
        family, is_alone=(record_type, field) in _ALONE, opens_case=(record_type, field) in _CASES
    )
    for record_type, families in _OWNED.items()
    for family, fields in families.items()
    for field in fields
}
KEYS = tuple(f"{record_type}|{field}" for record_type, field in DEFAULTS)


def owner_of(record_type: str, field: str, *, said: str = "", refusal: str = "") -> Owner:
    """The owner by a rule's words ("erp:netsuite alone") and what a refused update does ("keep" or "case"); where no
    rule says, by default; nobody for a field that has none."""
    default = DEFAULTS.get((record_type, field), NOBODY)
    opens_case = default.opens_case if not refusal else refusal == CASE
    if not said:
        return Owner(default.family, default.connection, default.is_alone, opens_case)
    system, _, alone = said.partition(" ")
    family, _, connection = system.partition(":")
    return Owner(family, connection, alone == ALONE, opens_case)


def words_of(owner: Owner) -> str:
    """The owner in a rule's words."""
    system = f"{owner.family}:{owner.connection}" if owner.connection else owner.family
    return f"{system} {ALONE}" if owner.is_alone else system
