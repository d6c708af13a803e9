"""Subscriptions: created, ended, listed; changes are in amendments, invoices in renewals."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.catalog import build_price
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import build_error, invalid, missing_param
from connectors.stripe.sandbox.lists import list_objects
from connectors.stripe.sandbox.renewals import add_interval, bill

PRICE_DATA = forms.nested(
    {
        "currency": forms.currency,
        "product": forms.text,
        "recurring": forms.nested(
            {"interval": forms.choice("day", "week", "month", "year"), "interval_count": forms.positive},
            required=("interval",),
        ),
        "unit_amount": forms.amount,
        "unit_amount_decimal": forms.decimal,
        "tax_behavior": forms.text,
    },
    required=("currency", "product", "recurring"),
)
ITEM: forms.Spec = {
    "id": forms.text,
    "price": forms.text,
    "price_data": PRICE_DATA,
    "quantity": forms.not_negative,
    "metadata": forms.metadata,
    "tax_rates": forms.many(forms.text),
    "deleted": forms.boolean,
}
COMMON: forms.Spec = {
    "items": forms.many(forms.nested(ITEM)),
    "collection_method": forms.choice("charge_automatically", "send_invoice"),
    "days_until_due": forms.not_negative,
    "default_payment_method": forms.text,
    "default_tax_rates": forms.many(forms.text),
    "description": forms.text,
    "cancel_at": forms.integer,
    "cancel_at_period_end": forms.boolean,
    "proration_behavior": forms.choice("create_prorations", "always_invoice", "none"),
    "payment_behavior": forms.choice(
        "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    ),
    "automatic_tax": forms.nested({"enabled": forms.boolean}),
    "billing_mode": forms.anything,
    "payment_settings": forms.anything,
    "off_session": forms.boolean,
    "trial_end": forms.anything,
    "metadata": forms.metadata,
}
EXTRA_ITEMS = forms.many(
    forms.nested({"price": forms.text, "quantity": forms.positive, "metadata": forms.metadata}, required=("price",))
)
SUBSCRIPTION: forms.Spec = {
    **COMMON,
    "customer": forms.text,
    "currency": forms.currency,
    "billing_cycle_anchor": forms.integer,
    "backdate_start_date": forms.integer,
    "trial_period_days": forms.positive,
    "add_invoice_items": EXTRA_ITEMS,
}
MOST_ITEMS = 20
ENDED = ("canceled", "incomplete_expired")


def build_item(stripe: StripeCore, given: dict[str, Any], subscription: str, param: str) -> dict:
    """A new subscription item with its price inside, without a period yet."""
    if given.get("price"):
        price = stripe.fetch("price", given["price"], param=f"{param}[price]")
    elif given.get("price_data"):
        price = build_price(stripe, given["price_data"])
    else:
        raise missing_param(f"{param}[price]")
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
        )
    if not price["active"]:
        raise invalid(f"The price {price['id']} is inactive.", code="price_inactive", param=f"{param}[price]")
    return {
        "id": make_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": stripe.now,
        "current_period_end": None,
        "current_period_start": None,
        "discounts": [],
        "metadata": given.get("metadata") or {},
        "price": price,
        "quantity": 1 if given.get("quantity") is None else given["quantity"],
        "subscription": subscription,
        "tax_rates": [stripe.fetch("tax_rate", id, param=f"{param}[tax_rates]") for id in given.get("tax_rates") or ()],
    }


def build_subscription(stripe: StripeCore, given: dict[str, Any], *, schedule: str | None = None) -> dict:
    """A new subscription with its first invoice, saved, with its events. Raises Refusal."""
    customer = stripe.fetch("customer", given["customer"], param="customer")
    method = given.get("collection_method") or "charge_automatically"
    if method == "send_invoice" and given.get("days_until_due") is None:
        raise invalid(
            "You must set days_until_due when collection_method is send_invoice.",
            code="parameter_missing",
            param="days_until_due",
        )
    if not given.get("items"):
        raise missing_param("items")
    if len(given["items"]) > MOST_ITEMS:
        raise invalid(f"Subscriptions can have up to {MOST_ITEMS} items.", param="items")
    id, now = make_id("sub"), stripe.now
    items = [build_item(stripe, each, id, f"items[{number}]") for number, each in enumerate(given["items"])]
    if len({item["price"]["currency"] for item in items}) > 1:
        raise invalid("All prices of a subscription must have the same currency.", param="items")
    start = given.get("backdate_start_date") or now
    trial_end = _read_trial(given, now)
    subscription: dict[str, Any] = {
        "id": id,
        "object": "subscription",
        "application": None,
        "automatic_tax": {"enabled": bool((given.get("automatic_tax") or {}).get("enabled"))},
        "billing_cycle_anchor": given.get("billing_cycle_anchor") or trial_end or start,
        "billing_mode": {"type": "flexible"},
        "billing_thresholds": None,
        "cancel_at": given.get("cancel_at"),
        "cancel_at_period_end": bool(given.get("cancel_at_period_end")),
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": method,
        "created": now,
        "currency": items[0]["price"]["currency"],
        "customer": customer["id"],
        "days_until_due": given.get("days_until_due"),
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": given.get("default_tax_rates") or [],
        "description": given.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"issuer": {"type": "self"}},
        "items": {
            "object": "list",
            "data": items,
            "has_more": False,
            "total_count": len(items),
            "url": f"/v1/subscription_items?subscription={id}",
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": forms.merge_metadata({}, given.get("metadata") or {}),
        "next_pending_invoice_item_invoice": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None},
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": schedule,
        "start_date": start,
        "status": "trialing" if trial_end else "active" if method == "send_invoice" else "incomplete",
        "test_clock": None,
        "trial_end": trial_end,
        "trial_start": now if trial_end else None,
    }
    for item in items:
        anchor = subscription["billing_cycle_anchor"]
        item["current_period_start"] = start
        item["current_period_end"] = anchor if anchor > start else add_interval(start, item["price"]["recurring"])
    extra = [
        {"pricing": {"price": each["price"]}, "quantity": each.get("quantity"), "metadata": each.get("metadata")}
        for each in given.get("add_invoice_items") or ()
    ]
    stripe.save(subscription)
    stripe.emit("customer.subscription.created", subscription)
    bill(stripe, subscription, items, reason="subscription_create", extra=extra)
    if given.get("payment_behavior") == "error_if_incomplete" and subscription["status"] == "incomplete":
        raise RuntimeError("the caller checks for error_if_incomplete")
    set_timers(stripe, subscription)
    return subscription


def _read_trial(given: dict[str, Any], now: int) -> int | None:
    if given.get("trial_period_days"):
        return now + given["trial_period_days"] * 86400
    if given.get("trial_end") in (None, "now"):
        return None
    end = forms.integer(given["trial_end"], "trial_end")
    if end is not None and end <= now:
        raise invalid("trial_end must be in the future.", param="trial_end")
    return end


def set_timers(stripe: StripeCore, subscription: dict) -> None:
    """When the sandbox clock next has something to do with it."""
    id = subscription["id"]
    if subscription["status"] in {*ENDED, "paused"}:
        for kind in ("renew", "cancel", "expire"):
            stripe.stop_timer(kind, id)
        return
    if subscription["status"] == "incomplete":
        stripe.set_timer("expire", id, subscription["created"] + 23 * 3600)
        return
    stripe.stop_timer("expire", id)
    stripe.set_timer("renew", id, min(item["current_period_end"] for item in subscription["items"]["data"]))
    if subscription["cancel_at"]:
        stripe.set_timer("cancel", id, subscription["cancel_at"])
    else:
        stripe.stop_timer("cancel", id)


def create_subscription(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscriptions"""
    given = forms.read_params(request.form(), SUBSCRIPTION, required=("customer", "items"))
    if given.get("payment_behavior") == "error_if_incomplete" and given.get("collection_method") != "send_invoice":
        customer = stripe.fetch("customer", given["customer"], param="customer")
        if not (given.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]):
            return build_error(402, "This customer has no attached payment source.", code="resource_missing")
        given.pop("payment_behavior")
    return stripe.answer(request, build_subscription(stripe, given), effect="created")


