"""Cash application to ERP: which receipt or credit settles which invoice, a fact of its own.

Starts on   PaymentApplied (billing or payments)
Ends with   the ERP's receipt or credit memo applied to its invoice; nothing to post where billing keeps what is open,
            or where a refund has paid the credit memo out
Posts       nothing by itself; realised gains and losses come from the ERP alone
Owners      billing operations; the controller for posting policy
Never       applies what stands in a summary: billing has applied it, and the ledger knows only the day; applies less
            than the fact says unless two people agreed to it
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical.billing import Application, CollectedDebt
from q2c.canonical.posting import AppliedTo, CashApplication, PostedDocument
from q2c.core.ids import external_id
from q2c.core.problems import Awaits, Category, NotNeeded, Problem
from q2c.flows.steps import cash, dates, open_items, originals, settling, systems, unwound
from q2c.flows.steps.summary import IN_TWO_ERPS, across_cut_over
from q2c.flows.told import Link
from q2c.posting.facts import Book, Policy
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.steps import Flow, Read, Write

IN_ERP = "applied in the ERP"
IN_BILLING = "recorded in billing, nothing to post"
IN_REFUND = "paid out by the refund itself, nothing to apply"
VOID_FLOW = "invoice_void_to_erp"
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


class Beside(msgspec.Struct, frozen=True):
    """What else moves the invoice that an application settles: credit notes of it whose voids are on their way, and
    debts of others that its payment pays beside its `total`."""

    voids: tuple[str, ...] = ()
    collected: tuple[CollectedDebt, ...] = ()
    total: Decimal = Decimal(0)


class _Collecting(msgspec.Struct):
    total: Decimal
    collected: tuple[CollectedDebt, ...] = ()


def want_beside(document: Application) -> list[tuple[str, Any]]:
    """The invoice as billing sent it and what billing says of it now, its newest plan and voided credit notes, and the
    voided invoice that gave the credit back."""
    connection = document.source.connection
    wants: list[tuple[str, Any]] = []
    if document.refund_id:
        return wants
    wants.append(unwound.want_plan(connection, document.invoice_id))
    if document.kind == "payment":
        wants.append(("fact", (originals.INVOICE_FLOW, connection, document.invoice_id)))
    else:
        wants.append(("status", (connection, document.invoice_id)))
    if document.given_back_by:
        wants.append(("fact", (VOID_FLOW, connection, document.given_back_by)))
    return [*wants, open_items.want_voids(connection, document.invoice_id)]


def read_beside(document: Application, keeper: str, links: Any) -> Beside | None:
    """What else moves the invoice; None where nothing does. Waits for the voided invoice that gave this credit back:
    the ERP has to release it first; and for a plan about the invoice that is under way: what is open half-way says
    nothing. Raises NotNeeded where billing voided the invoice and gave the credit back."""
    if keeper != IN_ERP or document.refund_id:
        return None
    connection = document.source.connection
    if document.kind != "payment" and links.status(connection, document.invoice_id) == "void":
        raise NotNeeded("billing voided the invoice and gave the credit back before it was applied")
    back = document.given_back_by
    if back and links.state(VOID_FLOW, connection, back) not in ("completed", "cancelled"):
        raise Awaits(open_items.void_key(connection, back), "the void of the invoice that used this credit before")
    unwound.find_last_plan(connection, document.invoice_id, links)
    fact = links.fact(originals.INVOICE_FLOW, connection, document.invoice_id) if document.kind == "payment" else None
    invoice = msgspec.json.decode(fact, type=_Collecting) if fact else _Collecting(Decimal(0))
    voids = tuple(links.voids(connection, document.invoice_id))
    return Beside(voids=voids, collected=invoice.collected, total=invoice.total) if voids or invoice.collected else None


def want_debts(document: Application, beside: Beside | None) -> list[tuple[str, Any]]:
    """The cross-references of the invoices whose debts the payment pays."""
    return [("xref", ("invoice", _debt_key(document, debt))) for debt in (beside.collected if beside else ())]


def _debt_key(document: Application, debt: CollectedDebt) -> str:
    return f"{document.source.connection}:invoice:{debt.invoice_id}"


def build_application(
    document: Application, book: Book, keeper: str, beside: Beside | None, links: Any, txn: Any
) -> CashApplication | None:
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
        apply_to=_shares(document, settled.external_id, book, beside, links, txn.chosen.get(open_items.APPLY_OPEN)),
        currency_code=document.currency,
    )


def _shares(
    document: Application, settled: str, book: Book, beside: Beside | None, links: Any, chosen: Any
) -> tuple[AppliedTo, ...]:
    """The invoice with the amount; of more than its own total what it collected for others goes to theirs, the oldest
    first. What two people agreed to apply instead is about the invoice alone."""
    if chosen is not None:
        return (AppliedTo(document=settled, amount=Decimal(chosen["amount"])),)
    left, debts = document.amount, []
    for debt in beside.collected if beside is not None else ():
        share = min(debt.amount, left - beside.total) if beside is not None and debt.invoice_id else Decimal(0)
        if share <= 0:
            continue
        owed = links.find("invoice", _debt_key(document, debt), book.connection)
        if owed is None:
            awaited = f"invoice:{document.source.connection}:{debt.invoice_id}"
            raise Awaits(awaited, f"invoice {debt.invoice_id} in the ERP, whose debt is paid too")
        if owed.external_type == IN_SUMMARY:
            continue
        left -= share
        debts.append(AppliedTo(document=owed.external_id, amount=share))
    return (AppliedTo(document=settled, amount=left), *debts)


def find_application(posting: CashApplication, erp: Any) -> PostedDocument:
    """The application, if the ERP says that the receipt is applied so."""
    return erp.find_application(posting)


async def read_applied(posting: CashApplication, erp: Any) -> PostedDocument:
    """What the ERP has applied, once people accepted that it's otherwise than was asked."""
    return await settling.read_applied(posting, erp)


