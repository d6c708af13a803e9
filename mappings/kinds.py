"""The catalogue of mapping kinds: what is translated, from which key to which list, by whose leave.

One row adds a kind, and with it its screen, its sheet, its resolver, its exception kind and its documentation.
Posting policy, manual rates and thresholds are governed exactly like mappings, so they are rows here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mappings.survivorship import KEYS, OWNER_PATTERN, OWNER_WORDS

# The dimensions that may narrow a rule, in the order in which screens show them.
DIMENSIONS = ("connection", "legal_entity", "currency", "region", "product_line")
# The document fields that a rule's conditions may look at: a small fixed set, never an expression.
CONDITION_FIELDS = ("document_type", "customer_country", "ship_to_country", "charge_type", "payment_method")

BILLING_OPS, CONTROLLERSHIP, SALES_OPS = "billing_ops", "controllership", "sales_ops"
PROPOSE, APPROVE = "mappings.propose_rule", "mappings.approve_rule"
FREE = "free"
DateBasis = Literal["document", "original_line", "posting"]


@dataclass(frozen=True)
class Approval:
    """Who must agree to a change of this kind: the permission that a signer needs, and how many signers."""

    permission: str = APPROVE
    signatures: int = 1


@dataclass(frozen=True)
class Kind:
    """One kind of mapping.

    `target` is the name of a reference list of the target system (`items`, `accounts`, ...), or `free`.
    `account_classes` gives the classes an account may have, by key prefix (a receivables account isn't revenue).
    `date_basis`: which date a rule must be in force on; a credit uses the original line's.
    `keys` closes the set of keys. `missing_says` is filled with {system}, {key}, {scope}.
    """

    code: str
    title: str
    key_fields: tuple[str, ...]
    target: str
    missing_code: str
    missing_says: str
    scope: tuple[str, ...] = ("legal_entity",)
    keys: tuple[str, ...] = ()
    approval: Approval = Approval()
    propose: str = PROPOSE
    effective_default: Literal["today", "period_start", "document"] = "today"
    date_basis: DateBasis = "document"
    account_classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    allows_fallback: bool = False
    allows_patterns: bool = True
    owner: str = BILLING_OPS
    about: str = ""
    values: str = ""  # a regular expression over the whole value, where there's no list of the target
    values_say: str = ""  # the same in words
    values_of: tuple[tuple[str, str, str], ...] = ()  # where each key has its own: key, expression, words
    key_is_date: bool = False

    def classes_for(self, key: str) -> tuple[str, ...]:
        """The account classes allowed for this key; empty means any."""
        return next((classes for prefix, classes in self.account_classes if key.startswith(prefix)), ())

    def form_of(self, key: str) -> tuple[str, str]:
        """The regular expression over the whole value of this key, and the same in words; empty means any."""
        return next(
            ((form, says) for name, form, says in self.values_of if name == key), (self.values, self.values_say)
        )


# Which class of account a role may have: a receivables account isn't revenue (classes as the connectors name them).
ACCOUNT_CLASSES = (
    ("receivables_control", ("asset",)),  # of a summary, whose lines name no customer: no account by customer
    ("receivables", ("receivable",)),
    ("clearing:", ("asset",)),
    ("bank", ("asset",)),
    ("fees", ("expense",)),
    ("disputes", ("expense", "asset")),
    ("reserves", ("asset",)),
    ("rounding", ("expense", "revenue")),
    ("discounts", ("revenue", "expense")),
    ("suspense", ("asset", "liability")),
    ("refunds", ("asset", "liability")),
)
POLICY_FIELDS = (
    "revenue_owner", "subledger_owner", "detail", "posting_date", "window", "rounding_limit", "approval_over",
    "summary_cut_off", "zero_amount", "missing_service_dates", "credit_rate", "price_tolerance",
    "billed_account", "release_over", "hold_duplicates",
)  # fmt: skip

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_CLOSE = f"WD[1-9][0-9]? {_TIME}"
_TIME_SAYS, _CLOSE_SAYS = "a time such as 09:00", "a working day after the period and a time, such as WD3 18:00"
WORK_CALENDAR = (
    ("weekdays", "(mon|tue|wed|thu|fri|sat|sun)( (mon|tue|wed|thu|fri|sat|sun))*", "weekdays such as mon tue wed thu"),
    ("opens", _TIME, _TIME_SAYS),
    ("closes", _TIME, _TIME_SAYS),
    ("receivables_close", _CLOSE, _CLOSE_SAYS),
    ("ledger_close", _CLOSE, _CLOSE_SAYS),
)
RETAINED = ("steps", "lineage", "postings", "raw_bodies", "exchanges", "outgoing_events")

KINDS = (
    Kind("item", "SKU to ERP item", ("sku",), "items", "missing_item_mapping",
         "{system} has no item for SKU {key}{scope}", scope=("connection", "legal_entity", "currency", "product_line"),
         date_basis="original_line", allows_fallback=True,
         about="Decides revenue, deferral and tax behaviour of the line through the item's own set-up in the ERP."),
    Kind("billing_product", "SKU to billing product", ("sku",), "products", "missing_product_mapping",
         "{system} has no product for SKU {key}{scope}", scope=("connection", "legal_entity", "currency"),
         owner=SALES_OPS, about="A product or price of billing, or the word create."),
    Kind("subsidiary", "Legal entity to ERP subsidiary", ("legal_entity",), "subsidiaries",
         "missing_subsidiary_mapping", "{system} has no subsidiary for legal entity {key}", scope=("connection",),
         allows_patterns=False, owner=CONTROLLERSHIP),
    Kind("selling_entity", "Who sells", ("currency_or_country",), "legal_entities", "legal_entity_unknown",
         "No legal entity sells to {key}", scope=("connection", "region"), owner=CONTROLLERSHIP,
         about="The selling legal entity of a document that doesn't name one, by its currency or the customer's "
         "country."),
    Kind("tax_code", "Tax code of the engine to ERP tax code", ("tax_code",), "tax_codes", "missing_tax_code_mapping",
         "{system} has no tax code for {key}{scope}", scope=("connection", "legal_entity", "region"),
         date_basis="original_line",
         about="Billing's tax rate; where nothing is due, with the reason behind it: txr_1:reverse_charge."),
    Kind("account", "Role to GL account", ("role",), "accounts", "missing_account_mapping",
         "{system} has no account for {key}{scope}", scope=("connection", "legal_entity", "currency"),
         date_basis="posting", allows_patterns=False, owner=CONTROLLERSHIP, account_classes=ACCOUNT_CLASSES,
         about="receivables, receivables_control (of summaries), clearing:<gateway>, bank, fees, disputes, reserves, "
         "rounding, discounts, suspense, refunds."),
    Kind("department", "Product line to department", ("product_line",), "departments", "missing_department_mapping",
         "{system} has no department for {key}{scope}", date_basis="original_line"),
    Kind("class", "Product line to class", ("product_line",), "classes", "missing_class_mapping",
         "{system} has no class for {key}{scope}", date_basis="original_line"),
    Kind("location", "Legal entity to location", ("legal_entity",), "locations", "missing_location_mapping",
         "{system} has no location for {key}{scope}", date_basis="original_line"),
    Kind("payment_terms", "Payment terms", ("terms",), "terms", "missing_payment_terms_mapping",
         "{system} has no payment terms for {key}{scope}", scope=("connection", "legal_entity")),
    Kind("currency", "Currency to ERP currency", ("currency",), "currencies", "missing_currency_mapping",
         "{system} has no currency for {key}", scope=("connection",), allows_patterns=False, owner=CONTROLLERSHIP),
    Kind("customer", "Customer of a document that names none", ("customer",), "customers", "customer_unidentified",
         "Nobody has said who “{key}” is{scope}", scope=("connection", "legal_entity"),
         about="Source customer key to the ERP's customer, for documents whose source doesn't know the customer."),
    Kind("revenue_rule", "Revenue rule", ("treatment",), "revenue_rules", "missing_revenue_rule_mapping",
         "{system} has no revenue rule for {key}{scope}", scope=("connection", "legal_entity", "product_line"),
         date_basis="original_line", owner=CONTROLLERSHIP),
    Kind("gateway_bank", "Gateway to bank account", ("gateway",), "accounts", "missing_bank_mapping",
         "{system} has no bank account for payouts of {key}{scope}", scope=("connection", "legal_entity", "currency"),
         date_basis="posting", owner=CONTROLLERSHIP, account_classes=(("", ("asset",)),)),
    Kind("intercompany", "Pair of entities to due-to and due-from accounts", ("from_entity", "to_entity"), "accounts",
         "missing_intercompany_mapping", "{system} has no intercompany account for {key}", scope=("connection",),
         date_basis="posting", owner=CONTROLLERSHIP),
    Kind("posting_policy", "Posting policy", ("field",), FREE, "missing_posting_policy",
         "No posting policy says {key}{scope}", keys=POLICY_FIELDS, allows_patterns=False, owner=CONTROLLERSHIP,
         date_basis="posting", effective_default="period_start",
         about="Who owns revenue and the sub-ledger, detail (line or summary), dates, window, cut-off, limits (of "
         "rounding: in smallest units of the currency), a credit's exchange rate (original or document), documents of "
         "0 (post or skip), missing service dates of what defers (document or hold), which account of a hierarchy is "
         "billed (own, parent or top), how much a change set may release on one signature (release_over, in the "
         "book's currency; beyond, two people sign), and whether a new customer who looks like one that the ERP has is "
         "held (hold_duplicates: off, or the score from which on, 60 to 100)."),
    Kind("field_owner", "Which system owns a field", ("record_type", "field"), FREE, "missing_field_owner",
         "Nobody says who owns {key}{scope}", keys=KEYS, allows_patterns=False, owner=CONTROLLERSHIP,
         values=OWNER_PATTERN, values_say=OWNER_WORDS,
         about="Whose value survives where several systems say something: crm, billing or erp. Others are kept beside "
         "it. With “ alone” nobody stands in until the owner has spoken."),
    Kind("refused_update", "What a refused update does", ("record_type", "field"), FREE, "missing_refused_update",
         "Nobody says what a refused update of {key} does{scope}", keys=KEYS, allows_patterns=False,
         owner=CONTROLLERSHIP, values="keep|case", values_say="keep or case",
         about="Another system's value of a field that it doesn't own is kept beside the surviving one (keep), or a "
         "case is opened too (case)."),
    Kind("manual_rate", "Exchange rate by hand", ("pair",), FREE, "rate_missing",
         "No exchange rate of {key} is younger than 7 days", scope=("legal_entity",), allows_patterns=False,
         owner=CONTROLLERSHIP, date_basis="posting",
         about="A rate that the ERP's table lacks, as base/quote, e.g. KWD/GBP."),
    Kind("work_calendar", "Working hours and closes", ("what",), FREE, "missing_work_calendar",
         "No rule says {key}{scope}", keys=tuple(key for key, _, _ in WORK_CALENDAR), values_of=WORK_CALENDAR,
         allows_patterns=False, owner=CONTROLLERSHIP,
         about="The hours that promised times are counted in, and when receivables and the ledger of a month close, in "
         "the entity's time zone. Without a rule Monday to Friday, 09:00 to 17:00; receivables close at WD3 18:00, the "
         "ledger at WD5 18:00."),
    Kind("holiday", "Holiday", ("date",), FREE, "missing_holiday", "No rule says what {key} is{scope}",
         key_is_date=True, allows_patterns=False, owner=CONTROLLERSHIP,
         about="A date on which an entity doesn't work, with its name. Promised times and closes leave it out."),
    Kind("retention", "How long it is kept", ("what",), FREE, "missing_retention",
         "No rule says how long to keep {key}", scope=(), keys=RETAINED, allows_patterns=False, owner=CONTROLLERSHIP,
         values="keep|[1-9][0-9]{0,2}", values_say="a number of months, or the word keep",
         about="Months after which a whole month is dropped, once nothing of it is unfinished. Steps, lineage and "
         "postings never before 84; without a rule raw bodies and exchanges after 24, outgoing events after 12."),
)  # fmt: skip
BY_CODE = {kind.code: kind for kind in KINDS}


def kind_of(code: str) -> Kind:
    """The kind's row. Raises KeyError for a kind that isn't in the catalogue."""
    return BY_CODE[code]


def approval_of(codes: set[str]) -> Approval:
    """What a change set over these kinds needs: the strictest of them. Raises KeyError for an unknown kind."""
    rows = [BY_CODE[code].approval for code in sorted(codes)]
    return max(rows, key=lambda a: a.signatures)
