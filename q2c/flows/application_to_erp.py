"""Cash application to ERP: which receipt or credit settles which invoice, a fact of its own.

Starts on   PaymentApplied (billing or payments)
Ends with   the ERP's receipt or credit memo applied to its invoice; nothing to post where billing keeps what is open,
            or where a refund has paid the credit memo out
Posts       nothing by itself; realised gains and losses come from the ERP alone
Owners      billing operations; the controller for posting policy
Never       applies what stands in a summary: billing has applied it, and the ledger knows only the day
"""

from __future__ import annotations

from typing import Any

from q2c.canonical.billing import Application
from q2c.canonical.posting import AppliedTo, CashApplication, PostedDocument
from q2c.core.ids import external_id
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import cash, dates, systems
from q2c.flows.steps.summary import IN_TWO_ERPS, across_cut_over
from q2c.flows.told import Link
from q2c.posting.facts import Book, Policy
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.steps import Flow, Read, Write

IN_ERP = "applied in the ERP"
IN_BILLING = "recorded in billing, nothing to post"
IN_REFUND = "paid out by the refund itself, nothing to apply"
REFUND_PATIENCE_SECONDS = 30 * 86400.0  # a bank may take weeks


def want_both(document: Application) -> list[tuple[str, Any]]:
    """Policy, and the cross-references of what is applied and of the invoice: their entity and ERP are this
    document's."""
    invoice = ("xref", ("invoice", cash.invoice_key(document)))
    wants = [*dates.want_policy(), systems.want_rule("payment"), invoice]
    return [*wants, *(("xref", side) for side in _sides(document))]


def find_book(document: Application, txn: Any, mappings: Any, links: Any, calendar: Any) -> Book:
    """The book that holds what is applied and the open item; waits for the invoice.

    Raises Problem `unsupported_document` when they stand in two ERPs.
    """
    entity = document.legal_entity or links.entity("invoice", cash.invoice_key(document))
    if not entity:
        raise cash.awaited_invoice(document)
    applied, settled = (systems.standing([s], entity, links=links, calendar=calendar) for s in _sides(document))
    common = [erp for erp in settled if erp in applied]
    if applied and settled and not common:
        what = f"A {document.payment_type.replace('_', ' ')} settles"
        raise across_cut_over(document, f"{what} {_invoice_number(document, settled[0], links)}", IN_TWO_ERPS)

    def rule() -> str:
        on = dates.own_date(document, entity, calendar)
        return systems.erp_by_rule("payment", document, entity, on, mappings=mappings, links=links)

    there = common or settled or applied
    erp = there[0] if len(there) == 1 else rule()
    erp = erp if erp in there or not there else there[0]
    return dates.take_book(entity, txn, calendar, systems.Chosen(erp, cash.invoice_key(document) if there else ""))


def _sides(document: Application) -> tuple[tuple[str, str], tuple[str, str]]:
    settled = ("refund", _refund_key(document)) if document.refund_id else ("invoice", cash.invoice_key(document))
    return (document.kind, cash.applied_key(document)), settled


def _refund_key(document: Application) -> str:
    return f"{document.source.connection}:refund:{document.refund_id}"


def choose_keeper(document: Application, book: Book, policy: Policy, links: Any) -> str:
    """Who keeps what is open: the ERP applies its own documents; those in summaries billing has applied itself.

    Raises Problem `unsupported_document` when one side is an open item of the ERP and the other went in a summary.
    """
    if document.refund_id:
        return _check_refund(document, book, links)
    kept = set()
    for side in _sides(document):
        found = links.find(*side, book.connection)
        if found is not None:
            kept.add(IN_BILLING if found.external_type == IN_SUMMARY else IN_ERP)
        elif policy.is_summary:
            kept.add(IN_BILLING)
    if len(kept) > 1:
        applied = document.payment_type.replace("_", " ")
        raise across_cut_over(document, f"A {applied} settles {_invoice_number(document, book.connection, links)}")
    return kept.pop() if kept else IN_ERP