async def apply_payment(
    document: Application, posting: CashApplication, beside: Beside | None, book: Book, txn: Any, erp: Any
) -> PostedDocument:  # fmt: skip
    """Apply the receipt or credit memo to the invoice, once the ERP says that so much of it is open; of an amount that
    people agreed to, that as much is open as they saw. Waits for a credit note's void on its way, else raises Problem
    `open_amount_exceeded`."""
    if not document.refund_id:
        await _check_open(document, posting, beside, txn, erp)
    return await settling.apply_one(posting, book, erp)


async def _check_open(
    document: Application, posting: CashApplication, beside: Beside | None, txn: Any, erp: Any
) -> None:
    chosen = txn.chosen.get(open_items.APPLY_OPEN)
    for row in posting.apply_to:
        _, room = await open_items.read_room(erp, row.document)
        if room is None or (chosen is None and room >= row.amount):
            continue
        invoice, room = await open_items.read_room(erp, row.document, payment=posting.payment, kind=posting.kind)
        if room is None or (room >= row.amount if chosen is None else room == Decimal(chosen["open"])):
            continue
        voids = beside.voids if beside is not None and row is posting.apply_to[0] else ()
        raise open_items.refuse(
            f"{document.currency} {row.amount:,} {'is' if chosen is None else 'was agreed'} to be applied to",
            invoice, room, source=document.source, invoice_id=document.invoice_id, voids=voids,
            looks=txn.probe_count,
        )  # fmt: skip


def tell_application(
    document: Application, posting: CashApplication | None, applied: PostedDocument | None, book: Book
) -> list:
    """Lineage from the receipt or credit memo to the invoice that it settles, on both sides; on billing's alone where
    it keeps them. In the ERP with what that has applied, which people may have accepted otherwise than it was asked."""
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
    if posting is None:
        return told
    told += [
        Link(
            book.connection, "receipt" if is_payment else "ar_credit_memo", posting.payment, book.connection,
            "ar_invoice", row.document, row.amount, document.currency, "settles", "apply_payment",
        )
        for row in (posting.apply_to if applied is None else applied.applied)
    ]  # fmt: skip
    return told


def completes(document: Application) -> list[str]:
    """The void of an invoice that this credit was applied to goes on."""
    return [open_items.application_key(document.source.connection, document.source.object_id)]


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
            "read_beside",
            "See what else moves the invoice",
            read_beside,
            gives="beside",
            wants=want_beside,
            quiet=True,
        ),
        Read(
            "build_posting",
            "Find what is applied and the open item, or wait for them",
            build_application,
            gives="posting",
            wants=want_debts,
        ),
        Write(
            "apply_payment",
            "Apply the receipt or credit memo to the invoice",
            find=find_application,
            create=apply_payment,
            there=read_applied,
            equal=settling.compare_applied,
            prepared="posting",
            port="erp",
            gives="applied",
        ),
    ),
    links=tell_application,
    completes=completes,
)
