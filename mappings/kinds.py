"""The catalogue of mapping kinds: what is translated, from which key to which list, by whose leave.

One row adds a kind, and with it its screen, its sheet, its resolver, its exception kind and its documentation.
Posting policy, manual rates and thresholds are governed exactly like mappings, so they are rows here too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mappings.survivorship import KEYS, OWNER_PATTERN, OWNER_WORDS
from q2c.canonical.edits import EDITABLE
from q2c.core import retries, service_levels
from q2c.core.roles import QUEUES

# The dimensions that may narrow a rule, in the order in which screens show them.
DIMENSIONS = ("connection", "legal_entity", "currency", "region", "product_line")
COUNTRIES = ("customer_country", "ship_to_country")
# The document fields that a rule's conditions may look at: a small fixed set, never an expression.
CONDITION_FIELDS = ("document_type", *COUNTRIES, "charge_type", "payment_method")
OF_ORDER, OF_DOCUMENT = (*COUNTRIES, "charge_type"), ("document_type", *COUNTRIES)
OF_LINE, OF_CASH = (*OF_DOCUMENT, "charge_type"), ("document_type", "payment_method")

BILLING_OPS, CONTROLLERSHIP, SALES_OPS, PLATFORM = "billing_ops", "controllership", "sales_ops", "platform"
PROPOSE, APPROVE = "mappings.propose_rule", "mappings.approve_rule"
PROPOSE_POLICY, APPROVE_POLICY = "mappings.propose_policy", "mappings.approve_policy"
PROPOSE_RUNNING = "mappings.propose_running"  # what concerns how the machine runs, not what it posts
FREE = "free"
APPROVAL = "approval"  # the kind whose rules say who approves each kind
# From which working day before a period's end to which after it; "close": until the ERP has closed the period.
FREEZE_PATTERN = r"WD-([1-9]|1[0-9]) to (WD\+([1-9]|1[0-9])|close)"
FREEZE_WORDS = "such as WD-2 to WD+3, or WD-2 to close"
ENTITIES, CONNECTIONS = "legal_entities", "connections"
OWN_LISTS = (ENTITIES, CONNECTIONS)  # lists that are ours, so no system is asked for them
DateBasis = Literal["document", "original_line", "posting"]


@dataclass(frozen=True)
class Approval:
    """Who must agree to a change: the permission that each signer needs, how many signers, and what one of them needs
    besides."""

    permission: str = APPROVE
    signatures: int = 1
    also: str = ""

    @property
    def controllers(self) -> int:
        """How many of the signers are of controllership."""
        return self.signatures if self.permission == APPROVE_POLICY else int(bool(self.also))

    def joined(self, other: Approval) -> Approval:
        """The strictest of both: as many signers, and as many of controllership, as either asks for."""
        signatures = max(self.signatures, other.signatures)
        controllers = max(self.controllers, other.controllers)
        if controllers == signatures:
            return Approval(APPROVE_POLICY, signatures)
        return Approval(APPROVE, signatures, APPROVE_POLICY if controllers else "")


ONE, TWO = Approval(), Approval(signatures=2)
CONTROLLER, TWO_CONTROLLERS = Approval(APPROVE_POLICY), Approval(APPROVE_POLICY, 2)
TWO_ONE_CONTROLLER = Approval(signatures=2, also=APPROVE_POLICY)
# What a rule of kind `approval` says, from the mildest to the strictest. "Approver" is whoever may approve rules.
APPROVALS = {
    "1 approver": ONE,
    "2 approvers": TWO,
    "1 controller": CONTROLLER,
    "2 with a controller": TWO_ONE_CONTROLLER,
    "2 controllers": TWO_CONTROLLERS,
}


@dataclass(frozen=True)
class Kind:
    """One kind of mapping.

    `target` is the name of a reference list of the target system (`items`, `accounts`, ...), one of ours, or `free`.
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
    approval: Approval = ONE  # where no rule of kind `approval` says another
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
    verb: str = "becomes"  # between key and value, in a sentence
    values_of: tuple[tuple[str, str, str], ...] = ()  # where each key has its own: key, expression, words
    key_is: Literal["", "date", "currency", "pair"] = ""  # what any key must look like; a pair: base/quote
    conditions: tuple[str, ...] = ()  # the facts that its documents really say: a rule may look at no other
    conditions_of: tuple[tuple[str, tuple[str, ...]], ...] = ()  # keys, up to a colon, whose documents say less

    def classes_for(self, key: str) -> tuple[str, ...]:
        """The account classes allowed for this key; empty means any."""
        return next((classes for prefix, classes in self.account_classes if key.startswith(prefix)), ())

    def conditions_for(self, key: str) -> tuple[str, ...]:
        """What the conditions of a rule of this key may look at."""
        return next((may for name, may in self.conditions_of if name == key.partition(":")[0]), self.conditions)

    def form_of(self, key: str) -> tuple[str, str]:
        """The regular expression over the whole value of this key, and the same in words; empty means any."""
        return next(
            ((form, says) for name, form, says in self.values_of if name == key), (self.values, self.values_say)
        )


