"""Void to ERP: what billing voids is taken back in the ERP by a document of its own, if the ERP ever had it.

Starts on   InvoiceVoided, CreditMemoVoided (billing)
Ends with   a credit memo applied to the voided invoice, which the customer's balance settles no longer; or an invoice
            to which the voided credit memo is moved, so that the invoice it had lowered is open again
Posts       line-level or in the day's summary as the original, its lines the other way round, with its items, tax codes
            and rate, on the date of the void
Owners      billing operations; the controller for period and posting policy
Never       edits or deletes the original; posts anything where the original was never posted; takes back more than the
            ERP has open
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from connectors.manifest import Undo
from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, DocumentVoid, Invoice
from q2c.canonical.posting import AppliedTo, ArCreditMemo, ArInvoice, CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling
from q2c.core.ids import external_id
from q2c.core.problems import Awaits, Category, NotNeeded, Problem
from q2c.flows import credit_memo_to_erp, invoice_to_erp
from q2c.flows.steps import (
    approve,
    customer,
    dates,
    given_back,
    open_items,
    originals,
    post,
    settling,
    summary,
    systems,
    unwound,
)
from q2c.flows.told import Link, became
from q2c.posting.facts import Accounts, Book, ItemUse, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_credit_memo, build_ar_invoice
from q2c.posting.voids import turn_credit, turn_invoice
from q2c.transactions.steps import Flow, Read, Write


def want_invoice(void: DocumentVoid) -> list[tuple[str, Any]]:
    """The voided invoice as billing sent it, and what became of it."""
    itself = (void.source.connection, void.document_id)
    return [("fact", (originals.INVOICE_FLOW, *itself)), unwound.want_plan(*itself), unwound.want_place(*itself)]


def want_credit(void: DocumentVoid) -> list[tuple[str, Any]]:
    """The voided credit note and the invoice that it had lowered."""
    connection = void.source.connection
    return [
        ("fact", ("credit_memo_to_erp", connection, void.document_id)),
        ("fact", ("invoice_to_erp", connection, void.invoice_id)),
        ("xref", ("credit_memo", _credit_key(void))),
        ("xref", ("invoice", f"{connection}:invoice:{void.invoice_id}")),
    ]


def read_invoice(void: DocumentVoid, links: Any) -> CreditMemo:
    """What is left of the voided invoice, the other way round. Waits until the invoice is posted, or taken back by
    people; there's nothing to do for one that never will be, or that they took back for good. Raises Problem
    `plan_half_done` where they gave that up half way."""
    _check_unwound(void, links)
    fact = _carried(void, links, "invoice_to_erp", "invoice")
    return turn_invoice(void, schema.from_json(fact, Invoice))


def read_credit(void: DocumentVoid, links: Any) -> Invoice:
    """The voided credit memo, the other way round. Waits as `read_invoice` does."""
    fact = _carried(void, links, "credit_memo_to_erp", "credit_memo")
    memo = originals.read_original_lines(schema.from_json(fact, CreditMemo), links)
    return turn_credit(void, memo)


def _check_unwound(void: DocumentVoid, links: Any) -> None:
    connection = void.source.connection
    unwound.check_half_way(connection, void.document_id, links)
    if unwound.find_last_plan(connection, void.document_id, links) is not None:
        raise NotNeeded(f"{void.number} was taken back by a plan, so there's nothing left to take back")


def _carried(void: DocumentVoid, links: Any, flow: str, kind: str) -> bytes:
    connection, state = void.source.connection, links.state(flow, void.source.connection, void.document_id)
    if state == "cancelled":
        raise NotNeeded(f"{void.number} was never posted, so there's nothing to take back")
    if state != "completed":
        raise Awaits(f"{kind}:{connection}:{void.document_id}", f"{void.number} in the ERP, to take it back")
    fact: bytes = links.fact(flow, connection, void.document_id)
    return fact


def want_credit_book(void: DocumentVoid, document: Invoice, calendar: Any) -> list[tuple[str, Any]]:
    """What names the seller of a voided credit memo, and the ERP that has it."""
    itself = [("credit_memo", _credit_key(void))]
    sold = originals.want_sold(originals.CREDIT_FLOW, "credit_memo", void.source.connection, void.document_id)
    return [*dates.want_seller(document), *sold, *systems.want_erp("credit_memo", document, calendar, itself)]


def find_credit_book(void: DocumentVoid, document: Invoice, txn: Any, mappings: Any, calendar: Any, links: Any) -> Book:
    """The book in which the voided credit memo stands."""
    source = (void.source.connection, void.document_id)
    code = originals.sold_by(originals.CREDIT_FLOW, "credit_memo", *source, links)
    code = code or dates.find_seller(document, txn, mappings)

    def rule() -> str:
        on = dates.own_date(document, code, calendar)
        return systems.erp_by_rule("credit_memo", document, code, on, mappings=mappings, links=links)

    itself = [("credit_memo", _credit_key(void))]
    return dates.take_book(code, txn, calendar, systems.follow([itself], code, rule, links=links, calendar=calendar))


def check_invoice_undo(erp: Any) -> str:
    """That this ERP takes an invoice back by a credit memo. Raises Problem `unsupported_document`."""
    return _check_undo(erp, "ar_invoice", Undo.CREDIT)


def check_credit_undo(document: Invoice, void: DocumentVoid, book: Book, policy: Policy, links: Any, erp: Any) -> str:
    """That this ERP takes a credit memo back by charging it again. Raises Problem `unsupported_document`."""
    summary.check_keeper(document, policy, links.find("credit_memo", _credit_key(void), book.connection))
    return _check_undo(erp, "ar_credit_memo", Undo.CHARGE)


def _check_undo(erp: Any, document_type: str, wanted: Undo) -> str:
    way = erp.undo.get(document_type)
    if way is not wanted:
        raise Problem(
            "unsupported_document",
            Category.VALIDATION,
            f"We don't know how {erp.name} takes back a posted {document_type.replace('_', ' ')}",
            connection=erp.connection_code,
            document=document_type,
            prefix=document_type,
        )
    return str(wanted.value)


def build_credit(
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
    """The AR credit memo over what was left, applied to the invoice; raises Problem when it doesn't add up."""
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
        apply_to=(AppliedTo(document=erp_invoice, amount=document.total),),
        prefix="void",
    )
    return dates.with_memo(posting, txn)


