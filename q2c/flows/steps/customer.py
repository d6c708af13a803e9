"""The step that finds the customer a document belongs to; only customer_to_erp makes one."""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.core.problems import Awaits, Category, Problem
from q2c.posting.facts import Book
from q2c.transactions.steps import Read


def customer_key(connection: str, customer_id: str) -> str:
    """Our record key of a billing customer."""
    return f"{connection}:customer:{customer_id}"


def want_customer(document: Any) -> list[tuple[str, Any]]:
    """The customer's cross-reference, and the rule for one that the source can't name."""
    wants: list[tuple[str, Any]] = [
        ("xref", ("customer", customer_key(document.source.connection, document.customer_id)))
    ]
    if not getattr(document, "is_customer_known", True):
        wants.append(("rule", ("customer", document.customer_name)))
    return wants


def find_customer(document: Any, book: Book, document_date: dt.date, links: Any, mappings: Any) -> str:
    """The ERP's id of the bill-to. Waits for the customer's own flow.

    Raises Problem `customer_unidentified` when the source itself doesn't know who bought and nobody has mapped it.
    """
    if not getattr(document, "is_customer_known", True):
        return mappings.resolve(
            "customer", document.customer_name, legal_entity=book.code, connection=book.connection, on=document_date
        ).value
    if not document.customer_id:
        raise Problem(
            "customer_unidentified",
            Category.MAPPING,
            f"The source doesn't say whose {document.source.object_type.replace('_', ' ')}"
            f" {getattr(document, 'number', '') or document.source.object_id} is",
            kind="customer",
            key=document.source.object_id,
            connection=book.connection,
            legal_entity=book.code,
        )
    key = customer_key(document.source.connection, document.customer_id)
    found = links.find("customer", key, book.connection)
    if found is None:
        raise Awaits(f"customer:{key}", f"customer {document.customer_id} in the ERP")
    return found.external_id


CUSTOMER = (
    Read(
        "find_customer",
        "Find the ERP customer of the bill-to, or wait for it",
        find_customer,
        gives="erp_customer",
        wants=want_customer,
    ),
)
