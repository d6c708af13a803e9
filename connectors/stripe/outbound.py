"""Our documents in Stripe's form fields: nested names as `items[0][price]`. Pure. Amounts leave in minor units."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.families import SubscriptionPlan
from connectors.fields import decimal
from connectors.stripe.days import begin_day
from connectors.stripe.money import check_chargeable, price_to_minor
from q2c.canonical.contract import OrderLine
from q2c.canonical.party import Address, Customer
from q2c.core.terms import add_months

INTERVALS = {"monthly": ("month", 1), "quarterly": ("month", 3), "semiannual": ("month", 6), "annual": ("year", 1)}
MADE_ID = "sku-"  # how the product's id begins that we make of a SKU which can't be one
_OWN_PRODUCT_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LONGEST_HEX = 190
_LONGEST_KEY = 200
Form = list[tuple[str, str]]


def form(values: Mapping[str, Any]) -> Form:
    """Nested dicts and lists as Stripe's form fields; None is left out, booleans are true / false."""
    return [pair for name, value in values.items() for pair in _flat(name, value)]


def _flat(name: str, value: Any) -> Form:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [p for k, v in value.items() for p in _flat(f"{name}[{k}]", v)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [p for i, v in enumerate(value) for p in _flat(f"{name}[{i}]", v)]
    if isinstance(value, bool):
        return [(name, "true" if value else "false")]
    return [(name, str(value))]


def customer(party: Customer, *, external_id: str) -> Form:
    """A customer with our external id and the CRM's id in its metadata, by which it's found again."""
    return form(
        {
            "name": party.name[:256],
            "email": party.email or None,
            "phone": party.phone[:20] or None,
            "address": _address(party.bill_to),
            "metadata": {
                "external_id": external_id,
                "crm_id": (party.crm_id or party.source.object_id)[:500],
                "legal_entity": party.legal_entity or None,
                "number": party.number or None,
            },
        }
    )


def hold_note(fields: Mapping[str, str]) -> Form:
    """Our note on a record: three keys of its metadata (of at most 50, values of at most 500 characters). An empty
    value takes its key away."""
    return form({"metadata": {f"q2c_{name}": value[:500] for name, value in fields.items()}})


def product(line: OrderLine) -> Form:
    """A product whose id is the SKU, so that a second one can't be made and an invoice line leads back to the SKU."""
    return form(
        {"id": product_id(line.sku), "name": (line.description or line.sku)[:250], "metadata": {"sku": line.sku}}
    )


def product_id(sku: str) -> str:
    """The product id that we choose for a SKU; a hash where even its hex is too long."""
    if _OWN_PRODUCT_ID.fullmatch(sku):
        return sku
    said = sku.encode().hex()
    return f"{MADE_ID}{said if len(said) <= _LONGEST_HEX else _hash(sku)}"


def lookup_keys(line: OrderLine, currency: str, *, product: str) -> tuple[str, str]:
    """The price's own key: SKU, currency, frequency and amount; another amount is another price (they can't change).
    And the one that it takes where a price of another product has that: the product too."""
    end = f":{currency}:{line.billing_frequency}:{price_to_minor(line.unit_price, currency)}"
    own = f"{end}:{_hash(product)[:16]}"
    return _lookup_key(line.sku, end), _lookup_key(line.sku, own)


def _lookup_key(sku: str, end: str) -> str:
    """A key whose end, by which prices of a SKU differ, is never cut off."""
    key = f"q2c:{product_id(sku)}{end}"
    return key if len(key) <= _LONGEST_KEY else f"q2c:{MADE_ID}{_hash(sku)}{end}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_price(raw: Mapping[str, Any], line: OrderLine, *, product: str, currency: str) -> bool:
    """Whether a price of Stripe's is what this line was sold for: its product, amount, currency and frequency."""
    every = raw.get("recurring") or {}
    is_plain = every.get("usage_type", "licensed") == "licensed" and not raw.get("transform_quantity")
    interval = (every["interval"], every["interval_count"]) if every else None
    amount = raw.get("unit_amount_decimal")
    return (
        is_plain
        and amount is not None
        and decimal(amount) == decimal(price_to_minor(line.unit_price, currency))
        and str(raw.get("currency")).upper() == currency
        and raw.get("product") == product
        and interval == INTERVALS.get(line.billing_frequency)
    )


def price(line: OrderLine, *, product: str, currency: str, lookup: str) -> Form:
    """A price of a product: per billing period, or once."""
    interval = INTERVALS.get(line.billing_frequency)
    return form(
        {
            "currency": currency.lower(),
            "product": product,
            "unit_amount_decimal": price_to_minor(line.unit_price, currency),
            "lookup_key": lookup,
            "recurring": {"interval": interval[0], "interval_count": interval[1]} if interval else None,
            "metadata": {"sku": line.sku},
        }
    )


def check_plan(plan: SubscriptionPlan) -> None:
    """Before anything is made for it. Raises ValueError for an amount per period that Stripe can't charge."""
    for line in plan.lines:
        check_chargeable(line.quantity * line.unit_price, plan.currency)


def subscription(plan: SubscriptionPlan, prices: Mapping[str, str]) -> Form:
    """A subscription that began today or in the past; `prices` are price ids by line id. The same plan gives the same
    fields at any time, as its idempotency key asks."""
    return form(
        {
            "customer": plan.customer_id,
            "currency": plan.currency.lower(),
            "items": [_item(line, prices) for line in plan.lines if line.billing_frequency in INTERVALS],
            "add_invoice_items": [_item(line, prices) for line in plan.lines if line.billing_frequency not in INTERVALS]
            or None,
            "collection_method": "send_invoice",
            "days_until_due": plan.days_until_due,
            "backdate_start_date": int(starts_at(plan).timestamp()),
            "cancel_at": int(ends_at(plan).timestamp()),
            "proration_behavior": "none",
            "metadata": metadata(plan),
        }
    )


def cancellation(on: dt.date, time_zone: str) -> Form:
    """The end of a subscription when a day begins. Stripe gives back the rest of a running period unless told not to:
    what is given back is a credit memo's matter."""
    return form({"cancel_at": int(begin_day(on, time_zone).timestamp()), "proration_behavior": "none"})


def schedule_end() -> Form:
    """The end of a schedule. Stripe gives back, and bills, the rest of a period that has begun unless told not to."""
    return form({"prorate": False, "invoice_now": False})


def schedule(plan: SubscriptionPlan, prices: Mapping[str, str]) -> Form:
    """A subscription schedule: a subscription that starts in the future and ends with its term."""
    once = [_item(line, prices) for line in plan.lines if line.billing_frequency not in INTERVALS]
    return form(
        {
            "customer": plan.customer_id,
            "start_date": int(starts_at(plan).timestamp()),
            "end_behavior": "cancel",
            "default_settings": {
                "collection_method": "send_invoice",
                "invoice_settings": {"days_until_due": plan.days_until_due},
            },
            "phases": [
                {
                    "items": [_item(line, prices) for line in plan.lines if line.billing_frequency in INTERVALS],
                    "add_invoice_items": once or None,
                    "end_date": int(ends_at(plan).timestamp()),
                    "currency": plan.currency.lower(),
                    "proration_behavior": "none",
                    "metadata": metadata(plan),
                }
            ],
            "metadata": metadata(plan),
        }
    )


def recurs(plan: SubscriptionPlan) -> bool:
    """Whether anything of it recurs: a subscription needs a recurring item, single sales alone are an invoice."""
    return any(line.billing_frequency in INTERVALS for line in plan.lines)


def invoice(plan: SubscriptionPlan) -> Form:
    """The draft of an invoice over single sales."""
    return form(
        {
            "customer": plan.customer_id,
            "currency": plan.currency.lower(),
            "collection_method": "send_invoice",
            "days_until_due": plan.days_until_due,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "metadata": metadata(plan),
        }
    )


def invoice_head(plan: SubscriptionPlan) -> Form:
    """What may be changed of such a draft: its terms and notes."""
    return form({"days_until_due": plan.days_until_due, "metadata": metadata(plan)})


def invoice_item(plan: SubscriptionPlan, line: OrderLine, prices: Mapping[str, str], *, invoice_id: str) -> Form:
    """One single sale on that draft."""
    item = _item(line, prices)
    return form(
        {
            "customer": plan.customer_id,
            "invoice": invoice_id,
            "pricing": {"price": item["price"]},
            "quantity": item["quantity"],
            "description": line.description or line.sku,
            "metadata": item["metadata"],
        }
    )


def _item(line: OrderLine, prices: Mapping[str, str]) -> dict[str, Any]:
    if line.quantity != line.quantity.to_integral_value():
        raise ValueError(f"Stripe bills whole quantities, not {line.quantity} of {line.sku}")
    return {"price": prices[line.line_id], "quantity": int(line.quantity), "metadata": {"sku": line.sku}}


def metadata(plan: SubscriptionPlan) -> dict[str, str]:
    """By what our subscription is known: the order's id and our external id; and the zone in which its days are
    counted."""
    return {
        **plan.metadata,
        "order_id": plan.order_id,
        "external_id": plan.external_id,
        "time_zone": plan.time_zone,
    }


def starts_at(plan: SubscriptionPlan) -> dt.datetime:
    """When the first day of service begins, as Stripe counts days (`days`); in UTC."""
    return begin_day(plan.start_date, plan.time_zone)


def ends_at(plan: SubscriptionPlan) -> dt.datetime:
    """The first instant after the term: where Stripe's own last period ends, to the second."""
    starts = starts_at(plan)
    return starts.combine(add_months(plan.start_date, plan.term_months), starts.timetz())


def _address(address: Address) -> dict[str, str | None] | None:
    if address == Address():
        return None
    return {
        "line1": address.line1 or None,
        "line2": address.line2 or None,
        "city": address.city or None,
        "state": address.state or None,
        "postal_code": address.postal_code or None,
        "country": address.country or None,
    }