# Roles whose documents say less: of many documents at once, or of no customer (a payout clears what all paid).
OF_MANY, OF_GATEWAY = ("accrued_revenue", "bank", "reserves"), ("clearing", "disputes", "fees")
OF_ROLES = (*((role, ()) for role in OF_MANY), *((role, OF_CASH) for role in OF_GATEWAY))
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
    ("accrued_revenue", ("asset",)),  # earned, not billed in the ledger yet: never receivables, which are by customer
)
# What a rule of kind `resolution_approval` asks for, from the mildest to the strictest: how many sign, and who.
COLLEAGUE, CONTROLLER_SIGNS = "exceptions.approve_resolution", "transactions.approve_posting"
RESOLUTION_LEVELS: dict[str, Approval | None] = {
    "nobody": None,
    "1 colleague": Approval(COLLEAGUE),
    "2 colleagues": Approval(COLLEAGUE, 2),
    "1 controller": Approval(CONTROLLER_SIGNS),
    "2 with a controller": Approval(COLLEAGUE, 2, CONTROLLER_SIGNS),
    "2 controllers": Approval(CONTROLLER_SIGNS, 2),
}
RESOLUTION_APPROVAL = "resolution_approval"
RESOLUTIONS_SIGNED = (
    "repost", "waive", "link", "edit_fields", "choose_period", "reopen_period", "accrue", "override", "write_off",
    "accept_difference", "apply_open", "back_fill",
)  # fmt: skip
# How much may be taken off receivables: of one invoice, by one person, of one customer, in one period; each cumulated.
ADJUSTMENT_LIMIT = "adjustment_limit"
LIMITED_BY = ("item", "person", "customer", "period")
ADJUSTMENT_LIMITS = tuple(f"{what}|{of}" for what in ("accept_difference", "write_off") for of in LIMITED_BY)
# One field of an edit may have a rule of its own, which stands before that of edits.
EDITED_FIELDS = tuple(dict.fromkeys(f"edit_fields|{field.name}" for fields in EDITABLE.values() for field in fields))
_LEVEL = f"({'|'.join(RESOLUTION_LEVELS)})"
_SIGNED_LEVEL = f"({'|'.join(level for level, asked in RESOLUTION_LEVELS.items() if asked)})"
_AMOUNT = r"[0-9]{1,15}(\.[0-9]{1,6})?"
_BOOK = "an amount in the book's currency"
_OR = "{} or {}".format
# Each field of posting policy with what it may say.
POLICY_VALUES = (
    ("revenue_owner", "erp|engine|billing", "erp, engine or billing"),
    ("subledger_owner", "erp|billing", _OR("erp", "billing")),
    ("detail", "line|summary", _OR("line", "summary")),
    ("posting_date", "document|today", _OR("document", "today")),
    ("window", r"always|[0-2]\d:[0-5]\d ?- ?[0-2]\d:[0-5]\d", "always, or two times such as 08:00-18:00"),
    ("rounding_limit", "[0-9]{1,6}", "a number of the currency's smallest units"),
    ("approval_over", _AMOUNT, _BOOK),
    ("summary_cut_off", r"[0-2]\d:[0-5]\d", "a time such as 02:00"),
    ("zero_amount", "post|skip", _OR("post", "skip")),
    ("missing_service_dates", "document|hold", _OR("document", "hold")),
    ("credit_rate", "original|document", _OR("original", "document")),
    ("rate_days_max", "[0-9]{1,3}", "a number of days"),
    ("price_tolerance", _AMOUNT, "a percentage such as 20"),
    ("billed_account", "own|parent|top", "own, parent or top"),
    ("release_over", _AMOUNT, _BOOK),
    ("close_freeze", FREEZE_PATTERN, FREEZE_WORDS),
    ("late_documents", "next period|accrue|reopen|either", "next period, accrue, reopen or either"),
    ("write_off_tax", "keep|take back", _OR("keep", "take back")),
    ("hold_duplicates", "off|[6-9][0-9]|100", "off, or a score from 60 to 100"),
)  # fmt: skip
POLICY_FIELDS = tuple(name for name, _, _ in POLICY_VALUES)

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_CLOSE = f"WD[1-9][0-9]? {_TIME}"
_TIME_SAYS, _CLOSE_SAYS = "a time such as 09:00", "a working day after the period and a time, such as WD3 18:00"
WORK_CALENDAR = (
    ("weekdays", "(mon|tue|wed|thu|fri|sat|sun)( (mon|tue|wed|thu|fri|sat|sun))*", "weekdays such as mon tue wed thu"),
    ("opens", _TIME, _TIME_SAYS),
    ("closes", _TIME, _TIME_SAYS),
    ("receivables_close", _CLOSE, _CLOSE_SAYS),
    ("ledger_close", _CLOSE, _CLOSE_SAYS),
    ("close_days", FREEZE_PATTERN.replace("|close", ""), "working days around a period's end, such as WD-2 to WD+3"),
    ("close_pace", "[1-9]", "a number from 1 to 9"),
)
# What goes to a system of its own from a day on, by the role that the system plays. A refund, dispute or application
# follows what it is about, and so does a credit or payment that names its invoice.
TARGET_KEYS = (
    "erp|*", "erp|invoice", "erp|credit_memo", "erp|payment", "erp|payout", "erp|customer", "billing|order",
)  # fmt: skip
# Where a case goes: a queue, and if wanted whom to, how pressing, and from which amount at risk on; several by ";".
ROUTING = "routing"
_STEP = rf"({'|'.join(QUEUES)})( to [\w.@+-]+)?( as (urgent|high|medium|low))?( from {_AMOUNT})?"
RETRY_POLICY, SERVICE_LEVEL = "retry_policy", "service_level"
REPLAY_WINDOW = "replay_window"
REPLAY_DAYS = 400  # where no rule says: a fiscal year and a month
RETAINED = ("steps", "lineage", "postings", "raw_bodies", "exchanges", "outgoing_events", "alerts", "bulk_rows")
ARCHIVED = RETAINED[:6]  # what goes by whole months

