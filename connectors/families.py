"""What each family of systems promises: verbs only, in finance words.

A client is an object with some of these verbs; an absent verb is an absent capability. Every verb that talks to the
vendor is `async` and waits through the one telephone (`connectors.http`); the machine runs many of them side by side.
Reads raise `Problem`. Writes raise `Problem` for a refusal that is understood, `AlreadyThere` for a create that the
target refuses since it has our external id, `NeverSent` when nothing left the house, and `NotAnswered` when an answer
is missing or not understood. `find_*` return None for "the target says it isn't there".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from q2c.canonical import billing, contract, party, posting


class Family(StrEnum):
    """The roles that a system can play."""

    CRM = "crm"
    BILLING = "billing"
    ERP = "erp"
    REVENUE = "revenue"
    TAX = "tax"
    PAYMENTS = "payments"
    SUCCESS = "success"


@dataclass(frozen=True)
class Polled:
    """One thing that a poll found: becomes an inbound event. `body` is the raw JSON (or XML) as it came."""

    event_type: str
    source_id: str
    dedupe_key: str
    body: bytes
    occurred_at: dt.datetime | None = None


@dataclass(frozen=True)
class Page:
    """What one poll brought, and the cursor to store once all of it is stored.

    Where cheap polls leave something out, `position["full_at"]` says when everything was last listed; 0 asks for all.
    `unread` says what is wrong with a row that couldn't be read: the others are here, and the cursor stays where it is.
    """

    found: tuple[Polled, ...]
    position: dict[str, Any]
    has_more: bool = False
    unread: str = ""


@dataclass(frozen=True)
class Registered:
    """One document as the source's own register lists it, whether or not we ever heard of it.

    `document_type` is our word (invoice, credit_memo, payment, refund, payout, order). `made_at` is what the register
    is asked by, `dated` the document's own day or instant. `amount` is in major units of `currency`, as the document
    says it (credits are positive); None where the register doesn't say.
    """

    document_type: str
    id: str
    made_at: dt.datetime
    dated: dt.datetime | dt.date
    currency: str
    amount: Decimal | None
    number: str = ""
    customer_id: str = ""
    legal_entity: str = ""
    status: str = ""  # how it ended: void, failed, won (a dispute); else empty


@dataclass(frozen=True)
class ReferenceRow:
    """One row of a target's list. `attributes` are plain JSON values; money and rates as strings."""

    external_id: str
    name: str
    code: str = ""
    is_active: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Polls(Protocol):
    """A system that can be asked what changed. `streams` names its cursors."""

    streams: tuple[str, ...]

    async def changes(self, stream: str, position: dict[str, Any]) -> Page: ...


@runtime_checkable
class ReadsAgain(Protocol):
    """A system whose past can be read again, for a back-fill. `ranges` names what of it, by code and in words.

    `between` gives what happened (or was made) from `since` on and before `until`, a page at a time, in any order;
    `position` is {} at first, then the page's own. `again` gives the present state of objects by their ids; one that
    the system hasn't is left out. Raise Problem `feed_gap` for a time of which the system keeps nothing.
    """

    ranges: dict[str, str]

    async def between(self, what: str, since: dt.datetime, until: dt.datetime, position: dict[str, Any]) -> Page: ...
    async def again(self, object_ids: Sequence[str]) -> list[Polled]: ...


@runtime_checkable
class KeepsRegister(Protocol):
    """A source that can list what it has issued, so that completeness begins with its own register (N11).

    `registers` says per document type how long before it's issued a document may have been made: drafts, payments that
    take days. `messages_of` gives the messages that bring what a feed lost, as the vendor would have sent them.
    """

    registers: Mapping[str, dt.timedelta]

    def register(self, document_type: str, *, since: dt.datetime, until: dt.datetime) -> AsyncIterator[Registered]: ...
    async def registered(self, document_type: str, document_id: str) -> Registered | None: ...
    async def messages_of(self, document_type: str, entries: Sequence[Registered]) -> list[Polled]: ...


@runtime_checkable
class NumbersDocuments(Protocol):
    """A source whose numbers run without gaps, and that can be asked for one."""

    numbers: tuple[str, ...]  # of which document types

    async def numbered(self, document_type: str, number: str) -> Registered | None: ...


class Crm(Protocol):
    """Sells."""

    async def order(self, order_id: str) -> contract.Order: ...
    async def customer(self, customer_id: str) -> party.Customer: ...
    async def publish_status(self, *, order_id: str, fields: dict[str, str]) -> posting.SavedRecord: ...


class TakesNotes(Protocol):
    """Keeps on its records what we say of them (`Manifest.notes_on`): status, message and case of what holds one."""

    async def publish_hold(
        self, document_type: str, document_id: str, *, fields: dict[str, str], key: str
    ) -> posting.SavedRecord: ...


