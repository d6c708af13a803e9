"""Refund to ERP: cash given back leaves the gateway's clearing, and pays out the credit memo that says why.

Starts on   RefundMade (billing or payments)
Ends with   a refund that pays out its credit memos, or the receipt where that stands on account since people took the
            invoice back for good; without either, a debit of the customer's; the opposite if it fails; or the day's
            summary, by policy
Posts       gross out of the gateway's clearing account; realised gains and losses come from the ERP alone
Owners      billing operations; the controller for accounts
Never       leaves a credit memo open that the money was given back for
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Refund
from q2c.canonical.posting import AppliedTo, CashRefund, PostedDocument
from q2c.core.money import spoken_money
from q2c.core.problems import Awaits, Problem
from q2c.flows.steps import approve, cash, codes, customer, dates, first, post, receivables, summary, systems, unwound
from q2c.flows.steps.receivables import Posted
from q2c.flows.told import Link
from q2c.posting.cash import build_refund
from q2c.posting.facts import Accounts, Book, Period, Policy, RateUse
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.steps import Flow, Read, Write

CREDIT_FLOW = "credit_memo_to_erp"


def find_payment(document: Refund, book: Book, policy: Policy, links: Any) -> str:
    """The ERP's id of the refunded receipt, or wait for it; empty in a summary, where the receipt has no document."""
    if policy.is_summary:
        return ""
    found = links.find("payment", cash.payment_key(document), book.connection)
    if found is None:
        raise cash.awaited_payment(document)
    return found.external_id


def want_credits(document: Refund) -> list[tuple[str, Any]]:
    """The cross-references of the credit notes that it gives back, and what became of them."""
    connection = document.source.connection
    return [
        want
        for credit in document.credits
        for want in (
            ("xref", ("credit_memo", _credit_key(document, credit.credit_note_id))),
            ("fact", (CREDIT_FLOW, connection, credit.credit_note_id)),
        )
    ]


def want_plans(document: Refund, links: Any) -> list[tuple[str, Any]]:
    """The plans about the invoices of the credit notes that were never posted."""
    connection = document.source.connection
    return [unwound.want_plan(connection, invoice) for invoice in _uncredited(document, links) if invoice]


def _uncredited(document: Refund, links: Any) -> list[str]:
    """The invoices of its credit notes that were cancelled; empty for one that names none."""
    keys = [(CREDIT_FLOW, document.source.connection, credit.credit_note_id) for credit in document.credits]
    facts = [links.fact(*key) for key in keys if links.state(*key) == "cancelled"]
    return [schema.from_json(fact, CreditMemo).invoice_id for fact in facts]


def find_credits(
    document: Refund, book: Book, policy: Policy, erp_payment: str, links: Any, calendar: Any
) -> tuple[AppliedTo, ...]:
    """The ERP's credit memos that it pays out, or wait for them; or the receipt that stands on account.

    None of a failure, in a summary, for a credit note that was never posted though its invoice stands, and where credit
    notes explain only a part of the refund. Raises Problem `unsupported_document` when the credit memo went in a
    summary and this doesn't, or into another ERP.
    """
    if document.movement or policy.is_summary:
        return ()
    found = []
    connection = document.source.connection
    for credit in document.credits:
        record = ("credit_memo", _credit_key(document, credit.credit_note_id))
        memo = links.find(*record, book.connection)
        if memo is None and links.state(CREDIT_FLOW, connection, credit.credit_note_id) == "cancelled":
            return _on_account(document, erp_payment, links)
        what = f"A refund of {spoken_money(document.amount, document.currency)} gives back"
        if memo is None and systems.standing([record], book.code, links=links, calendar=calendar):
            raise summary.across_cut_over(document, f"{what} a credit note", summary.IN_TWO_ERPS)
        if memo is None:
            key = f"credit_memo:{connection}:{credit.credit_note_id}"
            raise Awaits(key, f"credit note {credit.credit_note_id} in the ERP")
        if memo.external_type == IN_SUMMARY:
            raise summary.across_cut_over(document, f"{what} {memo.number or 'a credit note'}")
        found.append(AppliedTo(document=memo.external_id, amount=credit.amount))
    explained = sum((applied.amount for applied in found), Decimal(0))
    return tuple(found) if explained == document.amount else ()


def _on_account(document: Refund, erp_payment: str, links: Any) -> tuple[AppliedTo, ...]:
    """The receipt, where all that it's given back for was credited by plans that took the invoices back for good: it
    settles nothing, and only this clears it. None where such a plan left it on the old invoice, in a closed period."""
    connection, explained = document.source.connection, sum((c.amount for c in document.credits), Decimal(0))
    invoices = _uncredited(document, links)
    plans = [unwound.find_last_plan(connection, invoice, links) for invoice in invoices if invoice]
    settled = [row for plan in plans if plan is not None for row in plan.settled if not row.moves]
    if len(plans) < len(document.credits) or None in plans or explained != document.amount:
        return ()
    if any(row.document == erp_payment for row in settled):
        return ()
    return (AppliedTo(document=erp_payment, amount=document.amount),)


