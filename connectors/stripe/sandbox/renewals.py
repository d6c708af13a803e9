"""What a subscription bills: its first invoice, renewals by the sandbox clock, prorations."""

import calendar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.stripe.sandbox.billing import collect, finalize
from connectors.stripe.sandbox.core import StripeCore
from connectors.stripe.sandbox.invoices import build_invoice, make_parent, set_lines, take_pending
from connectors.stripe.sandbox.items import build_item
from connectors.stripe.sandbox.lines import compute_line, round_amount

DRAFT_SECONDS = 3600  # an automatic invoice stays a draft for about an hour


def add_interval(moment: int, recurring: dict, *, anchor: int | None = None) -> int:
    """One billing interval later; months and years keep the anchor's day where the month has it."""
    start = datetime.fromtimestamp(moment, UTC)
    count = recurring["interval_count"]
    if recurring["interval"] in {"day", "week"}:
        return int((start + timedelta(days=count * (7 if recurring["interval"] == "week" else 1))).timestamp())
    months = start.month - 1 + count * (12 if recurring["interval"] == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = (datetime.fromtimestamp(anchor, UTC) if anchor is not None else start).day
    day = min(day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def make_line(stripe: StripeCore, subscription: dict, item: dict) -> dict:
    """The line of one item for its current period; free while the trial lasts."""
    price, trial = item["price"], subscription["status"] == "trialing"
    product = stripe.store.get("product", price["product"]) or {}
    interval = price["recurring"]["interval"]
    name = product.get("name") or price["product"]
    shown = Decimal(price["unit_amount_decimal"])
    line = compute_line(
        stripe,
        {
            "quantity": item["quantity"],
            "amount": 0 if trial else round_amount(item["quantity"] * shown),
            "price": price["id"],
            "description": f"Trial period for {name}" if trial else f"{item['quantity']} × {name} (per {interval})",
            "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
            "metadata": subscription["metadata"],
            "tax_rates": [rate["id"] for rate in item["tax_rates"]],
        },
        subscription["currency"],
    )
    line["s"], line["si"] = subscription["id"], item["id"]
    return line


def bill(
    stripe: StripeCore,
    subscription: dict,
    items: list[dict],
    *,
    reason: str,
    extra: list[dict[str, Any]] | None = None,
    at_once: bool = True,
) -> dict | None:
    """The invoice of these items and the pending ones; finalized at once, or by itself an hour later. None if empty."""
    customer = stripe.fetch("customer", subscription["customer"], param="customer")
    given = {
        "collection_method": subscription["collection_method"],
        "days_until_due": subscription["days_until_due"]
        if subscription["collection_method"] == "send_invoice"
        else None,
        "currency": subscription["currency"],
        "default_payment_method": subscription["default_payment_method"],
        "default_tax_rates": subscription["default_tax_rates"],
        "auto_advance": True,
    }
    invoice = build_invoice(stripe, customer, given, reason=reason)
    invoice["parent"] = make_parent(subscription)
    lines = [make_line(stripe, subscription, item) for item in items]
    lines += [compute_line(stripe, each, subscription["currency"]) for each in extra or ()]
    lines += take_pending(stripe, invoice)
    if not lines:
        return None
    if items:
        invoice["period_start"] = min(item["current_period_start"] for item in items)
        invoice["period_end"] = max(item["current_period_end"] for item in items)
    set_lines(stripe, invoice, lines)
    stripe.save(invoice)
    subscription["latest_invoice"] = invoice["id"]
    stripe.save(subscription)
    stripe.emit("invoice.created", invoice)
    if not at_once:
        stripe.set_timer("finalize", invoice["id"], stripe.now + DRAFT_SECONDS)
        return invoice
    finalize(stripe, invoice, stripe.fetch("customer", subscription["customer"]))
    if invoice["status"] == "paid":
        settle_status(stripe, subscription)
    else:
        collect(stripe, invoice)
        subscription.update(stripe.fetch("subscription", subscription["id"]))
    return invoice


def settle_status(stripe: StripeCore, subscription: dict) -> None:
    """Its newest invoice is paid: incomplete and past due become active."""
    if subscription["status"] in {"incomplete", "past_due"}:
        stripe.change(subscription, "customer.subscription.updated", status="active")
        stripe.stop_timer("expire", subscription["id"])
        ends = min(item["current_period_end"] for item in subscription["items"]["data"])
        stripe.set_timer("renew", subscription["id"], ends)


def renew(stripe: StripeCore, subscription: dict) -> None:
    """A period is over: the next begins, with a draft that is finalized an hour later."""
    due = [item for item in subscription["items"]["data"] if item["current_period_end"] <= stripe.now]
    if not due:
        return
    previous: dict[str, Any] = {"items": {"data": [dict(item) for item in subscription["items"]["data"]]}}
    if subscription["status"] == "trialing":
        previous["status"] = "trialing"
        subscription["status"] = "active"
    for item in due:
        item["current_period_start"] = item["current_period_end"]
        item["current_period_end"] = add_interval(
            item["current_period_start"], item["price"]["recurring"], anchor=subscription["billing_cycle_anchor"]
        )
    stripe.save(subscription)
    stripe.emit("customer.subscription.updated", subscription, previous=previous)
    bill(stripe, subscription, due, reason="subscription_cycle", at_once=False)


def prorate(
    stripe: StripeCore, subscription: dict, old: dict | None, new: dict | None, *, at: int | None = None
) -> None:
    """Pending items for the rest of the period, from now or `at` on: the unused time back, the remaining time
    charged."""
    item = new or old
    if item is None or (
        old and new and old["price"]["id"] == new["price"]["id"] and old["quantity"] == new["quantity"]
    ):
        return
    period = old or item
    start, end, now = period["current_period_start"], period["current_period_end"], at or stripe.now
    if old is None:
        start = min(each["current_period_start"] for each in subscription["items"]["data"])
    if not start < end or now >= end:
        return
    left = Decimal(end - now) / Decimal(end - start)
    customer = stripe.fetch("customer", subscription["customer"])
    for each, sign, words in ((old, -1, "Unused time on"), (new, 1, "Remaining time on")):
        if each is None:
            continue
        unit = Decimal(each["price"]["unit_amount_decimal"])
        name = (stripe.store.get("product", each["price"]["product"]) or {}).get("name") or each["price"]["product"]
        pending = build_item(
            stripe,
            customer,
            {
                "amount": sign * round_amount(unit * each["quantity"] * left),
                "quantity": each["quantity"],
                "price": each["price"]["id"],
                "currency": subscription["currency"],
                "description": f"{words} {each['quantity']} × {name}",
                "period": {"start": now, "end": end},
                "tax_rates": [rate["id"] for rate in each["tax_rates"]],
            },
            None,
        )
        pending["proration"] = True
        pending["_line"].update({"s": subscription["id"], "si": each["id"], "pro": True})
        pending["parent"] = {
            "type": "subscription_details",
            "subscription_details": {"subscription": subscription["id"], "subscription_item": each["id"]},
        }
        stripe.save(pending)