def want_voids(void: DocumentVoid) -> list[tuple[str, Any]]:
    """The invoice's credit notes whose voids are on their way."""
    return [open_items.want_voids(void.source.connection, void.document_id)]


def read_voids(void: DocumentVoid, links: Any) -> tuple[str, ...] | None:
    """The invoice's credit notes that billing voided and the ERP still has; None where there are none."""
    return tuple(links.voids(void.source.connection, void.document_id)) or None


async def post_credit(
    posting: ArCreditMemo, void: DocumentVoid, voids: tuple[str, ...] | None, txn: Any, erp: Any, write: Any
) -> PostedDocument:
    """Post it, once the ERP says that all of it is open; what was sent before and never answered goes again as it is.
    Waits for a credit note's void on its way, else raises Problem `open_amount_exceeded`: a write-off, or somebody's
    payment, stands on the invoice."""
    row = posting.apply_to[0]
    if not getattr(write, "is_open", False):
        invoice, room = await open_items.read_room(erp, row.document)
        if room is not None and room < row.amount:
            raise open_items.refuse(
                f"{void.currency} {row.amount:,} is to be taken back of", invoice, room,
                source=void.source, invoice_id=void.document_id, voids=voids or (), looks=txn.probe_count,
            )  # fmt: skip
    posted: PostedDocument = await erp.post_credit_memo(posting)
    return posted


def completes_invoice(void: DocumentVoid) -> list[str]:
    """Credit that the invoice gave back may settle another one."""
    return [open_items.void_key(void.source.connection, void.document_id)]


def completes_credit(void: DocumentVoid) -> list[str]:
    """What settles the invoice that is owed again goes on."""
    return [open_items.voids_key(void.source.connection, void.invoice_id)] if void.invoice_id else []


def build_charge(
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
    """The AR invoice that charges the credit again; raises Problem when it doesn't add up."""
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
        prefix="void",
    )
    return dates.with_memo(posting, txn)


def _credit_key(void: DocumentVoid) -> str:
    return f"{void.source.connection}:credit_note:{void.document_id}"


def build_move(
    void: DocumentVoid, document: Invoice, ar_invoice: PostedDocument | None, book: Book, links: Any
) -> CashApplication | None:
    """The voided credit memo settles the new invoice and no longer the one it had lowered: no open item is left. In a
    summary there are none to settle."""
    if ar_invoice is None:
        return None
    connection = void.source.connection
    credit = links.find("credit_memo", _credit_key(void), book.connection)
    lowered = links.find("invoice", f"{connection}:invoice:{void.invoice_id}", book.connection)
    return CashApplication(
        external_id=external_id("move", source=connection, object_id=void.document_id),
        payment=credit.external_id,
        kind="credit_memo",
        apply_to=(AppliedTo(document=ar_invoice.id, amount=document.total),),
        released=(lowered.external_id,) if lowered is not None else (),
        currency_code=document.currency,
    )


def find_move(move: CashApplication, erp: Any) -> PostedDocument:
    """Look whether the credit memo is applied so."""
    return erp.find_application(move)


async def read_move(move: CashApplication, erp: Any) -> PostedDocument:
    """What the credit memo settles now, once people accepted that it's otherwise than was asked."""
    return await settling.read_applied(move, erp)


