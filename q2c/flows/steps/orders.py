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
    if document.quote_status and document.quote_status not in ("Approved", "Accepted", "Presented", "Draft"):
        missing.append(f"an approved quote (it is {document.quote_status})")
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


def check_account(account: Customer, document: Order) -> str:
    """A billing address with a country: tax and the selling entity rest on it.

    Raises Problem `customer_without_address`.
    """
    if not account.bill_to.country:
        raise Problem(
            "customer_without_address",
            Category.VALIDATION,
            f"{account.name} has no billing country in the CRM",
            connection=document.source.connection,
            account=document.customer_id,
        )
    return "can be billed"


def check_price(document: Order, txn: Any) -> str:
    """No price below zero, and nothing given away that the price book prices, unless two people agreed to it.

    Raises Problem `negative_price` or `price_differs`.
    """
    for line in document.lines:
        if line.unit_price < 0:
            raise Problem(
                "negative_price",
                Category.VALIDATION,
                f"{document.number} sells {line.sku} at {document.currency} {line.unit_price}",
                number=document.number,
                sku=line.sku,
            )
        is_gift = line.list_price is not None and line.list_price > 0 and line.unit_price == 0
        if is_gift:
            differs = Problem(
                "price_differs",
                Category.VALIDATION,
                f"{document.number} gives {line.sku} away; the price book says {document.currency} {line.list_price}",
                number=document.number,
                sku=line.sku,
                connection=document.source.connection,
            )
            if not txn.accepts(differs):
                raise differs
    return "as the price book says"


def with_seller(account: Customer, book: Book, document: Order) -> Customer:
    """The account as billing will know it: the order's currency, the seller, and the CRM's own id."""
    return msgspec.structs.replace(
        account, currency=document.currency, legal_entity=book.code, crm_id=account_key(document)
    )


def days_until_due(document: Order) -> int:
    """Days of the payment terms ("Net 30"); 30 where they don't say."""
    digits = "".join(c for c in document.payment_terms if c.isdigit())
    return int(digits) if digits else 30
