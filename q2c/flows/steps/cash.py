"""Steps that cash flows share: whose cash it is, the journal that carries it, and what is told of it.

The legal entity comes from the facts, the better known first: what the document itself names, then the entity of the
payment, invoice, customer or gateway account that it belongs to. Its currency decides only where nothing else does.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from q2c.canonical.billing import Application, Dispute, Payment, Payout, Refund
from q2c.canonical.posting import Journal, PostedDocument
from q2c.core.problems import Awaits
from q2c.flows.steps import codes, dates, first, originals, post, receivables, systems
from q2c.flows.steps.customer import customer_key
from q2c.flows.told import Link, became, record_key
from q2c.posting.facts import Accounts, Book, Policy
from q2c.posting.reversing import LATER
from q2c.transactions.steps import Read, Write

PAYMENT_FLOW = "payment_to_erp"


def payment_key(document: Any) -> str:
    """Our record key of the payment that a refund, dispute or application is about."""
    return f"{document.source.connection}:payment:{document.payment_id}"


def want_payment_book(document: Any, calendar: Any) -> list[tuple[str, Any]]:
    """Policy, and the payment's cross-reference: its entity and ERP are this document's."""
    wants = [*dates.want_policy(), ("xref", ("payment", payment_key(document))), systems.want_rule("payment")]
    if systems.has_several_erps(calendar):
        wants.append(("fact", (PAYMENT_FLOW, document.source.connection, document.payment_id)))
    return wants


def find_payment_book(document: Refund | Dispute, txn: Any, links: Any, mappings: Any, calendar: Any) -> Book:
    """The book that holds the payment which this takes back; waits for the payment. Where we don't carry the payment,
    the one that the rule of its own date names."""
    payment = ("payment", payment_key(document))
    entity = document.legal_entity or links.entity(*payment)
    if not entity:
        raise awaited_payment(document)

    def rule() -> str:
        state = links.state(PAYMENT_FLOW, document.source.connection, document.payment_id)
        if systems.has_several_erps(calendar) and not links.systems(*payment) and state not in ("", "cancelled"):
            raise awaited_payment(document)
        on = dates.own_date(document, entity, calendar)
        return systems.erp_by_rule("payment", document, entity, on, mappings=mappings, links=links)

    chosen = systems.follow([[payment]], entity, rule, links=links, calendar=calendar)
    return dates.take_book(entity, txn, calendar, chosen)


def awaited_payment(document: Any) -> Awaits:
    """The wait for the payment to be in the ERP."""
    key = f"payment:{document.source.connection}:{document.payment_id}"
    return Awaits(key, f"payment {document.payment_id} in the ERP")


def applied_key(document: Application) -> str:
    """Our record key of the payment or credit that an application applies."""
    return f"{document.source.connection}:{document.payment_type}:{document.payment_id}"


def awaited_applied(document: Application) -> Awaits:
    """The wait for the payment or credit to be in the ERP."""
    key = f"{document.kind}:{document.source.connection}:{document.payment_id}"
    return Awaits(key, f"{document.payment_type.replace('_', ' ')} {document.payment_id} in the ERP")


def invoice_key(document: Application) -> str:
    """Our record key of the invoice that an application settles."""
    return f"{document.source.connection}:invoice:{document.invoice_id}"


def awaited_invoice(document: Application) -> Awaits:
    """The wait for the invoice to be in the ERP."""
    key = f"invoice:{document.source.connection}:{document.invoice_id}"
    return Awaits(key, f"invoice {document.invoice_id} in the ERP")


def want_customer_book(document: Payment, calendar: Any) -> list[tuple[str, Any]]:
    """Policy, the customer's cross-reference, the rule by currency for a payment that names no customer, and what
    names its ERP: where the invoices stand that it pays."""
    records = [record for group in _paid(document) for record in group]
    wants = [*dates.want_seller(document), systems.want_rule("invoice")]
    wants += systems.want_erp("payment", document, calendar, records)
    if systems.has_several_erps(calendar):
        connection = document.source.connection
        wants += [("fact", (originals.INVOICE_FLOW, connection, invoice)) for invoice in document.invoice_ids]
    if document.customer_id:
        wants.append(("xref", ("customer", customer_key(document.source.connection, document.customer_id))))
    return wants


def find_customer_book(document: Payment, txn: Any, links: Any, mappings: Any, calendar: Any) -> Book:
    """The book of the invoice that billing says is paid, else the customer's own; waits for the customer. Its ERP is
    that of the invoices that it pays, else by the rule of its own date."""
    if document.legal_entity or not document.customer_id:
        entity = dates.find_seller(document, txn, mappings)
    else:
        key = customer_key(document.source.connection, document.customer_id)
        entity = links.entity("customer", key)
        if not entity:
            raise Awaits(f"customer:{key}", f"customer {document.customer_id} in the ERP")
    ports = {"mappings": mappings, "links": links}

    def rule() -> str:
        for invoice in document.invoice_ids:  # on its way: cash doesn't wait for it, and goes where it will go
            connection = document.source.connection
            named = originals.erp_of_invoice(connection, invoice, entity, calendar=calendar, **ports)
            if named is not None:
                return named
        on = dates.own_date(document, entity, calendar)
        return systems.erp_by_rule("payment", document, entity, on, **ports)

    chosen = systems.follow(_paid(document), entity, rule, links=links, calendar=calendar)
    return dates.take_book(entity, txn, calendar, chosen)


def _paid(document: Payment) -> list[list[systems.Record]]:
    """The payment itself, then the invoices that it pays."""
    invoices = [("invoice", f"{document.source.connection}:invoice:{invoice}") for invoice in document.invoice_ids]
    return [[("payment", record_key(document.source))], invoices]


def want_receipt_accounts(document: Payment, mappings: Any) -> list[tuple[str, Any]]:
    """Account roles, and where the invoices stand that it pays."""
    connection = document.source.connection
    standing = [want for i in document.invoice_ids for want in receivables.want_standing_invoice(connection, i)]
    return [*codes.want_accounts(document, mappings), *standing]


def find_receipt_accounts(
    document: Payment, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy, mappings: Any,
    links: Any,
) -> Accounts:  # fmt: skip
    """Receivables as the first posted invoice has them that it pays, and the gateway's clearing account. Raises Problem
    naming the role."""
    connection = document.source.connection
    paid = (receivables.invoice_stands_on(connection, i, policy, book, links) for i in document.invoice_ids)
    settled = receivables.find_settled(paid, document, book, document_date, policy, mappings, links)
    on = (document_date, posting_date)
    return codes.receipt_accounts(settled, document, book, *on, policy, mappings, links)


RECEIPT_ACCOUNTS = codes.accounts_step(find_receipt_accounts, want_receipt_accounts)


def want_first(document: Refund | Payout) -> list[tuple[str, Any]]:
    """The cross-reference of the movement that a failure undoes."""
    return [("xref", (document.source.object_type, record_key(document.source)))] if document.movement else []


def find_first(document: Refund | Payout, book: Book, by_hand: str | None, links: Any) -> str:
    """The ERP's id of the document that a failure undoes, or wait for it; empty for a first movement, and where people
    booked that by hand."""
    if not document.movement or by_hand:
        return ""
    source = document.source
    found = links.find(source.object_type, record_key(source), book.connection)
    if found is None:
        raise first.awaited_first(document)
    return str(found.external_id)


def completes_first(document: Refund | Payout | Dispute) -> list[str]:
    """The key under which what takes a movement back waits for it; of that one its own, for which a payout waits."""
    key = first.awaited_first(document).key
    return [f"{key}:{document.movement}"] if document.movement in LATER else [key]


FIRST = (
    Read(
        "find_first",
        "Of money that came back, find the document that it undoes, or wait for it",
        find_first,
        gives="undone",
        wants=want_first,
    ),
)


def find_journal(posting: Journal, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("journal", posting.external_id)


def post_journal(posting: Journal, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_journal(posting)


def journal_write(name: str, sentence: str, *, unless: str = "") -> Write:
    """The write of a journal, compared with what the ERP then holds."""
    return Write(
        name,
        sentence,
        find=find_journal,
        create=post_journal,
        equal=post.compare_posted,
        prepared="posting",
        unless=unless,
        port="erp",
        gives="journal",
    )


def movement_key(document: Any) -> str:
    """Our record key of a movement of cash. A second one of an object (a dispute won, a refund or payout that failed)
    is a record of its own."""
    key = record_key(document.source)
    return f"{key}:{document.movement}" if document.movement else key


def tell_movement(
    document: Any, journal: PostedDocument | None, book: Book, *, amount: Decimal, step: str, summary: Any = None
) -> list:
    """Lineage from a movement of cash to its journal, or to its summary."""
    source = document.source
    return became(
        source,
        source.object_type,
        journal,
        book.connection,
        amount=amount,
        currency=document.currency,
        step=step,
        key=movement_key(document),
        summary=summary,
    )


def tell_of_payment(
    document: Refund | Dispute, *, amount: Decimal, relation: str, step: str, currency: str = ""
) -> Link:
    """The hop from the payment to what was taken back of it, in the payment's currency."""
    source = document.source
    return Link(
        source.connection, "payment", document.payment_id, source.connection, source.object_type, source.object_id,
        amount, currency or document.currency, relation, step,
    )  # fmt: skip
