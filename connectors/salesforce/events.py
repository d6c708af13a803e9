"""What a notification or polled record of Salesforce means. It's a hint: the record is always asked for anew. Pure."""

from __future__ import annotations

from typing import Any

from connectors.fields import instant, read_json
from connectors.manifest import Context, Ignored, Means, NotYet
from connectors.salesforce import inbound
from connectors.salesforce.ids import full_id
from q2c.canonical import events
from q2c.canonical.base import Source


def order_closed_won(body: bytes, context: Context) -> list[Any]:
    """An opportunity or order: an order once it's won or activated, nothing before."""
    if context.fetched is None:
        return []
    return [events.OrderClosedWon(occurred_at=_occurred_at(body, context), order=context.fetched)]


def customer_changed(body: bytes, context: Context) -> list[Any]:
    """An account. None: it was deleted meanwhile."""
    if context.fetched is None:
        return []
    return [events.CustomerChanged(occurred_at=_occurred_at(body, context), customer=context.fetched)]


def customers_merged(body: bytes, context: Context) -> list[Any]:
    """An account that was merged into another, which is read anew. None: that one was deleted meanwhile too."""
    if context.fetched is None:
        return []
    gone = Source(connection=context.connection, object_type="Account", object_id=full_id(str(read_json(body)["Id"])))
    return [events.CustomerMerged(occurred_at=_occurred_at(body, context), customer=context.fetched, merged=gone)]


def product_changed(body: bytes, context: Context) -> list[Any]:
    """A product, as polled."""
    product = inbound.product(read_json(body), connection=context.connection)
    return [events.ProductChanged(occurred_at=_occurred_at(body, context), product=product)]


def price_changed(body: bytes, context: Context) -> list[Any]:
    """An entry of a price book, as polled. One of a product without a code prices nothing that could be sold."""
    price = inbound.price(read_json(body), connection=context.connection, settings=context.settings)
    return [events.PriceChanged(occurred_at=_occurred_at(body, context), price=price)] if price.sku else []


def _occurred_at(body: bytes, context: Context) -> Any:
    """When it changed: a polled record says so. A notification doesn't, and carries the state of its sending."""
    if body[:1] == b"{" and (stamp := read_json(body).get("SystemModstamp")):
        return instant(stamp)
    return context.received_at


_QUOTE = NotYet(
    "an amendment comes with its own opportunity; a first sale's quote is read with its opportunity or order"
)
EVENTS: dict[str, Means | Ignored | NotYet] = {
    "Opportunity": Means(order_closed_won, refetch="closed_won_order"),
    "Order": Means(order_closed_won, refetch="activated_order"),
    "Account": Means(customer_changed, refetch="account"),
    "MergedAccount": Means(customers_merged, refetch="surviving_account"),
    "Product2": Means(product_changed),
    "Contact": Ignored("people of a customer aren't part of any posting"),
    "OpportunityLineItem": Ignored("lines are read with their opportunity"),
    "OrderItem": Ignored("products are read with their order, and can't change once it's activated"),
    "Pricebook2": Ignored("a price book is its entries"),
    "PricebookEntry": Means(price_changed),
    "Quote": _QUOTE,
    "QuoteLineItem": _QUOTE,
    "SBQQ__Quote__c": _QUOTE,
    "SBQQ__QuoteLine__c": _QUOTE,
    "SBQQ__Subscription__c": _QUOTE,
    "Contract": _QUOTE,
}
