"""What was billed and what was paid. Amounts are Decimal in major units of the document's currency.

Document date, service period and instants are separate facts (ACCOUNTING section 2): `issued_at`, `due_at`,
`service_from` and `service_until` (the first instant after the service) are the vendor's instants, which become days
only in the legal entity's time zone (`q2c.posting.days`); `document_date`, `due_date`, `service_start` and
`service_end` (the last day) are set only where the vendor gives plain dates.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

from q2c.canonical.base import Currency, Document, Later, Source

ChargeType = Literal["", "recurring", "one_time", "usage"]  # empty: the vendor doesn't say it


class TaxDetail(Document):
    tax_code: str
    amount: Decimal
    base: Decimal
    rate: Decimal = Decimal(0)
    jurisdiction: str = ""
    is_inclusive: bool = False
    reason: str = ""


class InvoiceLine(Document):
    """One billed line. `amount` is net of discount and of exclusive tax, and is what the customer owes for it."""

    line_id: str
    sku: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    service_start: dt.date | None = None
    service_end: dt.date | None = None
    service_from: dt.datetime | None = None
    service_until: dt.datetime | None = None
    taxes: tuple[TaxDetail, ...] = ()
    product_id: str = ""
    revenue_rule: str = ""
    declared_amount: Decimal | None = None  # quantity × price unrounded, where the feed declares it
    original_line_id: str = ""  # of a credit: the line that it takes back
    charge_type: ChargeType = ""  # as the vendor itself says; mapping rules may look at it, nothing else does


class CustomerBalanceEntry(Document):
    """What billing took from a customer's balance for an invoice, and the document that had put it there (`from_type`
    and `from_id`: a credit note, an invoice with a negative total; empty where none did). `given_back_by` is a voided
    invoice that had used it before."""

    source: Source
    customer_id: str
    currency: Currency
    amount: Decimal
    at: dt.datetime
    invoice_id: str
    from_type: str = ""
    from_id: str = ""
    given_back_by: str = ""


class CollectedDebt(Document):
    """A debt on a customer's balance that an invoice collects beside its own total, and the invoice that had left it
    there (empty where none did). In the invoice's currency."""

    amount: Decimal
    invoice_id: str = ""


class BillRunTold(Document):
    """The bill run that issued a document, as billing names it; and where it tells it, how many documents of the
    document's type, seller and currency the run issued, and over how much."""

    name: str
    document_count: int | None = None
    amount: Decimal | None = None


class Invoice(Document):
    """`total` is the document's total, never the amount due: a customer balance that billing used is an application."""

    later_is = Later.VERSION

    source: Source
    number: str
    customer_id: str
    customer_name: str
    currency: Currency
    issued_at: dt.datetime
    total: Decimal
    lines: tuple[InvoiceLine, ...]
    tax_total: Decimal = Decimal(0)
    document_date: dt.date | None = None
    due_date: dt.date | None = None
    due_at: dt.datetime | None = None
    legal_entity: str = ""
    subscription_id: str = ""
    order_id: str = ""
    po_number: str = ""
    feed: str = ""  # which control-total feed declares it ("retail"), empty for the connection's own
    feed_number: str = ""  # its number there
    feed_type: str = ""  # invoice, credit_memo, unknown: what the feed's own prefix says
    is_customer_known: bool = True
    declared_total: Decimal | None = None
    balance_entries: tuple[CustomerBalanceEntry, ...] = ()  # facts of their own: the invoice's event brings them apart
    bill_run: BillRunTold | None = None  # None where billing names none: its day is one
    collected: tuple[CollectedDebt, ...] = ()  # what its payment pays beside it, oldest first


class CreditRefund(Document):
    """What a credit note says that a refund gave back of it, in its currency."""

    refund_id: str
    amount: Decimal


class CreditMemo(Document):
    """Reduces what is owed. Amounts are positive. `invoice_id` is the source's id of the document it credits, if
    any; `refunds` are those that gave it back in cash."""

    later_is = Later.VERSION

    source: Source
    number: str
    customer_id: str
    customer_name: str
    currency: Currency
    issued_at: dt.datetime
    total: Decimal
    lines: tuple[InvoiceLine, ...]
    tax_total: Decimal = Decimal(0)
    document_date: dt.date | None = None
    invoice_id: str = ""
    invoice_issued_at: dt.datetime | None = None  # of the document it credits, where the source says
    applied_amount: Decimal | None = None  # what lowers the invoice's open amount; None: all of it
    reason: str = ""
    legal_entity: str = ""
    feed: str = ""
    feed_number: str = ""
    feed_type: str = ""
    is_customer_known: bool = True
    declared_total: Decimal | None = None  # in the feed's own sign: credits are negative there
    refunds: tuple[CreditRefund, ...] = ()
    bill_run: BillRunTold | None = None


class DocumentVoid(Document):
    """That billing voided an invoice or credit note of its own. `source` is the void itself, `amount` what it takes
    back (positive), `credits` the credit notes that had lowered an invoice before, `balance_entries` what it had used
    of its customer's balance, which billing has given back."""

    later_is = Later.VERSION

    source: Source
    document_id: str
    number: str
    customer_id: str
    currency: Currency
    amount: Decimal
    voided_at: dt.datetime
    invoice_id: str = ""  # of a voided credit note: the invoice that it had lowered
    credits: tuple[CreditMemo, ...] = ()
    legal_entity: str = ""
    balance_entries: tuple[CustomerBalanceEntry, ...] = ()


