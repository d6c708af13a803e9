"""Customer use to ERP: an entity may bill a customer in a currency that its ERP record didn't allow yet.

Starts on   a document that needs a further currency or subsidiary of its customer (ours)
Ends with   the subsidiary and the currency allowed on the ERP's customer; the documents that waited for it go on
Posts       nothing: master data
Owners      billing operations
Never       takes a currency or subsidiary away, nor changes the customer's first ones
"""

from __future__ import annotations

from typing import Any

from q2c.canonical.party import CustomerUse
from q2c.canonical.posting import ErpCustomerUse, PostedDocument
from q2c.core.ids import external_id
from q2c.flows.steps import customer
from q2c.posting.facts import Book
from q2c.transactions.steps import Flow, Read, Write


def find_book(document: CustomerUse, txn: Any, calendar: Any) -> Book:
    """The book of the entity that bills."""
    book = calendar.book(document.legal_entity, document.erp)
    txn.legal_entity_code, txn.target_connection = book.code, book.connection
    return book


def want_currency(document: CustomerUse) -> list[tuple[str, Any]]:
    """The ERP's currency."""
    return [("rule", ("currency", document.currency))]


def build_use(document: CustomerUse, book: Book, txn: Any, mappings: Any) -> ErpCustomerUse:
    """Who is to be billed by which subsidiary in which currency, in the ERP's ids. Raises Problem naming the
    currency."""
    currency = mappings.resolve("currency", document.currency, connection=book.connection, on=txn.created_at.date())
    return ErpCustomerUse(
        external_id=external_id("use", source=book.connection, object_id=f"{document.erp_customer}-{book.erp_id}"),
        customer=document.erp_customer,
        subsidiary=book.erp_id,
        currency=currency.value,
        currency_code=document.currency,
    )


def find_use(posting: ErpCustomerUse, erp: Any) -> PostedDocument:
    """Look whether the ERP allows it already."""
    return erp.find_customer_use(posting)


def save_use(posting: ErpCustomerUse, erp: Any) -> PostedDocument:
    """Add what is missing: the ERP is asked first, so a repeat is harmless."""
    return erp.save_customer_use(posting)


def tell(document: CustomerUse, book: Book) -> list:
    """That documents needn't ask again."""
    return [customer.use_reference(book, document.erp_customer, document.currency)]


def completes(document: CustomerUse, book: Book) -> list[str]:
    """Documents that wait for this currency and subsidiary go on."""
    return [f"customer_use:{customer.use_key(book, document.erp_customer, document.currency)}"]


CUSTOMER_USE_TO_ERP = Flow(
    code="customer_use_to_erp",
    title="Customer use to ERP",
    starts_with=("document",),
    fact_type=CustomerUse,
    owner="billing_ops",
    lane_type="customer",
    steps=(
        Read("find_book", "Find the book of the entity that bills", find_book, gives="book"),
        Read("build_use", "Find the ERP's currency", build_use, gives="posting", wants=want_currency),
        Write(
            "save_use",
            "Let the subsidiary bill the customer in this currency",
            find=find_use,
            create=save_use,
            upsert=True,
            prepared="posting",
            port="erp",
            gives="erp_use",
        ),
    ),
    links=tell,
    completes=completes,
)