def _check_refund(document: Application, book: Book, links: Any) -> str:
    """How the refund gave the credit back; waits for it. One that was posted before its credit note was known owes the
    customer's debit, which the credit memo then settles in the ERP."""
    refund = links.find("refund", _refund_key(document), book.connection)
    if refund is None:
        key = f"refund:{document.source.connection}:{document.refund_id}"
        raise Awaits(key, f"refund {document.refund_id} in the ERP", patience_seconds=REFUND_PATIENCE_SECONDS)
    if refund.external_type == IN_SUMMARY:
        return IN_BILLING
    return IN_REFUND if refund.external_type == "ar_refund" else IN_ERP


def _invoice_number(document: Application, erp: str, links: Any) -> str:
    invoice = links.find("invoice", cash.invoice_key(document), erp)
    return invoice.number if invoice is not None and invoice.number else "an invoice"


def build_application(document: Application, book: Book, keeper: str, links: Any) -> CashApplication | None:
    """Which receipt or credit memo settles which open item; None where there's nothing to apply. Waits for either.

    Raises Problem `balance_without_document` for credit of a customer's balance that no document put there.
    """
    if keeper in (IN_BILLING, IN_REFUND):
        return None
    if not document.payment_id:
        number = _invoice_number(document, book.connection, links)
        raise Problem(
            "balance_without_document",
            Category.VALIDATION,
            f"{document.currency} {document.amount:,} of {number} used a balance that no credit note gave",
            connection=document.source.connection,
            document=document.source.object_id,
        )
    applied = links.find(document.kind, cash.applied_key(document), book.connection)
    if applied is None:
        raise cash.awaited_applied(document)
    settled = links.find(*_sides(document)[1], book.connection)
    if settled is None:
        raise cash.awaited_invoice(document)
    return CashApplication(
        external_id=external_id("app", source=document.source.connection, object_id=document.source.object_id),
        payment=applied.external_id,
        kind="receipt" if document.kind == "payment" else "credit_memo",
        apply_to=(AppliedTo(document=settled.external_id, amount=document.amount),),
        currency_code=document.currency,
    )


def find_application(posting: CashApplication, erp: Any) -> PostedDocument:
    """The application, if the ERP says that the receipt is applied so."""
    return erp.find_application(posting)


def apply_payment(posting: CashApplication, erp: Any) -> PostedDocument:
    """Apply the receipt or credit memo to the invoice."""
    return erp.apply_credit_memo(posting) if posting.kind == "credit_memo" else erp.apply_payment(posting)


def tell_application(document: Application, posting: CashApplication | None, book: Book) -> list:
    """Lineage from the receipt or credit memo to the invoice that it settles, on both sides; on billing's alone where
    it keeps them."""
    connection = document.source.connection
    if document.refund_id:
        if posting is None:
            return []  # the refund tells it
        hops = (
            (connection, "credit_note", document.payment_id, connection, "refund", document.refund_id),
            (book.connection, "ar_credit_memo", posting.payment, book.connection, "journal",
             posting.apply_to[0].document),
        )  # fmt: skip
        return [Link(*hop, -document.amount, document.currency, "given back by", "apply_payment") for hop in hops]
    is_payment = document.kind == "payment"
    told = [
        Link(
            connection, "invoice", document.invoice_id, connection, document.payment_type, document.payment_id,
            document.amount, document.currency, "paid by" if is_payment else "settled by", "apply_payment",
        )
    ]  # fmt: skip
    if posting is not None:
        told.append(
            Link(
                book.connection, "receipt" if is_payment else "ar_credit_memo", posting.payment, book.connection,
                "ar_invoice", posting.apply_to[0].document, document.amount, document.currency, "settles",
                "apply_payment",
            )
        )  # fmt: skip
    return told


APPLICATION_TO_ERP = Flow(
    code="application_to_erp",
    title="Cash application to ERP",
    starts_with=("document",),
    fact_type=Application,
    owner="billing_ops",
    lane_type="application",
    steps=(
        *dates.whose(find_book, want_both),
        Read("choose_keeper", "See who keeps what is open", choose_keeper, gives="keeper"),
        Read(
            "build_posting",
            "Find what is applied and the open item, or wait for them",
            build_application,
            gives="posting",
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