class WriteOff(Document):
    """That people took what is open of a posted invoice off receivables, or a part of it: as lost (`write_off`), or as
    a difference that they accept (`difference`). `source` is their decision. Amounts are in the invoice's currency:
    `amount` (positive) is taken off, `open_amount` what the ERP had open when they decided (None: the amount), `before`
    what was written off of the same invoice earlier."""

    later_is = Later.VERSION

    source: Source
    invoice_id: str
    invoice_number: str
    number: str
    customer_id: str
    customer_name: str
    currency: Currency
    amount: Decimal
    decided_on: dt.date
    kind: Literal["write_off", "difference"] = "write_off"
    reason: str = ""
    legal_entity: str = ""
    open_amount: Decimal | None = None
    before: Decimal = Decimal(0)


class DebitMemo(Document):
    source: Source
    number: str
    customer_id: str
    currency: Currency
    issued_at: dt.datetime
    total: Decimal
    lines: tuple[InvoiceLine, ...]


class Payment(Document):
    """A receipt of cash on its own date, gross. What it pays of which invoice is an `Application` of its own."""

    later_is = Later.VERSION

    source: Source
    customer_id: str
    currency: Currency
    amount: Decimal
    received_at: dt.datetime
    gateway: str  # the gateway account's code: decides the clearing account
    method: str = ""
    reference: str = ""
    legal_entity: str = ""
    invoice_ids: tuple[str, ...] = ()  # those that it pays, where the source says so with the payment: their ERP is its


class Application(Document):
    """Applies a payment or credit memo to an invoice: a fact of its own. With `refund_id` it's a refund that gave the
    credit back, instead. `given_back_by` is a voided invoice that the credit was applied to before."""

    later_is = Later.VERSION

    source: Source
    payment_id: str
    invoice_id: str
    currency: Currency
    amount: Decimal
    applied_at: dt.datetime
    kind: Literal["payment", "credit_memo"] = "payment"
    legal_entity: str = ""
    customer_id: str = ""
    payment_type: str = "payment"  # the source's word for what is applied: payment, credit_note, invoice
    refund_id: str = ""
    given_back_by: str = ""


class RefundedCredit(Document):
    """What a refund gives back of a credit note, in its currency."""

    credit_note_id: str
    amount: Decimal


class Refund(Document):
    """Cash given back. `payment_id` is the payment that it takes back (wholly or in part), `credits` the credit notes
    that say so."""

    later_is = Later.OF_MOVEMENT

    source: Source
    payment_id: str
    customer_id: str
    currency: Currency
    amount: Decimal
    refunded_at: dt.datetime
    gateway: str
    status: str = "succeeded"
    reason: str = ""
    legal_entity: str = ""
    failed_at: dt.datetime | None = None  # the money came back: a movement of its own
    credits: tuple[RefundedCredit, ...] = ()

    @property
    def movement(self) -> str:
        """Which movement of the refund this is: empty for the first, `failed` for the money's coming back."""
        return "failed" if self.failed_at else ""


class BalanceTransaction(Document):
    """One movement on the gateway's balance: gross `amount`, `fee`, and what it is about.

    `about_id` is the gateway's own id of that; `record_type` and `record_id` are our source object's, where there is
    one (a payment is known by its intent, though what moves on the balance is its charge). `original_amount` and its
    currency are the record's own where the gateway converted it on the way.
    """

    source: Source
    kind: str  # payment, refund, refund_failed, dispute, fee, reserve, payout; else the gateway's own word
    currency: Currency
    amount: Decimal
    fee: Decimal
    at: dt.datetime
    about_id: str = ""
    fee_description: str = ""
    record_type: str = ""
    record_id: str = ""
    original_currency: str = ""
    original_amount: Decimal = Decimal(0)


class Payout(Document):
    """The gateway pays its balance to the bank: fees and disputes are their own lines, gross cash went to clearing
    before."""

    later_is = Later.ANOTHER  # its failure, or another ERP's part of it

    source: Source
    currency: Currency
    amount: Decimal
    arrival_date: dt.date
    gateway: str
    movements: tuple[BalanceTransaction, ...]
    status: str = "paid"
    legal_entity: str = ""
    failed_at: dt.datetime | None = None  # the bank sent it back: a movement of its own
    is_automatic: bool = True  # by the gateway's own schedule; it ties no movements to one that somebody asked for

    @property
    def document_date(self) -> dt.date | None:
        """The arrival's plain date; None for a failure, which has an instant."""
        return None if self.failed_at else self.arrival_date

    @property
    def movement(self) -> str:
        """Which movement of the payout this is: empty for the first, `failed` for the money's coming back."""
        return "failed" if self.failed_at else ""


class Dispute(Document):
    """Neither a refund nor a credit memo: the bank took the money back while it's argued.

    Amount, fee and currency are the movement's on the gateway's balance (the settlement's currency), never the
    charge's; `original_amount` and its currency are the charge's own where the gateway converted it. A fee that comes
    back is negative.
    """

    later_is = Later.ANOTHER  # the money's coming back, or being taken once more

    source: Source
    payment_id: str
    currency: Currency
    amount: Decimal
    at: dt.datetime
    status: str
    gateway: str
    fee: Decimal = Decimal(0)
    legal_entity: str = ""
    original_currency: str = ""
    original_amount: Decimal = Decimal(0)

    @property
    def is_returned(self) -> bool:
        """Whether the money came back."""
        return self.status == "won"

    @property
    def movement(self) -> str:
        """Which movement of the dispute this is: the withdrawal, or the money's coming back."""
        return self.status


class UsageSummary(Document):
    source: Source
    subscription_id: str
    sku: str
    quantity: Decimal
    period_start: dt.date
    period_end: dt.date