async def move_credit(move: CashApplication, book: Book, erp: Any) -> PostedDocument:
    """Apply the credit memo to the new invoice in place of the old one."""
    return await settling.apply_one(move, book, erp)


def tell_invoice_void(
    void: DocumentVoid,
    document: CreditMemo,
    ar_credit_memo: PostedDocument | None,
    summary: PostedDocument | None,
    book: Book,
    release: Settling | None,
    erp_invoice: str,
) -> list:
    """Lineage from the voided invoice to its void, and to the ERP's credit memo or summary; and what was released."""
    told = became(document.source, "invoice_void", ar_credit_memo, book.connection, amount=-document.total,
                  currency=document.currency, step="post_credit_memo", summary=summary)  # fmt: skip
    source = document.source
    told.append(Link(source.connection, "invoice", document.invoice_id, source.connection, source.object_type,
                     source.object_id, -document.total, document.currency, "voided by"))  # fmt: skip
    if summary is None:
        told += given_back.tell_release(release, void, book, erp_invoice)
    return told


def tell_credit_void(
    void: DocumentVoid, document: Invoice, ar_invoice: PostedDocument | None, summary: PostedDocument | None, book: Book
) -> list:
    """Lineage from the voided credit note to its void, and to the ERP's invoice or summary."""
    told = became(document.source, "credit_void", ar_invoice, book.connection, amount=document.total,
                  currency=document.currency, step="post_invoice", summary=summary)  # fmt: skip
    source = document.source
    told.append(Link(source.connection, "credit_note", void.document_id, source.connection, source.object_type,
                     source.object_id, document.total, document.currency, "voided by"))  # fmt: skip
    return told


INVOICE_VOID_TO_ERP = Flow(
    code="invoice_void_to_erp",
    title="Invoice void to ERP",
    starts_with=("void",),
    fact_type=DocumentVoid,
    owner="billing_ops",
    lane_type="invoice",
    steps=(
        Read("read_invoice", "Turn round what is left of the invoice, or wait for it", read_invoice, gives="document",
             wants=want_invoice),
        *originals.WHOSE,
        *customer.CUSTOMER,
        Read("find_invoice", "Find the invoice in the ERP", credit_memo_to_erp.find_invoice, gives="erp_invoice",
             wants=credit_memo_to_erp.want_invoice),
        Read("check_undo", "See how the ERP takes an invoice back", check_invoice_undo, gives="undo"),
        *originals.ORIGINAL,
        *originals.IN_RECEIVABLES,
        *originals.CODES,
        Read("build_posting", "Build the AR credit memo; it must balance to the cent", build_credit, gives="posting"),
        given_back.BUILD_RELEASE,
        Read("read_voids", "See whether voids of its credit notes are on their way", read_voids, gives="voids",
             wants=want_voids, quiet=True),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        given_back.RELEASE,
        Write(
            "post_credit_memo",
            "Post the AR credit memo, applied to the voided invoice",
            find=credit_memo_to_erp.find_ar_credit_memo,
            create=post_credit,
            equal=post.compare_posted,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="ar_credit_memo",
        ),
    ),
    links=tell_invoice_void,
    completes=completes_invoice,
)  # fmt: skip

CREDIT_VOID_TO_ERP = Flow(
    code="credit_void_to_erp",
    title="Credit void to ERP",
    starts_with=("void",),
    fact_type=DocumentVoid,
    owner="billing_ops",
    lane_type="credit_memo",
    steps=(
        Read("read_credit", "Turn the credit memo round, or wait for it", read_credit, gives="document",
             wants=want_credit),
        *dates.whose(find_credit_book, want_credit_book),
        *customer.CUSTOMER,
        Read("check_undo", "See how the ERP takes a credit memo back", check_credit_undo, gives="undo"),
        *originals.CREDITED,
        *originals.IN_RECEIVABLES,
        *originals.CODES,
        Read("build_posting", "Build the AR invoice; it must balance to the cent", build_charge, gives="posting"),
        *dates.OWN_WINDOW,
        *approve.APPROVAL,
        *summary.BY_ITSELF_OR_IN_SUMMARY,
        Write(
            "post_invoice",
            "Post the AR invoice that charges it again",
            find=invoice_to_erp.find_ar_invoice,
            create=invoice_to_erp.post_ar_invoice,
            equal=post.compare_posted,
            prepared="posting",
            unless="summary",
            port="erp",
            gives="ar_invoice",
        ),
        Read("build_move", "See what the credit memo settles from now on", build_move, gives="move",
             wants=want_credit),
        Write(
            "move_credit",
            "Move the credit memo to the new invoice",
            find=find_move,
            there=read_move,
            create=move_credit,
            equal=settling.compare_applied,
            prepared="move",
            port="erp",
            gives="moved",
        ),
    ),
    links=tell_credit_void,
    completes=completes_credit,
)  # fmt: skip
