"""Payment to ERP: cash becomes a receipt on account on its own date; applying it is a fact of its own.

Starts on   PaymentReceived, PaymentApplied, RefundMade (billing or payments)
Ends with   receipt on account; its application to the invoice; the refund's journal, and the opposite if it fails
Posts       gross to the gateway's clearing account; realised gains and losses come from the ERP alone
Owners      billing operations; the controller for accounts
Never       waits with cash for an invoice: only the application waits
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.billing import Application, Payment, Refund
from q2c.canonical.posting import AppliedTo, CashApplication, CashReceipt, Journal, PostedDocument
from q2c.core.ids import external_id
from q2c.core.problems import Category, Problem
from q2c.flows.steps import approve, cash, codes, customer, dates, post
from q2c.flows.told import Link, became
from q2c.posting.cash import build_receipt, build_refund
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
) -> CashReceipt:
    """The receipt on account, gross."""
    return build_receipt(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        accounts=accounts,
        rate=rate,
        posting_date=posting_date,
        period=period,
    )


def find_receipt(posting: CashReceipt, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("receipt", posting.external_id)


def post_receipt(posting: CashReceipt, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_receipt(posting)


def tell_receipt(document: Payment, receipt: PostedDocument, book: Book) -> list:
    """Lineage from the payment to the receipt."""
    return became(
        document.source,
        "payment",
        receipt,
        book.connection,
        amount=document.amount,
        currency=document.currency,
        step="post_receipt",
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
        *codes.accounts_step(codes.find_receipt_accounts),
        Read("build_posting", "Build the receipt on account", build_receipt_posting, gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        Write(
            "post_receipt",
            "Post the receipt on account",
            find=find_receipt,
            create=post_receipt,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="receipt",
        ),
    ),
    links=tell_receipt,
    completes=completes_receipt,
)


def want_both(document: Application) -> list[tuple[str, Any]]:
    """The cross-references of what is applied and of the invoice."""
    return [("xref", (document.kind, cash.applied_key(document))), ("xref", ("invoice", cash.invoice_key(document)))]


def build_application(document: Application, book: Book, links: Any) -> CashApplication:
    """Which receipt or credit memo settles which open item. Waits for either.

    Raises Problem `balance_without_document` for credit of a customer's balance that no document put there.
    """
    if not document.payment_id:
        raise Problem(
            "balance_without_document",
            Category.VALIDATION,
            f"Invoice {document.invoice_id} used {document.currency} {document.amount:,} of a balance that no credit"
            " note gave",
            connection=document.source.connection,
            document=document.source.object_id,
        )
    applied = links.find(document.kind, cash.applied_key(document), book.connection)
    if applied is None:
        raise cash.awaited_applied(document)
    invoice = links.find("invoice", cash.invoice_key(document), book.connection)
    if invoice is None:
        raise cash.awaited_invoice(document)
    return CashApplication(
        external_id=external_id("app", source=document.source.connection, object_id=document.source.object_id),
        payment=applied.external_id,
        kind="receipt" if document.kind == "payment" else "credit_memo",
        apply_to=(AppliedTo(document=invoice.external_id, amount=document.amount),),
        currency_code=document.currency,
    )


def find_application(posting: CashApplication, erp: Any) -> PostedDocument:
    """The application, if the ERP says that the receipt is applied so."""
    return erp.find_application(posting)


def apply_payment(posting: CashApplication, erp: Any) -> PostedDocument:
    """Apply the receipt or credit memo to the invoice."""
    return erp.apply_credit_memo(posting) if posting.kind == "credit_memo" else erp.apply_payment(posting)


def tell_application(document: Application, applied: PostedDocument, posting: CashApplication, book: Book) -> list:
    """Lineage from the receipt or credit memo to the invoice that it settles, on both sides."""
    connection = document.source.connection
    return [
        Link(
            book.connection,
            "receipt" if document.kind == "payment" else "ar_credit_memo",
            posting.payment,
            book.connection,
            "ar_invoice",
            posting.apply_to[0].document,
            document.amount,
            document.currency,
            "settles",
            "apply_payment",
        ),
        Link(
            connection,
            "invoice",
            document.invoice_id,
            connection,
            document.payment_type,
            document.payment_id,
            document.amount,
            document.currency,
            "paid by" if document.kind == "payment" else "settled by",
            "apply_payment",
        ),
    ]


APPLICATION_TO_ERP = Flow(
    code="application_to_erp",
    title="Cash application to ERP",
    starts_with=("document",),
    fact_type=Application,
    owner="billing_ops",
    lane_type="application",
    steps=(
        *dates.whose(cash.find_invoice_book, cash.want_invoice_book),
        Read(
            "build_posting",
            "Find what is applied and the open item, or wait for them",
            build_application,
            gives="posting",
            wants=want_both,
        ),
        Write(
            "apply_payment",
            "Apply the receipt or credit memo to the invoice",
            find=find_application,
            create=apply_payment,
            prepared="posting",
            port="erp",
            gives="applied",
        ),
    ),
    links=tell_application,
)


def find_payment(document: Refund, book: Book, links: Any) -> str:
    """The ERP's id of the refunded receipt, or wait for it."""
    found = links.find("payment", cash.payment_key(document), book.connection)
    if found is None:
        raise cash.awaited_payment(document)
    return found.external_id


def build_refund_posting(
    document: Refund,
    book: Book,
    erp_customer: str,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """The refund's journal: receivables against clearing, or the opposite where it failed."""
    return build_refund(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        accounts=accounts,
        rate=rate,
        posting_date=posting_date,
        period=period,
    )


def tell_refund(document: Refund, journal: PostedDocument, erp_payment: str, book: Book) -> list:
    """Lineage from the payment to its refund, and from the refund to its journal."""
    amount = document.amount if document.failed_at else -document.amount
    told = cash.tell_movement(document, journal, book, amount=amount, step="post_refund")
    relation = "refund failed" if document.failed_at else "refunded by"
    return [*told, cash.tell_of_payment(document, amount=amount, relation=relation, step="post_refund")]


def completes_refund(document: Refund) -> list[str]:
    """The refund's failure, which waits for it, goes on."""
    return cash.completes_first(document)


REFUND_TO_ERP = Flow(
    code="refund_to_erp",
    title="Refund to ERP",
    starts_with=("document",),
    fact_type=Refund,
    owner="billing_ops",
    lane_type="refund",
    steps=(
        *dates.whose(cash.find_payment_book, cash.want_payment_book),
        *customer.CUSTOMER,
        Read(
            "find_payment",
            "Find the refunded receipt, or wait for it",
            find_payment,
            gives="erp_payment",
        ),
        *cash.FIRST,
        *dates.IN_RECEIVABLES,
        *codes.accounts_step(codes.find_receipt_accounts),
        Read("build_posting", "Build the refund's journal; it must balance", build_refund_posting, gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        cash.journal_write("post_refund", "Post the refund"),
    ),
    links=tell_refund,
    completes=completes_refund,
)