def end_subscription(stripe: StripeCore, subscription: dict, *, status: str = "canceled") -> None:
    """It's over; fires customer.subscription.deleted."""
    now = stripe.now
    subscription.update(status=status, ended_at=now, canceled_at=subscription["canceled_at"] or now)
    stripe.save(subscription)
    set_timers(stripe, subscription)
    stripe.emit("customer.subscription.deleted", subscription)


def list_subscriptions(stripe: StripeCore, request: Request) -> Answer:
    """GET /subscriptions: canceled ones only with status=all, canceled or ended"""
    given = read_given(request)
    status, price = given.get("status"), given.get("price")
    method = given.get("collection_method")

    def accept(subscription: dict) -> bool:
        if status is None and subscription["status"] in ENDED:
            return False
        if status == "ended" and subscription["status"] not in ENDED:
            return False
        if price and price not in [item["price"]["id"] for item in subscription["items"]["data"]]:
            return False
        return method is None or subscription["collection_method"] == method

    fixed = {} if status in {None, "all", "ended"} else {"status": status}
    ignore = ("status", "price", "collection_method")
    return list_objects(stripe, request, "subscription", filters=("customer",), accept=accept, ignore=ignore, **fixed)


def list_subscription_items(stripe: StripeCore, request: Request) -> Answer:
    """GET /subscription_items?subscription="""
    given = forms.read_params(
        read_given(request), {"subscription": forms.text, "limit": forms.integer}, required=("subscription",)
    )
    subscription = stripe.fetch("subscription", given["subscription"], param="subscription")
    data = subscription["items"]["data"]
    return Answer(200, {"object": "list", "data": data, "has_more": False, "url": request.path})