def _credit_key(document: Refund, credit_note_id: str) -> str:
    return f"{document.source.connection}:credit_note:{credit_note_id}"


def want_accounts(document: Refund, mappings: Any) -> list[tuple[str, Any]]:
    """Account roles, and where stands what it gives back, or the refund that failed."""
    settled = [want for row in _settled(document) for want in receivables.want_standing(row)]
    return [*codes.want_accounts(document, mappings), *settled]


def find_accounts(
    document: Refund, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy, mappings: Any,
    links: Any,
) -> Accounts:  # fmt: skip
    """Receivables as what it pays out has them, and the gateway's clearing account. Raises Problem naming the role."""
    standing = (receivables.stands_on(row, policy, book, links) for row in _settled(document))
    settled = receivables.find_settled(standing, document, book, document_date, policy, mappings, links)
    on = (document_date, posting_date)
    return codes.receipt_accounts(settled, document, book, *on, policy, mappings, links)


def _settled(document: Refund) -> list[Posted]:
    """The refund that failed; else the credit notes and the payment that a refund gives back."""
    connection = document.source.connection
    if document.movement:
        return [Posted("refund_to_erp", connection, document.source.object_id, "ar_refund")]
    credits = [Posted(CREDIT_FLOW, connection, credit.credit_note_id, "ar_credit_memo") for credit in document.credits]
    return [*credits, Posted(cash.PAYMENT_FLOW, connection, document.payment_id, "receipt")]


def build_refund_posting(
    document: Refund,
    book: Book,
    erp_customer: str,
    credits: tuple[AppliedTo, ...],
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> CashRefund:
    """The refund: receivables against clearing, or the opposite where it failed."""
    posting = build_refund(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        accounts=accounts,
        rate=rate,
        posting_date=posting_date,
        period=period,
        apply_to=credits,
    )
    return dates.with_memo(posting, txn)


def find_refund(posting: CashRefund, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find_refund(posting)


def post_refund(posting: CashRefund, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.refund(posting)


def compare_refund(document: PostedDocument, prepared: CashRefund, was_found: bool) -> Problem | None:
    """None when the ERP holds what we asked for, paid out of the same credit memos."""
    problem = post.compare_posted(document, prepared, was_found)
    if problem is None and set(document.applied) != set(prepared.apply_to):
        summary = "The refund pays out other credit memos in the ERP than it was to"
        return post.differs(was_found, document, prepared.external_id, summary)
    return problem


def tell_refund(
    document: Refund, erp_payment: str, ar_refund: PostedDocument | None, summary: PostedDocument | None, book: Book
) -> list:
    """Lineage from the payment and the credit notes to the refund, from the refund to the ERP's or to its summary, and
    from that to what it pays out."""
    amount = document.amount if document.failed_at else -document.amount
    told = cash.tell_movement(document, ar_refund, book, amount=amount, step="post_refund", summary=summary)
    relation = "refund failed" if document.failed_at else "refunded by"
    told.append(cash.tell_of_payment(document, amount=amount, relation=relation, step="post_refund"))
    source = document.source
    if not document.movement:
        told += [
            Link(
                source.connection, "credit_note", credit.credit_note_id, source.connection, source.object_type,
                source.object_id, -credit.amount, document.currency, "given back by", "post_refund",
            )
            for credit in document.credits
        ]  # fmt: skip
    if ar_refund is not None:
        told += [
            Link(
                book.connection, "receipt" if applied.document == erp_payment else "ar_credit_memo", applied.document,
                book.connection, ar_refund.document_type, ar_refund.id, -applied.amount, document.currency,
                "given back by", "post_refund",
            )
            for applied in ar_refund.applied
        ]  # fmt: skip
    return told


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
        first.STANDS,
        *dates.whose(cash.find_payment_book, cash.want_payment_book),
        *customer.CUSTOMER,
        Read(
            "find_payment",
            "Find the refunded receipt, or wait for it",
            find_payment,
            gives="erp_payment",
            wants=want_credits,
        ),
        *cash.FIRST,
        Read(
            "find_credits",
            "Find the credit memos that it pays out, or wait for them",
            find_credits,
            gives="credits",
            wants=want_plans,
        ),
        *dates.IN_RECEIVABLES,
        *codes.accounts_step(find_accounts, want_accounts),
        Read("build_posting", "Build the refund; it must balance", build_refund_posting, gives="posting"),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        Write(
            "post_refund",
            "Post the refund, out of its credit memos",
            find=find_refund,
            create=post_refund,
            equal=compare_refund,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="ar_refund",
        ),
    ),
    links=tell_refund,
    completes=completes_refund,
)
