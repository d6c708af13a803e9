"""Payment to ERP: cash becomes a receipt on account on its own date; applying it is a fact of its own.

Starts on   PaymentReceived (billing or payments)
Ends with   receipt on account; or the day's summary, by policy
Posts       gross to the gateway's clearing account; realised gains and losses come from the ERP alone
Owners      billing operations; the controller for accounts
Never       waits with cash for an invoice: only its application waits (application_to_erp)
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.billing import Payment
from q2c.canonical.posting import CashReceipt, PostedDocument
from q2c.flows.steps import approve, cash, customer, dates, post, summary
from q2c.flows.told import became
from q2c.posting.cash import build_receipt
from q2c.posting.facts import Accounts, Book, Period, RateUse
from q2c.transactions.steps import Flow, Read, Write


def build_receipt_posting(
    document: Payment,
    book: Book,
    erp_customer: str,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> CashReceipt:
    """The receipt on account, gross."""
    posting = build_receipt(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        accounts=accounts,
        rate=rate,
        posting_date=posting_date,
        period=period,
    )
    return dates.with_memo(posting, txn)


def find_receipt(posting: CashReceipt, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("receipt", posting.external_id)


def post_receipt(posting: CashReceipt, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_receipt(posting)


def tell_receipt(document: Payment, receipt: PostedDocument | None, summary: PostedDocument | None, book: Book) -> list:
    """Lineage from the payment to the receipt, or to the summary."""
    return became(
        document.source,
        "payment",
        receipt,
        book.connection,
        amount=document.amount,
        currency=document.currency,
        step="post_receipt",
        summary=summary,
    )


def completes_receipt(document: Payment) -> list[str]:
    """Applications and refunds that wait for this payment go on."""
    return [f"payment:{document.source.connection}:{document.source.object_id}"]


PAYMENT_TO_ERP = Flow(
    code="payment_to_erp",
    title="Payment to ERP",
    starts_with=("document",),
    fact_type=Payment,
    owner="billing_ops",
    lane_type="payment",
    steps=(
        *dates.whose(cash.find_customer_book, cash.want_customer_book),
        *customer.CUSTOMER,
        *dates.IN_RECEIVABLES,
        *cash.RECEIPT_ACCOUNTS,
        Read("build_posting", "Build the receipt on account", build_receipt_posting, gives="posting"),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        Write(
            "post_receipt",
            "Post the receipt on account",
            find=find_receipt,
            create=post_receipt,
            equal=post.compare_posted,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="receipt",
        ),
    ),
    links=tell_receipt,
    completes=completes_receipt,
)
