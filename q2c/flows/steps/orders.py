"""Steps of an order before anything is made: complete, sold by somebody, to somebody who can be billed, at a price
that the price book knows."""

from __future__ import annotations

from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.base import Document, Source
from q2c.canonical.contract import Order
from q2c.canonical.party import Customer
from q2c.core.problems import Awaits, Category, Problem
from q2c.posting.facts import Book

APPROVED = ("Approved", "Accepted")  # a quote that is being drafted, reviewed or shown to the customer isn't sold
PERIOD_MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "annual": 12}


class BillingCustomer(Document, frozen=True):
    """A customer to be made in billing, under our external id."""

    external_id: str
    customer: Customer


def account_source(document: Order) -> Source:
    """The CRM's account of an order. An order of our API names it by its record key."""
    if document.customer_id.count(":") == 2:
        connection, object_type, object_id = document.customer_id.split(":")
        return Source(connection=connection, object_type=object_type, object_id=object_id)
    return Source(connection=document.source.connection, object_type="Account", object_id=document.customer_id)


def account_key(document: Order) -> str:
    """Our record key of the CRM's account."""
    source = account_source(document)
    return f"{source.connection}:{source.object_type}:{source.object_id}"


def check_order(document: Order) -> str:
    """Lines, quantities, term and an approved quote. Raises Problem `order_incomplete` naming what is missing."""
    missing = []
    if not document.lines:
        missing.append("products")
    if not document.customer_id:
        missing.append("an account")
    if document.term_months < 1:
        missing.append("a term")
    if document.quote_status and document.quote_status not in APPROVED:
        missing.append(f"an approved quote (it is {document.quote_status})")
    months = {PERIOD_MONTHS.get(line.billing_frequency, 1) for line in document.lines}
    missing += [f"a term of whole periods of {n} months (it is {document.term_months})" for n in sorted(months)
                if document.term_months % n][:1]  # fmt: skip
    missing += [f"a quantity of {line.sku}" for line in document.lines if line.quantity <= 0]
    missing += ["a SKU on every product" for line in document.lines if not line.sku][:1]
    if missing:
        raise Problem(
            "order_incomplete",
            Category.VALIDATION,
            f"{document.number} was won without {', '.join(missing)}",
            connection=document.source.connection,
            order=document.source.object_id,
            missing=", ".join(missing),
        )
    return "complete"


def want_book(document: Order) -> list[tuple[str, Any]]:
    """The seller by currency where the order doesn't name one."""
    return [] if document.legal_entity else [("rule", ("selling_entity", document.currency))]


def find_book(document: Order, txn: Any, mappings: Any, calendar: Any) -> Book:
    """The legal entity that sells: named on the order, else by the rule for its currency."""
    code = document.legal_entity
    if not code:
        scope = {"on": document.start_date, "connection": document.source.connection}
        code = mappings.resolve("selling_entity", document.currency, **scope).value
    book = calendar.book(code)
    txn.legal_entity_code = book.code
    return book


def want_account(document: Order) -> list[tuple[str, Any]]:
    """The account's golden record."""
    return [("golden", ("customer", account_key(document)))]


def match_account(document: Order, links: Any) -> Customer:
    """The account as agreed; waits until the CRM has told us of it."""
    content = links.golden("customer", account_key(document))
    if content is None:
        raise Awaits(
            f"record:{account_key(document)}", f"account {document.customer_id} from the CRM", patience_seconds=86400
        )
    fields = set(Customer.__struct_fields__)
    plain = {name: value for name, value in content.items() if name in fields}
    plain.setdefault("source", schema.to_builtins(account_source(document)))
    return msgspec.convert(plain, Customer, strict=False)


def want_parents(document: Order) -> list[tuple[str, Any]]:
    """The accounts above the buyer."""
    return [("parents", account_key(document))]


def check_account(account: Customer, document: Order, links: Any) -> str:
    """A billing address with a country: tax and the selling entity rest on it; and parents that lead to a top.

    Raises Problem `customer_without_address` or `account_hierarchy`.
    """
    if not account.bill_to.country:
        raise Problem(
            "customer_without_address",
            Category.VALIDATION,
            f"{account.name} has no billing country in the CRM",
            connection=document.source.connection,
            account=document.customer_id,
        )
    if links.is_ring(account_key(document)):
        raise Problem(
            "account_hierarchy",
            Category.VALIDATION,
            f"The accounts above {account.name} go round in a ring",
            connection=document.source.connection,
            account=document.customer_id,
        )
    return "can be billed"


def with_seller(account: Customer, book: Book, document: Order) -> Customer:
    """The account as billing will know it: the order's currency, the seller, and the CRM's own id."""
    return msgspec.structs.replace(
        account, currency=document.currency, legal_entity=book.code, crm_id=account_key(document)
    )


def days_until_due(document: Order) -> int:
    """Days of the payment terms ("Net 30"); 30 where they don't say."""
    digits = "".join(c for c in document.payment_terms if c.isdigit())
    return int(digits) if digits else 30