class Billing(Protocol):
    """Bills. `key` arguments are idempotency keys where the vendor has them."""

    async def invoice(self, invoice_id: str) -> billing.Invoice: ...
    async def find_customer(self, external_id: str) -> posting.SavedRecord | None: ...
    async def save_customer(self, customer: party.Customer, *, external_id: str, key: str) -> posting.SavedRecord: ...
    async def find_subscription(
        self, external_id: str, *, customer_id: str = "", order_id: str = ""
    ) -> posting.SavedRecord | None: ...
    async def create_subscription(self, plan: SubscriptionPlan, *, key: str) -> posting.SavedRecord: ...
    async def cancel_subscription(self, subscription_id: str, *, on: dt.date, key: str) -> posting.SavedRecord: ...


@dataclass(frozen=True)
class SubscriptionPlan:
    """A subscription to be made. `customer_id` is billing's own id; a line's price is per billing period.

    Whether it starts later is asked of `planned_at`, never of the clock: what is sent under one idempotency key mustn't
    change while attempts are repeated.
    """

    external_id: str
    order_id: str
    customer_id: str
    currency: str
    start_date: dt.date
    term_months: int
    planned_at: dt.datetime
    lines: tuple[contract.OrderLine, ...]
    product_ids: dict[str, str]  # SKU, or `product_key` -> billing's product or price id, from the mappings
    days_until_due: int = 30
    time_zone: str = "UTC"
    metadata: dict[str, str] = field(default_factory=dict)

    def product_of(self, line: contract.OrderLine) -> str:
        """Billing's product or price of a line; empty where no mapping names one."""
        return self.product_ids.get(product_key(line)) or self.product_ids.get(line.sku, "")


def product_key(line: contract.OrderLine) -> str:
    """A line's key among the products of a plan, where a SKU is another product by how it's charged."""
    return f"{line.sku}|{line.charge_type}"


class Erp(Protocol):
    """Keeps the books. `document_type` is our word: customer, ar_invoice, ar_credit_memo, receipt, ar_refund,
    journal."""

    async def find(self, document_type: str, external_id: str) -> posting.PostedDocument | None: ...
    async def read(self, document_type: str, document_id: str) -> posting.PostedDocument: ...
    async def find_by_number(self, document_type: str, number: str) -> list[posting.PostedDocument]: ...
    async def save_customer(self, customer: posting.ErpCustomer) -> posting.PostedDocument: ...
    async def find_customer_use(self, use: posting.ErpCustomerUse) -> posting.PostedDocument | None: ...
    async def save_customer_use(self, use: posting.ErpCustomerUse) -> posting.PostedDocument: ...
    async def post_invoice(self, invoice: posting.ArInvoice) -> posting.PostedDocument: ...
    async def post_credit_memo(self, memo: posting.ArCreditMemo) -> posting.PostedDocument: ...
    async def post_receipt(self, receipt: posting.CashReceipt) -> posting.PostedDocument: ...
    async def find_application(self, application: posting.CashApplication) -> posting.PostedDocument | None: ...
    async def apply_payment(self, application: posting.CashApplication) -> posting.PostedDocument: ...
    async def apply_credit_memo(self, application: posting.CashApplication) -> posting.PostedDocument: ...
    async def find_refund(self, refund: posting.CashRefund) -> posting.PostedDocument | None: ...
    async def refund(self, refund: posting.CashRefund) -> posting.PostedDocument: ...
    async def post_journal(self, journal: posting.Journal) -> posting.PostedDocument: ...
    async def journal_lines(self, document_id: str) -> tuple[posting.JournalLine, ...]: ...
    async def reverse(
        self, document_type: str, document_id: str, *, external_id: str, on: dt.date, period: str = "", memo: str = ""
    ) -> posting.PostedDocument: ...
    def reference(self, list_name: str) -> AsyncIterator[ReferenceRow]: ...
    async def totals(self, *, since: dt.date, until: dt.date, external_id_prefix: str = "") -> list[dict[str, Any]]: ...
    def documents_of_ours(self, *, since: dt.date) -> AsyncIterator[posting.PostedDocument]: ...


class Payments(Protocol):
    """Takes money."""

    async def payment(self, payment_id: str) -> billing.Payment: ...
    async def refund(self, refund_id: str) -> billing.Refund: ...
    async def payout(self, payout_id: str) -> billing.Payout: ...


REFERENCE_LISTS = (
    "subsidiaries", "periods", "items", "accounts", "departments", "classes", "locations", "currencies", "terms",
    "tax_codes", "rates",
)  # fmt: skip
