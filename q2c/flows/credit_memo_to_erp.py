"""Credit memo to ERP: a billing credit note, or an invoice with a negative total, becomes an AR credit memo.

Starts on   CreditMemoIssued (billing); InvoicePosted with a negative total
Ends with   AR credit memo in the ERP's ledger, applied to its invoice where it names one
Posts       line-level or in the day's summary; with the original's items, dimensions, tax codes and exchange rate
Owners      billing operations; the controller for period and posting policy
Never       changes the invoice that it credits; credits once more what people took back for good
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.billing import CreditMemo
from q2c.canonical.posting import AppliedTo, ArCreditMemo, PostedDocument
from q2c.core.problems import Awaits, NotNeeded
from q2c.flows.steps import approve, bill_run, customer, dates, feed, originals, post, summary, unwound
from q2c.flows.told import Link, became
from q2c.posting.facts import Accounts, Book, ItemUse, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_credit_memo
from q2c.transactions.steps import Flow, Read, Write


def want_standing(credit_note: CreditMemo) -> list[tuple[str, Any]]:
    """Whether billing has voided it, or the invoice that it credits; and whether people took that one back."""
    connection = credit_note.source.connection
    wants: list[tuple[str, Any]] = [("status", (connection, credit_note.source.object_id))]
    if credit_note.invoice_id:
        wants += [("status", (connection, credit_note.invoice_id)),
                  ("fact", ("invoice_to_erp", connection, credit_note.invoice_id)),
                  unwound.want_plan(connection, credit_note.invoice_id),
                  unwound.want_place(connection, credit_note.invoice_id)]  # fmt: skip
    return wants


def check_standing(credit_note: CreditMemo, links: Any, txn: Any) -> str:
    """It still stands in billing, and so does what it credits: neither is posted when both were voided before. Waits
    while people take the invoice back by a plan; once they did so for good, all of it is credited already. Raises
    Problem `plan_half_done` where they gave that up half way."""
    connection, invoice = credit_note.source.connection, credit_note.invoice_id
    if (
        links.status(connection, invoice) == "void"
        and links.state("invoice_to_erp", connection, invoice) == "cancelled"
    ):
        raise NotNeeded(f"billing voided the invoice that {credit_note.number} credits before it was posted")
    standing = feed.check_standing(credit_note, links, txn)
    unwound.check_half_way(connection, invoice, links)
    if unwound.find_last_plan(connection, invoice, links) is not None:
        raise NotNeeded(
            f"the invoice that {credit_note.number} credits was taken back for good by a plan, so all of it is credited"
        )
    return standing


def want_invoice(document: CreditMemo) -> list[tuple[str, Any]]:
    """The cross-reference of the credited invoice."""
    if not document.invoice_id:
        return []
    return [("xref", ("invoice", f"{document.source.connection}:invoice:{document.invoice_id}"))]


def find_invoice(document: CreditMemo, book: Book, policy: Policy, links: Any) -> str:
    """The ERP's id of the credited invoice, or wait for it; empty for a credit that names none, and where billing
    keeps what is open: in a summary nothing is applied."""
    if not document.invoice_id:
        return ""
    found = links.find("invoice", f"{document.source.connection}:invoice:{document.invoice_id}", book.connection)
    summary.check_keeper(document, policy, found)
    if policy.is_summary:
        return ""
    if found is None:
        raise Awaits(
            f"invoice:{document.source.connection}:{document.invoice_id}", f"invoice {document.invoice_id} in the ERP"
        )
    return str(found.external_id)


def build_posting(
    document: CreditMemo,
    book: Book,
    erp_customer: str,
    erp_invoice: str,
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
) -> ArCreditMemo:
    """The AR credit memo, applied to its invoice; raises Problem when it doesn't add up."""
    applied = document.total if document.applied_amount is None else document.applied_amount
    apply_to = (AppliedTo(document=erp_invoice, amount=applied),) if erp_invoice and applied else ()
    posting = build_ar_credit_memo(
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
        apply_to=apply_to,
    )
    return dates.with_memo(posting, txn)


def find_ar_credit_memo(posting: ArCreditMemo, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("ar_credit_memo", posting.external_id)


def post_ar_credit_memo(posting: ArCreditMemo, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_credit_memo(posting)


def post_standing(posting: ArCreditMemo, standing: str, erp: Any) -> PostedDocument:
    """Post what still stands in billing. Raises NotNeeded for what doesn't."""
    feed.check_unposted(standing, posting.number)
    return post_ar_credit_memo(posting, erp)


def tell(
    document: CreditMemo,
    ar_credit_memo: PostedDocument | None,
    summary: PostedDocument | None,
    book: Book,
    erp_invoice: str,
) -> list:
    """Lineage from the credit note to the ERP's or to its summary, and from both to what they credit."""
    told = became(
        document.source,
        "credit_memo",
        ar_credit_memo,
        book.connection,
        amount=-document.total,
        currency=document.currency,
        step="post_credit_memo",
        summary=summary,
    )
    if document.invoice_id:
        told.append(
            Link(
                document.source.connection,
                "invoice",
                document.invoice_id,
                document.source.connection,
                document.source.object_type,
                document.source.object_id,
                -document.total,
                document.currency,
                "credited by",
            )
        )
    if ar_credit_memo is None:
        return told
    told += [
        Link(
            book.connection,
            ar_credit_memo.document_type,
            ar_credit_memo.id,
            book.connection,
            "ar_invoice",
            erp_invoice,
            applied.amount,
            document.currency,
            "applied to",
        )
        for applied in ar_credit_memo.applied
    ]
    return told


def completes(credit_note: CreditMemo) -> list[str]:
    """Applications of this credit, and its void, that wait for it go on."""
    return [f"credit_memo:{credit_note.source.connection}:{credit_note.source.object_id}"]


CREDIT_MEMO_TO_ERP = Flow(
    code="credit_memo_to_erp",
    title="Credit memo to ERP",
    starts_with=("credit_note",),
    fact_type=CreditMemo,
    owner="billing_ops",
    lane_type="credit_memo",
    steps=(
        Read(
            "check_standing",
            "Check that billing hasn't voided it",
            check_standing,
            gives="standing",
            wants=want_standing,
        ),
        *originals.LINES,
        *originals.WHOSE,
        *feed.CARRIED,
        *customer.CUSTOMER,
        Read(
            "find_invoice",
            "Find the invoice that it credits, or wait for it",
            find_invoice,
            gives="erp_invoice",
            wants=want_invoice,
        ),
        *originals.ORIGINAL,
        *originals.IN_RECEIVABLES,
        *originals.CODES,
        Read("build_posting", "Build the AR credit memo; it must balance to the cent", build_posting, gives="posting"),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *bill_run.RELEASED,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        Write(
            "post_credit_memo",
            "Post the AR credit memo",
            find=find_ar_credit_memo,
            create=post_standing,
            equal=post.compare_posted,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="ar_credit_memo",
        ),
    ),
    links=tell,
    completes=completes,
)