# How an entity's bill runs post: without a rule of `posting` there are none, and nothing asks for one.
BILL_RUN = "bill_run"
BILL_RUN_VALUES = (
    ("posting", "as they come|hold", _OR("as they come", "hold")),
    ("release", "1 person|2 people|by itself", "1 person, 2 people or by itself"),
    ("complete_after", "day|[0-9]{1,4}m", "day, or minutes without a new document such as 30m"),
    ("least", "[1-9][0-9]{0,6}", "a number of documents"),
    ("problem_share", r"(100|[0-9]{1,2})(\.[0-9])?", "a percentage from 0 to 100"),
    ("variance", r"any|[0-9]{1,4}(\.[0-9])?", "a percentage, or the word any"),
    ("late", "post|hold", _OR("post", "hold")),
)

_KINDS = (
    Kind("item", "SKU to ERP item", ("sku",), "items", "missing_item_mapping",
         "{system} has no item for SKU {key}{scope}", scope=("connection", "legal_entity", "currency", "product_line"),
         date_basis="original_line", allows_fallback=True, conditions=OF_LINE,
         about="Decides revenue, deferral and tax behaviour of the line through the item's own set-up in the ERP."),
    Kind("billing_product", "SKU to billing product", ("sku",), "products", "missing_product_mapping",
         "{system} has no product for SKU {key}{scope}", scope=("connection", "legal_entity", "currency"),
         owner=SALES_OPS, conditions=OF_ORDER, about="A product or price of billing, or the word create."),
    Kind("subsidiary", "Legal entity to ERP subsidiary", ("legal_entity",), "subsidiaries",
         "missing_subsidiary_mapping", "{system} has no subsidiary for legal entity {key}", scope=("connection",),
         allows_patterns=False, owner=CONTROLLERSHIP, approval=CONTROLLER),
    Kind("selling_entity", "Who sells", ("currency_or_country",), ENTITIES, "legal_entity_unknown",
         "No legal entity sells to {key}", scope=("connection", "region"), owner=CONTROLLERSHIP,
         about="The selling legal entity of a document that doesn't name one, by its currency or the customer's "
         "country.", approval=CONTROLLER),
    Kind("tax_code", "Tax code of the engine to ERP tax code", ("tax_code",), "tax_codes", "missing_tax_code_mapping",
         "{system} has no tax code for {key}{scope}", scope=("connection", "legal_entity", "region"),
         date_basis="original_line", conditions=OF_DOCUMENT,
         about="Billing's tax rate; where nothing is due, with the reason behind it: txr_1:reverse_charge."),
    Kind("account", "Role to GL account", ("role",), "accounts", "missing_account_mapping",
         "{system} has no account for {key}{scope}", scope=("connection", "legal_entity", "currency"),
         date_basis="posting", allows_patterns=False, owner=CONTROLLERSHIP, account_classes=ACCOUNT_CLASSES,
         about="receivables, receivables_control (of summaries), clearing:<gateway>, bank, fees, disputes, reserves, "
         "rounding, discounts, suspense, refunds, accrued_revenue (of documents that came after their period’s close).",
         approval=CONTROLLER, conditions=(*OF_DOCUMENT, "payment_method"), conditions_of=OF_ROLES),
    Kind("department", "Product line to department", ("product_line",), "departments", "missing_department_mapping",
         "{system} has no department for {key}{scope}", date_basis="original_line", conditions=OF_LINE),
    Kind("class", "Product line to class", ("product_line",), "classes", "missing_class_mapping",
         "{system} has no class for {key}{scope}", date_basis="original_line", conditions=OF_LINE),
    Kind("location", "Legal entity to location", ("legal_entity",), "locations", "missing_location_mapping",
         "{system} has no location for {key}{scope}", date_basis="original_line", conditions=OF_DOCUMENT),
    Kind("payment_terms", "Payment terms", ("terms",), "terms", "missing_payment_terms_mapping",
         "{system} has no payment terms for {key}{scope}", scope=("connection", "legal_entity"), conditions=COUNTRIES),
    Kind("currency", "Currency to ERP currency", ("currency",), "currencies", "missing_currency_mapping",
         "{system} has no currency for {key}", scope=("connection",), allows_patterns=False, owner=CONTROLLERSHIP,
         approval=CONTROLLER, key_is="currency"),
    Kind("customer", "Customer of a document that names none", ("customer",), "customers", "customer_unidentified",
         "Nobody has said who “{key}” is{scope}", scope=("connection", "legal_entity"), conditions=("document_type",),
         about="Source customer key to the ERP's customer, for documents whose source doesn't know the customer."),
    Kind("revenue_rule", "Revenue rule", ("treatment",), "revenue_rules", "missing_revenue_rule_mapping",
         "{system} has no revenue rule for {key}{scope}", scope=("connection", "legal_entity", "product_line"),
         date_basis="original_line", owner=CONTROLLERSHIP, approval=CONTROLLER),
    Kind("gateway_bank", "Gateway to bank account", ("gateway",), "accounts", "missing_bank_mapping",
         "{system} has no bank account for payouts of {key}{scope}", scope=("connection", "legal_entity", "currency"),
         date_basis="posting", owner=CONTROLLERSHIP, account_classes=(("", ("asset",)),), approval=TWO_ONE_CONTROLLER),
    Kind("intercompany", "Pair of entities to due-to and due-from accounts", ("from_entity", "to_entity"), "accounts",
         "missing_intercompany_mapping", "{system} has no intercompany account for {key}", scope=("connection",),
         date_basis="posting", owner=CONTROLLERSHIP, approval=TWO_ONE_CONTROLLER),
    Kind("posting_policy", "Posting policy", ("field",), FREE, "missing_posting_policy",
         "No posting policy says {key}{scope}", keys=POLICY_FIELDS, allows_patterns=False, owner=CONTROLLERSHIP,
         date_basis="posting", effective_default="period_start",
         about="Who owns revenue and the sub-ledger, detail (line or summary), dates, window, cut-off, limits (of "
         "rounding: in smallest units of the currency), a credit's exchange rate (original or document), from how "
         "many days on a rate is too old (rate_days_max, 7), documents of "
         "0 (post or skip), missing service dates of what defers (document or hold), which account of a hierarchy is "
         "billed (own, parent or top), how much a change set may release on one signature (release_over, in the "
         "book's currency; beyond, two people sign, one of controllership), around a period's end how long no rule "
         "comes into force without a second signature of controllership (close_freeze), and whether a new customer "
         "who looks like one that the ERP has is held (hold_duplicates: off, or the score from which on, 60 to 100). "
         "Where documents of a closed period go (late_documents: next period, accrue, reopen or either), and whether a "
         "write-off takes its part of the invoice's tax back (write_off_tax: keep or take back).",
         approval=CONTROLLER, values_of=POLICY_VALUES),
    Kind(BILL_RUN, "How bill runs post", ("field",), FREE, "missing_bill_run_rule", "No rule says {key}{scope}",
         scope=("connection", "legal_entity"), keys=tuple(name for name, _, _ in BILL_RUN_VALUES),
         values_of=BILL_RUN_VALUES, allows_patterns=False, owner=CONTROLLERSHIP, approval=CONTROLLER,
         propose=PROPOSE_POLICY,
         about="Whether what billing issues on a day, or in a run that it names, is a run of its own that posts as it "
         "comes, or is held until it’s complete (posting). Who releases it then: 1 person, 2 people (without a rule), "
         "or the portal itself where nothing speaks against it (release). When it may be complete: once the day is "
         "over, or so long after its last document (complete_after, without a rule: day), and from how many documents "
         "on (least, 1). By itself only with at most so many of 100 documents in cases (problem_share, 0), and so many "
         "per cent away from the middle of the last eight runs (variance, any). What comes after the release posts, or "
         "is held as an addition (late: post or hold, without a rule hold). By the billing day."),
    Kind("target_system", "Which system it goes to", ("role", "object_type"), CONNECTIONS, "no_system_for_role",
         "No system takes {key}{scope}", scope=("legal_entity", "region", "product_line"), keys=TARGET_KEYS,
         owner=CONTROLLERSHIP, effective_default="period_start", verb="goes to",
         about="From which day on documents go to another ERP, by their own date, also when they arrive late; and "
         "orders to another billing system, by their start. What takes back, pays or applies an earlier document goes "
         "where that stands. erp|* is all that has no rule of its own. The region is the country of the customer’s "
         "billing address. Where no rule says: the system that plays the role for the entity.", approval=CONTROLLER),
    Kind("field_owner", "Which system owns a field", ("record_type", "field"), FREE, "missing_field_owner",
         "Nobody says who owns {key}{scope}", keys=KEYS, allows_patterns=False, owner=CONTROLLERSHIP,
         values=OWNER_PATTERN, values_say=OWNER_WORDS,
         about="Whose value survives where several systems say something: crm, billing or erp. Others are kept beside "
         "it. With “ alone” nobody stands in until the owner has spoken.", approval=CONTROLLER, propose=PROPOSE_POLICY),
    Kind("refused_update", "What a refused update does", ("record_type", "field"), FREE, "missing_refused_update",
         "Nobody says what a refused update of {key} does{scope}", keys=KEYS, allows_patterns=False,
         owner=CONTROLLERSHIP, values="keep|case", values_say="keep or case",
         about="Another system's value of a field that it doesn't own is kept beside the surviving one (keep), or a "
         "case is opened too (case).", approval=CONTROLLER, propose=PROPOSE_POLICY),
    Kind("manual_rate", "Exchange rate by hand", ("pair",), FREE, "rate_missing",
         "No exchange rate of {key} is young enough", scope=("legal_entity",), allows_patterns=False,
         owner=CONTROLLERSHIP, date_basis="posting",
         about="A rate that the ERP's table lacks, as base/quote, e.g. KWD/GBP.",
         approval=CONTROLLER, key_is="pair", values=r"0*[1-9][0-9]*(\.[0-9]+)?|0*\.0*[1-9][0-9]*|0\.[0-9]*[1-9][0-9]*",
         values_say="a rate above 0, such as 2.5714"),
    Kind("work_calendar", "Working hours and closes", ("what",), FREE, "missing_work_calendar",
         "No rule says {key}{scope}", keys=tuple(key for key, _, _ in WORK_CALENDAR), values_of=WORK_CALENDAR,
         allows_patterns=False, owner=CONTROLLERSHIP, approval=CONTROLLER,
         about="The hours that promised times are counted in, and when receivables and the ledger of a month close, in "
         "the entity's time zone. Without a rule Monday to Friday, 09:00 to 17:00; receivables close at WD3 18:00, the "
         "ledger at WD5 18:00. Around a period's end (close_days: WD-2 to WD+3) promised time is used up close_pace "
         "(2) times as fast; 1 leaves it alone."),
    Kind("holiday", "Holiday", ("date",), FREE, "missing_holiday", "No rule says what {key} is{scope}",
         key_is="date", allows_patterns=False, owner=CONTROLLERSHIP, approval=CONTROLLER,
         about="A date on which an entity doesn't work, with its name. Promised times and closes leave it out."),
    Kind(ROUTING, "Who gets a case", ("category", "kind", "name"), FREE, "missing_routing",
         "No rule says whose {key} is", scope=("connection", "legal_entity", "currency"), owner=CONTROLLERSHIP,
         approval=CONTROLLER, values=f"{_STEP}(; {_STEP})*", verb="goes to",
         values_say="a queue such as controllership, with what is wanted of: to anna, as urgent, from 50000; several "
         "are parted by “; ”",
         about="The queue of a case by its category, its kind and what it names (customer, SKU or other key), each of "
         "which may be or end in *. “from” is an amount at risk in reporting currency: the first queue whose amount is "
         "reached takes it; where none is, a wider rule, and last the kind’s own owner. Open cases follow when a rule "
         "changes; a case that somebody has stays with whoever has it."),
    Kind("retention", "How long it is kept", ("what",), FREE, "missing_retention",
         "No rule says how long to keep {key}", scope=(), keys=RETAINED, allows_patterns=False, owner=CONTROLLERSHIP,
         values="keep|[1-9][0-9]{0,2}", values_say="a number of months, or the word keep",
         about="Months after which a whole month is dropped, once nothing of it is unfinished. Steps, lineage and "
         "postings never before 84; without a rule raw bodies and exchanges after 24, outgoing events after 12. Alerts "
         "that are over (12) and the rows of bulk actions that ended (24, never before 12) go one by one, unless an "
         "open case rests on them.",
         approval=CONTROLLER, propose=PROPOSE_POLICY),
    Kind("archive", "Whether it is archived first", ("what",), FREE, "missing_archive",
         "No rule says whether {key} are archived", scope=(), keys=ARCHIVED, allows_patterns=False,
         owner=CONTROLLERSHIP, values="yes|no", values_say="yes or no",
         about="Whether a month is written to the archive (Q2C_ARCHIVE), read back and found whole before it is "
         "dropped; one that can’t be stays. Where no rule says: no.", approval=CONTROLLER, propose=PROPOSE_POLICY),
    Kind(REPLAY_WINDOW, "How far back a message is replayed", ("message",), FREE, "missing_replay_window",
         "No rule says how far back {key} is replayed", scope=("connection",), owner=CONTROLLERSHIP,
         values="any|[1-9][0-9]{0,3}", values_say="a number of days, or the word any", verb="goes back",
         about="Days since a message came in (or since what is read again happened at its source) after which neither "
         "one message nor a back-fill runs it again. By the vendor’s own name of the message, which may end in *: "
         f"invoice.finalized, invoice.*, *. Where no rule says: {REPLAY_DAYS}.",
         approval=CONTROLLER, propose=PROPOSE_POLICY),
    Kind(RETRY_POLICY, "How often an error is tried again", ("vendor", "error"), FREE, "missing_retry_policy",
         "No rule says how often {key} is tried again", scope=("connection",), owner=PLATFORM, propose=PROPOSE_RUNNING,
         values=retries.PATTERN, values_say=retries.WORDS,
         about="Attempts, least and most wait and jitter by the vendor and its own code of the error (or status, or "
         "our own code where no answer came), each of which may hold a *: stripe|*/rate_limit, netsuite|503, *|*. "
         "Waits double from the least to the most, and are never shorter than the vendor asks. After the last attempt "
         f"the document is held. Where no rule says: {retries.DEFAULT.says}. What waiting doesn’t mend is never tried "
         "again, whatever a rule says; a wait for a pause or a breaker is no attempt; people repost as often as they "
         "like."),
    Kind(SERVICE_LEVEL, "What operators promise", ("level",), FREE, "missing_service_level",
         "No rule says how good {key} must be", scope=(), keys=tuple(service_levels.BY_CODE), allows_patterns=False,
         owner=PLATFORM, propose=PROPOSE_RUNNING,
         values_of=tuple((level.code, *((service_levels.TIMED, service_levels.TIMED_SAYS) if level.is_timed else
                                        (service_levels.SHARE, service_levels.SHARE_SAYS)))
                         for level in service_levels.LEVELS),
         about="The share that must be good over 30 days, and within which time: "
         + ", ".join(f"{level.code} ({level.default})" for level in service_levels.LEVELS)
         + ", in brackets what holds where no rule says. The screen Operations shows how much of what may fail is used "
         "up; a case is opened while it goes fast."),
    Kind(RESOLUTION_APPROVAL, "Who agrees to a resolution", ("resolution", "field"), FREE,
         "missing_resolution_approval", "Nobody says who agrees to {key}{scope}", allows_patterns=False,
         keys=(*RESOLUTIONS_SIGNED, *EDITED_FIELDS),
         owner=CONTROLLERSHIP, approval=CONTROLLER, propose=PROPOSE_POLICY,
         values=rf"{_LEVEL}(; {_LEVEL} over {_AMOUNT})*",
         values_say="who always, then who over which amount: nobody; 1 colleague over 1000; 2 controllers over 50000",
         values_of=(("override", rf"{_SIGNED_LEVEL}(; {_SIGNED_LEVEL} over {_AMOUNT})*",
                     "who always, then who over which amount, never nobody: 1 controller; 2 controllers over 50000"),),
         about="Who signs before a resolution of a case, or a back-fill, takes effect: "
         + ", ".join(RESOLUTIONS_SIGNED)
         + "; for one field of an edit edit_fields|po_number and the like. Amounts in the book's currency, of all "
         "documents of an entity together. A colleague is of billing operations or controllership. Nobody signs what "
         "they proposed."),
    Kind(ADJUSTMENT_LIMIT, "How much may be taken off receivables", ("resolution", "of"), FREE,
         "missing_adjustment_limit", "Nobody says how much {key} may be{scope}", allows_patterns=False,
         keys=ADJUSTMENT_LIMITS, owner=CONTROLLERSHIP, approval=CONTROLLER, propose=PROPOSE_POLICY,
         values=_AMOUNT, values_say=_BOOK,
         about="The limits of accepted differences and of write-offs: of one invoice (item), of what one person "
         "proposed in a period (person), of one customer in a period (customer), and of an entity in a period "
         "(period), each cumulated, in the book's currency. A difference is accepted only where a limit per item is "
         "set; what has no other limit has none."),
    Kind(APPROVAL, "Who approves a change of rules", ("kind",), FREE, "missing_approval",
         "Nobody says who approves {key}{scope}", allows_patterns=False, owner=CONTROLLERSHIP,
         approval=CONTROLLER, propose=PROPOSE_POLICY, values="|".join(APPROVALS), values_say=", ".join(APPROVALS),
         about="How many sign a change set with rules of a kind, and of which role. An approver is of mapping "
         "administration or controllership. Changing it takes the signatures that it asked for before. A set over "
         "several kinds or entities takes the strictest."),
)  # fmt: skip
_CODES = tuple(kind.code for kind in _KINDS)
KINDS = tuple(replace(kind, keys=_CODES) if kind.code == APPROVAL else kind for kind in _KINDS)
BY_CODE = {kind.code: kind for kind in KINDS}


def kind_of(code: str) -> Kind:
    """The kind's row. Raises KeyError for a kind that isn't in the catalogue."""
    return BY_CODE[code]
