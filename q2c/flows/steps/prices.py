"""Is an order sold in a currency and at prices that the price book knows; what it doesn't know takes two people."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from q2c.canonical.contract import Order, OrderLine
from q2c.core.money import decimals
from q2c.core.problems import Category, Problem
from q2c.flows.api_orders import API_ORDER_PREFIX
from q2c.posting.facts import Book

TOLERANCE = "20"  # percent of the list price, where no policy says another
_FIELD = "price_tolerance"


def want_prices(document: Order) -> list[tuple[str, Any]]:
    """The price book's entries of every SKU, and the tolerance by policy."""
    return [("rule", ("posting_policy", _FIELD)), *(("price", line.sku) for line in document.lines)]


def check_price(document: Order, book: Book, mappings: Any, links: Any, txn: Any) -> str:
    """Each line against the price book, by the entity's tolerance, unless two people agreed to what it says.

    Raises Problem `negative_price` or `price_differs`.
    """
    said = mappings.get("posting_policy", _FIELD, TOLERANCE, legal_entity=book.code, on=document.start_date)
    for line in document.lines:
        if line.unit_price < 0:
            raise Problem(
                "negative_price",
                Category.VALIDATION,
                f"{document.number} sells {line.sku} at {document.currency} {line.unit_price}",
                number=document.number,
                sku=line.sku,
            )
        fault = find_fault(document, line, links.prices(line.sku), tolerance=Decimal(said) / 100)
        if not fault:
            continue
        differs = Problem(
            "price_differs",
            Category.VALIDATION,
            f"{document.number} {fault}",
            number=document.number,
            sku=line.sku,
            currency=document.currency,
            price=line.unit_price,
            connection=document.source.connection,
            evidence={"listed": " or ".join(_price(p, document.currency) for p in _sold_at(document, line, links))},
        )
        if not txn.accepts(differs):
            raise differs
    return "as the price book says"


def find_fault(document: Order, line: OrderLine, entries: list[dict[str, Any]], *, tolerance: Decimal) -> str:
    """What the price book says against a line, in words; empty when it agrees, or doesn't price what an API sells.

    Entries of the line's own billing period count before others, and any one of them is enough.
    """
    sold = [entry for entry in entries if entry.get("is_active", True)]
    priced = list(_list_prices(document, line, sold))
    money = f"{document.currency} {_price(line.unit_price, document.currency)}"
    if sold and not priced:
        known = ", ".join(sorted({str(entry["currency"]) for entry in sold}))
        return f"sells {line.sku} in {document.currency}, which the price book doesn't offer (it says {known})"
    if not priced and line.list_price is not None:
        priced = [line.list_price]
    if not priced:
        return "" if _is_of_api(document) else f"sells {line.sku} at {money}, and no price book knows it"
    if any(abs(line.unit_price - price) <= price * tolerance for price in priced):
        return ""
    told = " or ".join(_price(price, document.currency) for price in priced)
    if line.unit_price == 0:
        return f"gives {line.sku} away; the price book says {document.currency} {told}"
    return f"sells {line.sku} at {money}; the price book says {told}"


def _price(price: Decimal, currency: str) -> str:
    """With the currency's decimals, or more where a price has more: "1,350.60", "0.0042"."""
    exponent = price.normalize().as_tuple().exponent
    places = max(decimals(currency), -exponent if isinstance(exponent, int) else 0)
    return f"{price:,.{places}f}"


def _list_prices(document: Order, line: OrderLine, entries: list[dict[str, Any]]) -> Iterator[Decimal]:
    same = [entry for entry in entries if entry["currency"] == document.currency]
    rhythm = [entry for entry in same if entry.get("billing_frequency") == line.billing_frequency]
    yield from sorted({Decimal(str(entry["unit_price"])) for entry in rhythm or same})


def _sold_at(document: Order, line: OrderLine, links: Any) -> list[Decimal]:
    """What the price book says that this line costs, or else its quote."""
    sold = [entry for entry in links.prices(line.sku) if entry.get("is_active", True)]
    return list(_list_prices(document, line, sold)) or [p for p in (line.list_price,) if p is not None and not sold]


def _is_of_api(document: Order) -> bool:
    return document.source.object_id.startswith(API_ORDER_PREFIX)
