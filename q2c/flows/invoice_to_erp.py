"""Invoice to ERP: a posted billing invoice becomes an AR invoice.

Starts on   InvoicePosted (billing)
Ends with   AR invoice in the ERP's ledger, cross-reference stored; application and status flows follow
Posts       line-level or summary, as the entity's posting policy says
Owners      billing operations; the controller for period and posting policy
Never       changes a posted document: corrections arrive as credit memo to ERP
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.billing import Invoice
from q2c.canonical.posting import ArInvoice, PostedDocument
from q2c.flows.steps import approve, bill_run, codes, customer, dates, feed, post, summary
from q2c.flows.told import Link, became
from q2c.posting.facts import Accounts, Book, ItemUse, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_invoice
from q2c.transactions.steps import Flow, Read, Write


def build_posting(
    document: Invoice,
    book: Book,
    erp_customer: str,
    currency: str,
    items: dict[str, ItemUse],
    taxes: dict[str, TaxUse],
    accounts: Accounts,
    policy: Policy,
    rate: RateUse,
    document_date: dt.date,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> ArInvoice:
    """The AR posting of this invoice; raises Problem when it doesn't add up."""
    posting = build_ar_invoice(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        items=items,
        taxes=taxes,
        accounts=accounts,
        policy=policy,
        rate=rate,
        document_date=document_date,
        posting_date=posting_date,
        period=period,
    )
    return dates.with_memo(posting, txn)


def find_ar_invoice(posting: ArInvoice, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("ar_invoice", posting.external_id)


def post_ar_invoice(posting: ArInvoice, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_invoice(posting)


def post_standing(posting: ArInvoice, standing: str, erp: Any) -> PostedDocument:
    """Post what still stands in billing. Raises NotNeeded for what doesn't."""
    feed.check_unposted(standing, posting.number)
    return post_ar_invoice(posting, erp)


def tell(document: Invoice, ar_invoice: PostedDocument | None, summary: PostedDocument | None, book: Book) -> list:
    """Lineage from the subscription to the invoice, and from the invoice to the ERP's document or summary."""
    told = became(
        document.source,
        "invoice",
        ar_invoice,
        book.connection,
        amount=document.total,
        currency=document.currency,
        step="post_invoice",
        summary=summary,
    )
    if document.subscription_id:
        told.append(
            Link(
                document.source.connection,
                "subscription",
                document.subscription_id,
                document.source.connection,
                document.source.object_type,
                document.source.object_id,
                document.total,
                document.currency,
                "billed",
            )
        )
    return told


def completes(document: Invoice) -> list[str]:
    """Applications and credit memos that wait for this invoice go on."""
    return [f"invoice:{document.source.connection}:{document.source.object_id}"]


INVOICE_TO_ERP = Flow(
    code="invoice_to_erp",
    title="Invoice to ERP",
    starts_with=("document",),
    fact_type=Invoice,
    owner="billing_ops",
    lane_type="invoice",
    steps=(
        *feed.STANDING,
        *dates.WHOSE,
        *feed.CARRIED,
        *customer.CUSTOMER,
        *dates.IN_RECEIVABLES,
        *codes.CODES,
        Read("build_posting", "Build the AR posting; it must balance to the cent", build_posting, gives="posting"),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *bill_run.RELEASED,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        Write(
            "post_invoice",
            "Post the AR invoice",
            find=find_ar_invoice,
            create=post_standing,
            equal=post.compare_posted,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="ar_invoice",
        ),
    ),
    links=tell,
    completes=completes,
)
