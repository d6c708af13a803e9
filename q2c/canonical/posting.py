"""ERP-ready documents: what a posting says, in the ERP's codes but in our words. Amounts are positive unless said
otherwise.

Each names the external id under which the ERP will know it; the ERP refuses a second document with the same one.
`journal` is the double entry that we expect the ledger to hold, which must balance before anything is sent (law 9).
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from q2c.canonical.base import Currency, Document, Later, Source
from q2c.canonical.party import Address


class JournalLine(Document):
    """Exactly one of debit and credit is above zero. `account` is the ERP's account id.

    `tax_code` (the ERP's) and the deferral's dates and rule are told only where nothing else in the ERP holds them: in
    a summary.
    """

    account: str
    debit: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    memo: str = ""
    department: str = ""
    class_: str = ""
    location: str = ""
    customer: str = ""
    tax_code: str = ""
    revenue_start: dt.date | None = None
    revenue_end: dt.date | None = None
    revenue_rule: str = ""


class ErpCustomer(Document):
    """Master data: upserted by external id. An update leaves `subsidiary` and `currency` empty: they stay as they are,
    and further ones are uses of the customer."""

    external_id: str
    name: str
    number: str
    subsidiary: str = ""
    currency: str = ""
    email: str = ""
    phone: str = ""
    terms: str = ""
    bill_to: Address = Address()
    receivables_account: str = ""


class ErpCustomerUse(Document):
    """A subsidiary's right to bill a customer in a currency, all by the ERP's ids; added where it is missing."""

    external_id: str
    customer: str
    subsidiary: str
    currency: str
    currency_code: Currency


class ArTax(Document):
    """One tax detail of an AR line, as the tax engine or billing computed it, in the ERP's codes; signed as its line.

    `code` and `tax_type` are the ERP's ids, `account` the one that its code posts to. `base` and `amount` are in the
    document's currency; `rate` is in percent.
    """

    code: str
    tax_type: str
    base: Decimal
    rate: Decimal
    amount: Decimal
    account: str = ""
    jurisdiction: str = ""
    reason: str = ""  # why there is none: zero-rated, exempt, reverse charge
    is_inclusive: bool = False


class ArLine(Document):
    """A line of an AR invoice or credit memo in the ERP's codes. `amount` is net of every tax, inclusive ones too."""

    item: str
    description: str
    quantity: Decimal
    rate: Decimal
    amount: Decimal
    revenue_start: dt.date | None = None
    revenue_end: dt.date | None = None
    revenue_rule: str = ""
    taxes: tuple[ArTax, ...] = ()
    department: str = ""
    class_: str = ""
    location: str = ""


class ArInvoice(Document):
    """`number` is billing's legal number and becomes the ERP's document number."""

    external_id: str
    number: str
    customer: str
    subsidiary: str
    currency: str  # the ERP's id of the currency
    currency_code: Currency
    document_date: dt.date
    posting_date: dt.date
    period: str  # the ERP's id of the period that we ask for
    lines: tuple[ArLine, ...]
    total: Decimal
    tax_total: Decimal = Decimal(0)
    due_date: dt.date | None = None
    terms: str = ""
    po_number: str = ""
    memo: str = ""
    receivables_account: str = ""
    department: str = ""
    class_: str = ""
    location: str = ""
    exchange_rate: Decimal | None = None  # only by policy; otherwise the ERP's own table decides
    journal: tuple[JournalLine, ...] = ()
    makes_revenue_elements: bool = True


class AppliedTo(Document):
    """`document` is the ERP's id of the open item."""

    document: str
    amount: Decimal


class ArCreditMemo(Document):
    external_id: str
    number: str
    customer: str
    subsidiary: str
    currency: str
    currency_code: Currency
    document_date: dt.date
    posting_date: dt.date
    period: str
    lines: tuple[ArLine, ...]
    total: Decimal
    tax_total: Decimal = Decimal(0)
    memo: str = ""
    receivables_account: str = ""
    department: str = ""
    class_: str = ""
    location: str = ""
    exchange_rate: Decimal | None = None
    apply_to: tuple[AppliedTo, ...] = ()
    journal: tuple[JournalLine, ...] = ()
    makes_revenue_elements: bool = True


class CashReceipt(Document):
    """A receipt on account, on its own date. Applications follow as facts of their own."""

    external_id: str
    number: str
    customer: str
    subsidiary: str
    currency: str
    currency_code: Currency
    amount: Decimal
    posting_date: dt.date
    period: str
    account: str  # clearing account of the gateway
    receivables_account: str = ""
    memo: str = ""
    reference: str = ""
    exchange_rate: Decimal | None = None
    journal: tuple[JournalLine, ...] = ()


class CashApplication(Document):
    """Applies the ERP's document `payment` (customerPayment or creditMemo) to open items."""

    external_id: str
    payment: str
    kind: str  # customerPayment or creditMemo in our words: receipt, credit_memo
    apply_to: tuple[AppliedTo, ...]
    currency_code: Currency
    released: tuple[str, ...] = ()  # documents that it settles no longer


class CashRefund(Document):
    """Cash given back from the gateway's clearing account. It pays out the credit memos of `apply_to`, whose sum it is,
    or a receipt on account; with neither it is a debit of the customer's that stays open. Of a refund that failed,
    `journal` is the opposite."""

    external_id: str
    customer: str
    subsidiary: str
    currency: str
    currency_code: Currency
    amount: Decimal
    posting_date: dt.date
    period: str
    account: str  # clearing account of the gateway
    receivables_account: str = ""
    memo: str = ""
    exchange_rate: Decimal | None = None
    apply_to: tuple[AppliedTo, ...] = ()
    journal: tuple[JournalLine, ...] = ()


class Journal(Document):
    """A double entry of its own. With a `reversal_date` the ERP makes its opposite of that date in the same act, at the
    same rate."""

    external_id: str
    subsidiary: str
    currency: str
    currency_code: Currency
    posting_date: dt.date
    period: str
    lines: tuple[JournalLine, ...]
    memo: str = ""
    exchange_rate: Decimal | None = None
    reversal_date: dt.date | None = None

    @property
    def total(self) -> Decimal:
        """The sum of its debits, which is the sum of its credits."""
        return sum((line.debit for line in self.lines), Decimal(0))


class DaySummary(Document):
    """What one journal sums up: the documents of an entity's posting date in one currency that nobody summed up before.

    `delta` is 0 for the day's first summary, then one more for each later one; `supplements` is the number of the one
    before in the same ERP. `contents` is the hash of the frozen list of documents; `total` is the sum of their
    debits.
    """

    later_is = Later.VERSION

    source: Source
    legal_entity: str
    posting_date: dt.date
    currency: Currency
    delta: int
    document_count: int
    line_count: int
    total: Decimal
    contents: str
    supplements: str = ""
    erp: str = ""  # our connection's code, of what was frozen before there were several: the one of the role

    @property
    def document_date(self) -> dt.date:
        """A day's summary is dated with the day that it sums up."""
        return self.posting_date


class AccruedLine(Document):
    """What is accrued on one account of the ERP: revenue is positive, what takes revenue back negative."""

    account: str
    amount: Decimal
    department: str = ""
    class_: str = ""
    location: str = ""


class Accrual(Document):
    """That people accrue what a late document earned in its own period, net of tax: on that period's last day, taken
    back on the first day of the period in which the document itself posts. `source` is their decision."""

    later_is = Later.VERSION

    source: Source
    document_type: str  # of the source: invoice, credit_note
    document_id: str
    number: str  # of the document
    legal_entity: str
    erp: str  # our connection's code
    currency: Currency
    document_date: dt.date  # the last day of the period in which it's accrued
    reversed_on: dt.date
    amount: Decimal  # of all lines together
    lines: tuple[AccruedLine, ...]
    reason: str = ""


class Deposit(Document):
    """A payout: clearing to bank."""

    external_id: str
    journal: Journal


class PostedDocument(Document):
    """What the ERP says that it holds: read back, never assumed.

    `is_in_ledger` is False while the ERP's own approval is pending (posted means that the ledger has it).
    """

    document_type: str  # ar_invoice, ar_credit_memo, receipt, ar_refund, journal, customer, application
    id: str
    external_id: str
    number: str = ""
    customer: str = ""  # the ERP's id
    total: Decimal | None = None
    currency_code: str = ""
    currency: str = ""  # the ERP's id of it
    posting_date: dt.date | None = None
    period: str = ""
    subsidiary: str = ""
    exchange_rate: Decimal | None = None
    base_amount: Decimal | None = None
    is_in_ledger: bool = True
    url: str = ""
    applied: tuple[AppliedTo, ...] = ()
    open_amount: Decimal | None = None  # of an invoice: what isn't settled yet, in its currency
    was_found: bool = False  # a look-up found it: we didn't see our own create answered
    reversal: str = ""  # of a journal: the ERP's id of its opposite
    reversal_date: dt.date | None = None


class SavedRecord(Document):
    """What a non-ERP system says it holds after a write: a subscription, a customer, a status."""

    document_type: str
    id: str
    external_id: str = ""
    number: str = ""
    status: str = ""
    url: str = ""
    was_found: bool = False
