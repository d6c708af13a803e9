"""What happens to a running subscription: other items, other terms, cancelled, paused, resumed."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.renewals import add_interval, bill, prorate
from connectors.stripe.sandbox.subscriptions import COMMON, ENDED, build_item, end_subscription, set_timers

UPDATE: forms.Spec = {
    **COMMON,
    "pause_collection": forms.nested(
        {"behavior": forms.choice("keep_as_draft", "mark_uncollectible", "void"), "resumes_at": forms.integer}
    ),
    "proration_date": forms.integer,
    "billing_cycle_anchor": forms.choice("now", "unchanged"),
}


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
    if ends is None and given.get("cancel_at") and given["cancel_at"] != subscription.get("cancel_at"):
        shorten(stripe, subscription, given["cancel_at"], behavior)
    if items:
        before["items"] = {"data": [dict(item) for item in subscription["items"]["data"]]}
        change_items(stripe, subscription, items, behavior)
    subscription.update(given)
    stripe.save(subscription)
    previous = {name: value for name, value in before.items() if value != subscription.get(name)}
    if previous:
        stripe.emit("customer.subscription.updated", subscription, previous=previous)
    set_timers(stripe, subscription)


def shorten(stripe: StripeCore, subscription: dict, cancel_at: int, behavior: str) -> None:
    """An end within the running period gives its rest back, unless told otherwise."""
    if behavior == "none" or subscription["status"] not in {"active", "past_due"}:
        return
    for item in subscription["items"]["data"]:
        prorate(stripe, subscription, item, None, at=max(cancel_at, stripe.now))
    if behavior == "always_invoice":
        bill(stripe, subscription, [], reason="subscription_update")


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
