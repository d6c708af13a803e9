"""Services that the demo's company sells beside its subscriptions: taxed invoices, some credited with their tax.

An invoice's keys are the tick's number: repeated, nothing happens twice.
"""

from __future__ import annotations

import random
from typing import Any

from q2c.demo.company import list_prices
from q2c.demo.deals import ONLY_AT_HOME, SINGLE, list_rare_skus
from q2c.demo.taxes import CHARGED, make_tax_rates

SOME = 50
BILL_EVERY, CREDIT_EVERY = 3, 12


def bill_service(door: Any, number: int) -> str:
    """Every third tick: a customer of a taxing entity is billed for a single service."""
    if number % BILL_EVERY:
        return ""
    page = door.call_stripe("GET", "/v1/subscriptions", {"limit": SOME})["data"]
    buyers = [each for each in page if each["metadata"].get("legal_entity") in CHARGED]
    if not buyers:
        return ""
    buyer = buyers[number % len(buyers)]
    entity, currency = buyer["metadata"]["legal_entity"], buyer["items"]["data"][0]["price"]["currency"]
    item = build_item(number, currency, [make_tax_rates(door)[code] for code in CHARGED[entity]])
    if not item:
        return ""
    customer = {"customer": buyer["customer"], "currency": currency}
    door.call_stripe("POST", "/v1/invoiceitems", customer | item, key=f"demo-service-item-{number}")
    terms = {"collection_method": "send_invoice", "days_until_due": 30, "pending_invoice_items_behavior": "include",
             "metadata[legal_entity]": entity, "metadata[service]": str(number)}  # fmt: skip
    invoice = door.call_stripe("POST", "/v1/invoices", customer | terms, key=f"demo-service-{number}")
    sent = door.call_stripe("POST", f"/v1/invoices/{invoice['id']}/finalize", {}, key=f"demo-service-sent-{number}")
    return f"service invoice {sent['number']} sent with tax"


def build_item(number: int, currency: str, rates: list[str]) -> dict[str, Any]:
    """The n-th service: one of the catalogue's single sales at list price; empty where the currency has none."""
    unusual = ONLY_AT_HOME | set(list_rare_skus())
    offered = [
        price
        for price in list_prices()
        if price.currency == currency.upper()
        and price.kind == SINGLE
        and price.unit_price > 0
        and price.sku not in unusual
    ]
    if not offered:
        return {}
    price = random.Random(f"service {number}").choice(offered)
    amount = price.unit_price if currency == "jpy" else price.unit_price * 100
    return {"amount": int(amount), "description": price.name, "metadata[sku]": price.sku, "tax_rates[]": rates}


def credit_service(door: Any, number: int) -> str:
    """Now and then: a tenth of an open service invoice is credited, with its tax."""
    if number % CREDIT_EVERY:
        return ""
    page = door.call_stripe("GET", "/v1/invoices", {"limit": SOME, "status": "open"})["data"]
    waiting = [each for each in page if each["metadata"].get("service") and not each["pre_payment_credit_notes_amount"]]
    if not waiting:
        return ""
    invoice = waiting[number % len(waiting)]
    line = invoice["lines"]["data"][0]
    form = {
        "invoice": invoice["id"],
        "reason": "order_change",
        "lines[0][type]": "invoice_line_item",
        "lines[0][invoice_line_item]": line["id"],
        "lines[0][amount]": line["amount"] // 10,
    }
    door.call_stripe("POST", "/v1/credit_notes", form, key=f"demo-service-credit-{number}")
    return f"service invoice {invoice['number']} credited by a tenth"
