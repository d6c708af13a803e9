"""The steps that find the customer a document belongs to, billable by its entity in its currency. Only customer_to_erp
makes one, only customer_use_to_erp adds a subsidiary or currency."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.party import CustomerUse, CustomerWanted
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import asked, systems
from q2c.flows.told import Reference
from q2c.posting.facts import Book
from q2c.transactions.steps import Read


def customer_key(connection: str, customer_id: str) -> str:
    """Our record key of a billing customer."""
    return f"{connection}:customer:{customer_id}"


def want_customer(document: Any, calendar: Any) -> list[tuple[str, Any]]:
    """The customer's cross-reference, and the rule for one that the source can't name; where there are several ERPs
    also the customer as billing told it."""
    wants: list[tuple[str, Any]] = [
        ("xref", ("customer", customer_key(document.source.connection, document.customer_id)))
    ]
    if not getattr(document, "is_customer_known", True):
        wants.append(("rule", ("customer", document.customer_name)))
    if document.customer_id and systems.has_several_erps(calendar):
        wants.append(("fact", (systems.CUSTOMER_FLOW, document.source.connection, document.customer_id)))
    return wants


def find_customer(document: Any, book: Book, document_date: dt.date, links: Any, mappings: Any) -> str:
    """The ERP's id of the bill-to. Waits for the customer's own flow; one that stands in another ERP only is asked for
    in this one.

    Raises Problem `customer_unidentified` when the source itself doesn't know who bought and nobody has mapped it.
    """
    if not getattr(document, "is_customer_known", True):
        return mappings.resolve(
            "customer", document.customer_name, legal_entity=book.code, connection=book.connection, on=document_date,
            document=asked.facts_of(document, mappings, links, "customer"),
        ).value  # fmt: skip
    if not document.customer_id:
        noun, number = document.source.object_type.replace("_", " "), getattr(document, "number", "")
        raise Problem(
            "customer_unidentified",
            Category.MAPPING,
            f"The source doesn't say whose {noun} {number} is"
            if number
            else f"The source doesn't say whose {noun} it is",
            kind="customer",
            key=document.source.object_id,
            connection=book.connection,
            legal_entity=book.code,
        )
    key = customer_key(document.source.connection, document.customer_id)
    found = links.find("customer", key, book.connection)
    if found is None:
        wanted = _wanted(document, book, links) if links.systems("customer", key) else None
        raise Awaits(f"customer:{key}", f"customer {document.customer_id} in the ERP", needs=wanted)
    return found.external_id


def _wanted(document: Any, book: Book, links: Any) -> CustomerWanted | None:
    """The customer as billing last told it, for this ERP."""
    fact = links.fact(systems.CUSTOMER_FLOW, document.source.connection, document.customer_id)
    if fact is None:
        return None
    return msgspec.structs.replace(schema.from_json(fact, CustomerWanted), erp=book.connection, legal_entity=book.code)


def use_key(book: Book, erp_customer: str, currency: str) -> str:
    """Our record key of an entity billing an ERP's customer in a currency."""
    return f"{book.connection}:customer:{erp_customer}:{book.code}:{currency}"


def use_reference(book: Book, erp_customer: str, currency: str) -> Reference:
    """That the ERP allows this use of its customer."""
    key = use_key(book, erp_customer, currency)
    return Reference("customer_use", key, book.connection, "customer_use", f"{erp_customer}:{book.erp_id}:{currency}")


def want_use(document: Any, book: Book, erp_customer: str) -> list[tuple[str, Any]]:
    """Whether the ERP is known to allow it."""
    return [("xref", ("customer_use", use_key(book, erp_customer, document.currency)))]


def check_use(document: Any, book: Book, erp_customer: str, links: Any) -> str:
    """The subsidiary may bill the customer in the document's currency; waits for the flow that sees to it."""
    key = use_key(book, erp_customer, document.currency)
    if links.find("customer_use", key, book.connection) is None:
        source = document.source
        use = CustomerUse(
            source=Source(
                connection=source.connection, object_type="customer", object_id=document.customer_id or erp_customer
            ),
            legal_entity=book.code,
            currency=document.currency,
            erp_customer=erp_customer,
            erp=book.connection,
        )
        raise Awaits(f"customer_use:{key}", f"{book.code} to bill the customer in {document.currency}", needs=use)
    return key


CUSTOMER = (
    Read(
        "find_customer",
        "Find the ERP customer of the bill-to, or wait for it",
        find_customer,
        gives="erp_customer",
        wants=want_customer,
    ),
    Read(
        "check_use",
        "Check that the ERP lets the entity bill it in this currency, or wait for it",
        check_use,
        gives="customer_use",
        wants=want_use,
    ),
)
