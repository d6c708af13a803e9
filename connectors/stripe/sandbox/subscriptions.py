"""Subscriptions: created, changed, canceled; their invoices are in renewals."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.catalog import build_price
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import build_error, invalid, missing_param
from connectors.stripe.sandbox.lists import list_objects
from connectors.stripe.sandbox.renewals import add_interval, bill, prorate

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
SUBSCRIPTION: forms.Spec = {
    **COMMON,
    "customer": forms.text,
    "currency": forms.currency,
    "billing_cycle_anchor": forms.integer,
    "backdate_start_date": forms.integer,
    "trial_period_days": forms.positive,
    "add_invoice_items": forms.many(
        forms.nested({"price": forms.text, "quantity": forms.positive, "metadata": forms.metadata}, required=("price",))
    ),
}
UPDATE: forms.Spec = {
    **COMMON,
    "pause_collection": forms.nested(
        {"behavior": forms.choice("keep_as_draft", "mark_uncollectible", "void"), "resumes_at": forms.integer}
    ),
    "proration_date": forms.integer,
    "billing_cycle_anchor": forms.choice("now", "unchanged"),
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


def update_subscription(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscriptions/{id}; changed quantities and prices are prorated unless told otherwise"""
    subscription = stripe.fetch("subscription", request.params["id"])
    given = forms.read_params(request.form(), UPDATE)
    if subscription["status"] in ENDED and set(given) - {"metadata"}:
        raise invalid(
            "A canceled subscription can only update its metadata.", code="invalid_canceled_subscription_fields"
        )
    change_subscription(stripe, subscription, given)
    return stripe.answer(request, subscription, effect="updated")


def change_subscription(stripe: StripeCore, subscription: dict, given: dict[str, Any]) -> None:
    """Apply an update with its proration and events."""
    given = dict(given)
    items = given.pop("items", None)
    behavior = given.pop("proration_behavior", None) or "create_prorations"
    for name in (
        "payment_behavior",
        "off_session",
        "billing_mode",
        "proration_date",
        "billing_cycle_anchor",
        "payment_settings",
    ):
        given.pop(name, None)
    if "metadata" in given:
        given["metadata"] = forms.merge_metadata(subscription["metadata"], given["metadata"])
    if "automatic_tax" in given:
        given["automatic_tax"] = {"enabled": bool((given["automatic_tax"] or {}).get("enabled"))}
    ends = given.get("cancel_at_period_end")
    if ends is not None:
        given["cancel_at"] = max(i["current_period_end"] for i in subscription["items"]["data"]) if ends else None
        given["canceled_at"] = stripe.now if ends else None
    trial_end = given.pop("trial_end", None)
    if trial_end is not None:
        given["trial_end"] = stripe.now if trial_end == "now" else forms.integer(trial_end, "trial_end")
        for item in subscription["items"]["data"]:
            item["current_period_end"] = given["trial_end"]
    before = {name: subscription.get(name) for name in given}
    if items:
        before["items"] = {"data": [dict(item) for item in subscription["items"]["data"]]}
        change_items(stripe, subscription, items, behavior)
    subscription.update(given)
    stripe.save(subscription)
    previous = {name: value for name, value in before.items() if value != subscription.get(name)}
    if previous:
        stripe.emit("customer.subscription.updated", subscription, previous=previous)
    set_timers(stripe, subscription)


def change_items(stripe: StripeCore, subscription: dict, changes: list[dict], behavior: str) -> None:
    """Add, change and delete items; prorate what was billed already."""
    data = subscription["items"]["data"]
    running = data[0]["current_period_start"], data[0]["current_period_end"]
    for number, each in enumerate(changes):
        param = f"items[{number}]"
        item = next((one for one in data if one["id"] == each.get("id")), None)
        if each.get("id") and item is None:
            raise invalid(f"No such subscription_item: '{each['id']}'", code="resource_missing", param=f"{param}[id]")
        old = dict(item) if item else None
        if each.get("deleted"):
            if item is None:
                raise missing_param(f"{param}[id]")
            data.remove(item)
            item = None
        elif item is None:
            item = build_item(stripe, each, subscription["id"], param)
            item["current_period_start"], item["current_period_end"] = stripe.now, running[1]
            data.append(item)
        else:
            if each.get("price"):
                item["price"] = stripe.fetch("price", each["price"], param=f"{param}[price]")
            if each.get("quantity") is not None:
                item["quantity"] = each["quantity"]
            if "metadata" in each:
                item["metadata"] = forms.merge_metadata(item["metadata"], each["metadata"])
        if behavior != "none" and subscription["status"] in {"active", "past_due"}:
            prorate(stripe, subscription, old, item)
    if not data:
        raise invalid("A subscription must have at least one active item.", param="items")
    subscription["items"]["total_count"] = len(data)
    if behavior == "always_invoice":
        stripe.save(subscription)
        bill(stripe, subscription, [], reason="subscription_update")


def cancel_subscription(stripe: StripeCore, request: Request) -> Answer:
    """DELETE /subscriptions/{id}: at once"""
    subscription = stripe.fetch("subscription", request.params["id"])
    spec = {"invoice_now": forms.boolean, "prorate": forms.boolean, "cancellation_details": forms.anything}
    given = forms.read_params(read_given(request), spec)
    if subscription["status"] in ENDED:
        raise invalid(f"No such subscription: '{subscription['id']}'", code="resource_missing", param="id", status=404)
    if given.get("prorate"):
        for item in subscription["items"]["data"]:
            prorate(stripe, subscription, item, None)
    if given.get("invoice_now"):
        bill(stripe, subscription, [], reason="subscription_update")
    end_subscription(stripe, subscription)
    return stripe.answer(request, subscription, effect="deleted")


def end_subscription(stripe: StripeCore, subscription: dict, *, status: str = "canceled") -> None:
    """It's over; fires customer.subscription.deleted."""
    now = stripe.now
    subscription.update(status=status, ended_at=now, canceled_at=subscription["canceled_at"] or now)
    stripe.save(subscription)
    set_timers(stripe, subscription)
    stripe.emit("customer.subscription.deleted", subscription)


def pause_subscription(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscriptions/{id}/pause"""
    subscription = stripe.fetch("subscription", request.params["id"])
    if subscription["status"] not in {"active", "trialing", "past_due"}:
        raise invalid(f"The subscription is {subscription['status']}.", code="status_transition_invalid", param="id")
    stripe.change(subscription, status="paused")
    set_timers(stripe, subscription)
    stripe.emit("customer.subscription.paused", subscription)
    return stripe.answer(request, subscription, effect="updated")


def resume_subscription(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscriptions/{id}/resume: a new period begins now"""
    subscription = stripe.fetch("subscription", request.params["id"])
    forms.read_params(request.form(), {"billing_cycle_anchor": forms.text, "proration_behavior": forms.text})
    if subscription["status"] != "paused":
        raise invalid("Only paused subscriptions can be resumed.", code="status_transition_invalid", param="id")
    subscription["status"] = "active"
    subscription["billing_cycle_anchor"] = stripe.now
    items = subscription["items"]["data"]
    for item in items:
        item["current_period_start"] = stripe.now
        item["current_period_end"] = add_interval(stripe.now, item["price"]["recurring"])
    stripe.save(subscription)
    stripe.emit("customer.subscription.resumed", subscription)
    bill(stripe, subscription, items, reason="subscription_cycle")
    set_timers(stripe, subscription)
    return stripe.answer(request, subscription, effect="updated")


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
