"""Subscription schedules: a subscription that starts later, and phases that follow each other (ramp deals)."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.amendments import change_subscription
from connectors.stripe.sandbox.core import StripeCore, make_id
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.items import build_item
from connectors.stripe.sandbox.renewals import add_interval, bill, prorate
from connectors.stripe.sandbox.subscriptions import (
    ENDED,
    EXTRA_ITEMS,
    PRICE_DATA,
    build_subscription,
    end_subscription,
)

SETTINGS = forms.nested(
    {
        "collection_method": forms.choice("charge_automatically", "send_invoice"),
        "invoice_settings": forms.nested({"days_until_due": forms.not_negative}),
        "default_payment_method": forms.text,
        "description": forms.text,
    }
)
PHASE: forms.Spec = {
    "items": forms.many(
        forms.nested(
            {
                "price": forms.text,
                "price_data": PRICE_DATA,
                "quantity": forms.not_negative,
                "metadata": forms.metadata,
                "tax_rates": forms.many(forms.text),
            }
        )
    ),
    "add_invoice_items": EXTRA_ITEMS,
    "start_date": forms.anything,
    "end_date": forms.anything,
    "duration": forms.nested(
        {"interval": forms.choice("day", "week", "month", "year"), "interval_count": forms.positive},
        required=("interval",),
    ),
    "iterations": forms.positive,
    "collection_method": forms.choice("charge_automatically", "send_invoice"),
    "invoice_settings": forms.nested({"days_until_due": forms.not_negative}),
    "default_payment_method": forms.text,
    "default_tax_rates": forms.many(forms.text),
    "currency": forms.currency,
    "description": forms.text,
    "metadata": forms.metadata,
    "proration_behavior": forms.choice("create_prorations", "always_invoice", "none"),
}
SCHEDULE: forms.Spec = {
    "customer": forms.text,
    "start_date": forms.anything,
    "end_behavior": forms.choice("release", "cancel", "none", "renew"),
    "from_subscription": forms.text,
    "phases": forms.many(forms.nested(PHASE, required=("items",))),
    "default_settings": SETTINGS,
    "billing_mode": forms.anything,
    "metadata": forms.metadata,
}


def build_phases(stripe: StripeCore, given: list[dict[str, Any]], start: int) -> list[dict]:
    """Phases with their dates, each beginning where the one before ends."""
    phases = []
    for number, each in enumerate(given):
        param = f"phases[{number}]"
        if not each.get("items"):
            raise missing_param(f"{param}[items]")
        for place, item in enumerate(each["items"]):
            if not item.get("price") and not item.get("price_data"):
                raise missing_param(f"{param}[items][{place}][price]")
            if item.get("price"):
                stripe.fetch("price", item["price"], param=f"{param}[items][{place}][price]")
        recurring = each.get("duration")
        if each.get("end_date"):
            end = forms.integer(each["end_date"], f"{param}[end_date]") or start
        else:
            count = 1
            if recurring is None:
                price = stripe.fetch("price", each["items"][0].get("price"), param=f"{param}[end_date]")
                recurring, count = price["recurring"], each.get("iterations") or 1
            end = start
            for _ in range(count):
                end = add_interval(end, {"interval_count": 1, **recurring}, anchor=start)
        if end <= start:
            raise invalid("A phase must end after it starts.", param=f"{param}[end_date]")
        phases.append(
            {
                "add_invoice_items": each.get("add_invoice_items") or [],
                "billing_cycle_anchor": None,
                "collection_method": each.get("collection_method"),
                "currency": each.get("currency"),
                "default_payment_method": each.get("default_payment_method"),
                "default_tax_rates": each.get("default_tax_rates") or [],
                "description": each.get("description"),
                "discounts": [],
                "end_date": end,
                "invoice_settings": each.get("invoice_settings"),
                "items": [
                    {"metadata": {}, "quantity": 1, "tax_rates": [], **{k: v for k, v in item.items() if v is not None}}
                    for item in each["items"]
                ],
                "metadata": each.get("metadata") or {},
                "proration_behavior": each.get("proration_behavior") or "create_prorations",
                "start_date": start,
                "trial_end": None,
            }
        )
        start = end
    return phases


def create_schedule(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscription_schedules"""
    given = forms.read_params(request.form(), SCHEDULE)
    return stripe.answer(request, build_schedule(stripe, given), effect="created")


def build_schedule(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new schedule, saved, with its events; one whose start has come begins at once."""
    subscription = None
    if given.get("from_subscription"):
        if set(given) - {"from_subscription", "billing_mode"}:
            raise invalid("from_subscription can't be combined with other parameters.", code="parameters_exclusive")
        subscription = stripe.fetch("subscription", given["from_subscription"], param="from_subscription")
        if subscription["schedule"]:
            raise invalid("The subscription is already attached to a schedule.", param="from_subscription")
        given = {"customer": subscription["customer"], "phases": [_phase_of(subscription)]}
        start = subscription["items"]["data"][0]["current_period_start"]
    else:
        if not given.get("customer"):
            raise missing_param("customer")
        if not given.get("phases"):
            raise missing_param("phases")
        stripe.fetch("customer", given["customer"], param="customer")
        wanted = given.get("start_date") or given["phases"][0].get("start_date")
        start = stripe.now if wanted in (None, "now") else forms.integer(wanted, "start_date") or stripe.now
    settings = given.get("default_settings") or {}
    schedule: dict[str, Any] = {
        "id": make_id("sub_sched"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {"type": "flexible"},
        "canceled_at": None,
        "completed_at": None,
        "created": stripe.now,
        "current_phase": None,
        "customer": given["customer"],
        "default_settings": {
            "collection_method": settings.get("collection_method") or "charge_automatically",
            "default_payment_method": settings.get("default_payment_method"),
            "description": settings.get("description"),
            "invoice_settings": settings.get("invoice_settings") or {"days_until_due": None},
        },
        "end_behavior": given.get("end_behavior") or "release",
        "livemode": False,
        "metadata": forms.merge_metadata({}, given.get("metadata") or {}),
        "phases": build_phases(stripe, given["phases"], start),
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": subscription["id"] if subscription else None,
        "test_clock": None,
    }
    for phase in schedule["phases"]:
        _check_settings(schedule, phase)
    stripe.save(schedule)
    stripe.emit("subscription_schedule.created", schedule)
    if subscription is not None:
        stripe.change(subscription, "customer.subscription.updated", schedule=schedule["id"])
        _enter_phase(stripe, schedule, 0)
    elif start <= stripe.now:
        step(stripe, schedule)
    else:
        stripe.set_timer("schedule", schedule["id"], start)
    return schedule


def _phase_of(subscription: dict) -> dict:
    items = subscription["items"]["data"]
    return {
        "items": [{"price": item["price"]["id"], "quantity": item["quantity"]} for item in items],
        "end_date": max(item["current_period_end"] for item in items),
        "collection_method": subscription["collection_method"],
        "invoice_settings": {"days_until_due": subscription["days_until_due"]},
        "metadata": subscription["metadata"],
    }


def _settings(schedule: dict, phase: dict) -> dict[str, Any]:
    """What the subscription of a phase takes over; the phase's own word comes first."""
    default = schedule["default_settings"]
    method = phase["collection_method"] or default["collection_method"]
    days = (phase["invoice_settings"] or {}).get("days_until_due")
    if days is None:
        days = (default["invoice_settings"] or {}).get("days_until_due")
    return {
        "collection_method": method,
        "days_until_due": days if method == "send_invoice" else None,
        "default_payment_method": phase["default_payment_method"] or default["default_payment_method"],
        "default_tax_rates": phase["default_tax_rates"],
        "description": phase["description"] or default["description"],
        "metadata": phase["metadata"],
    }


def _check_settings(schedule: dict, phase: dict) -> None:
    settings = _settings(schedule, phase)
    if settings["collection_method"] == "send_invoice" and settings["days_until_due"] is None:
        raise missing_param("default_settings[invoice_settings][days_until_due]")


def _enter_phase(stripe: StripeCore, schedule: dict, number: int) -> None:
    phase = schedule["phases"][number]
    schedule["status"] = "active"
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    stripe.save(schedule)
    stripe.set_timer("schedule", schedule["id"], phase["end_date"])
    stripe.emit("subscription_schedule.updated", schedule, previous={"current_phase": None})


def step(stripe: StripeCore, schedule: dict) -> None:
    """The clock has passed a phase's beginning or end: start the subscription, change its items, or end."""
    now = stripe.now
    if schedule["status"] not in {"not_started", "active"}:
        return
    number = next((n for n, phase in enumerate(schedule["phases"]) if now < phase["end_date"]), None)
    if number is None:
        _complete(stripe, schedule)
        return
    phase = schedule["phases"][number]
    if now < phase["start_date"]:
        stripe.set_timer("schedule", schedule["id"], phase["start_date"])
        return
    subscription = stripe.store.get("subscription", schedule["subscription"]) if schedule["subscription"] else None
    if subscription is None:
        given = {
            "customer": schedule["customer"],
            "items": phase["items"],
            "add_invoice_items": phase["add_invoice_items"],
            **_settings(schedule, phase),
        }
        if phase["start_date"] < now:
            given["backdate_start_date"] = phase["start_date"]
        subscription = build_subscription(stripe, given, schedule=schedule["id"])
        schedule["subscription"] = subscription["id"]
    elif subscription["status"] not in ENDED:
        old = [{"id": item["id"], "deleted": True} for item in subscription["items"]["data"]]
        settings = {name: value for name, value in _settings(schedule, phase).items() if name != "metadata"}
        change = {"items": [*phase["items"], *old], "proration_behavior": phase["proration_behavior"], **settings}
        if phase["metadata"]:
            change["metadata"] = phase["metadata"]
        customer = stripe.fetch("customer", subscription["customer"])
        for each in phase["add_invoice_items"]:
            build_item(stripe, customer, {**each, "pricing": {"price": each["price"]}}, None)
        change_subscription(stripe, subscription, change)
    _enter_phase(stripe, schedule, number)


def _complete(stripe: StripeCore, schedule: dict) -> None:
    subscription = stripe.store.get("subscription", schedule["subscription"]) if schedule["subscription"] else None
    if subscription is None:
        # the clock jumped over all phases: nothing was ever sold under it
        schedule.update(status="completed", completed_at=stripe.now, current_phase=None)
        stripe.save(schedule)
        stripe.emit("subscription_schedule.completed", schedule)
        return
    if schedule["end_behavior"] in {"release", "none", "renew"}:
        release(stripe, schedule)
        return
    schedule.update(status="completed", completed_at=stripe.now, current_phase=None)
    stripe.save(schedule)
    stripe.emit("subscription_schedule.completed", schedule)
    if subscription["status"] not in ENDED:
        end_subscription(stripe, subscription)


def release(stripe: StripeCore, schedule: dict) -> None:
    """The subscription goes on without the schedule."""
    subscription = stripe.store.get("subscription", schedule["subscription"]) if schedule["subscription"] else None
    schedule.update(status="released", released_at=stripe.now, current_phase=None)
    schedule.update(released_subscription=schedule["subscription"], subscription=None)
    stripe.save(schedule)
    stripe.stop_timer("schedule", schedule["id"])
    if subscription is not None:
        stripe.change(subscription, "customer.subscription.updated", schedule=None)
    stripe.emit("subscription_schedule.released", schedule)


def update_schedule(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscription_schedules/{id}: phases are replaced as a whole"""
    schedule = _fetch_living(stripe, request)
    spec = {name: SCHEDULE[name] for name in ("end_behavior", "phases", "default_settings", "metadata")}
    given = forms.read_params(request.form(), {**spec, "proration_behavior": forms.text})
    given.pop("proration_behavior", None)
    if given.get("default_settings"):
        given["default_settings"] = {**schedule["default_settings"], **given["default_settings"]}
    if given.get("phases"):
        wanted = given["phases"][0].get("start_date")
        first = schedule["phases"][0]["start_date"]
        start = first if wanted is None else stripe.now if wanted == "now" else forms.integer(wanted, "phases") or first
        given["phases"] = build_phases(stripe, given["phases"], start)
        for phase in given["phases"]:
            _check_settings({**schedule, **given}, phase)
        ends = [phase["end_date"] for phase in given["phases"]]
        due = next((end for end in ends if end > stripe.now), stripe.now) if schedule["status"] == "active" else start
        stripe.set_timer("schedule", schedule["id"], due)
    return update_object(stripe, request, schedule, given, "subscription_schedule.updated")


def _fetch_living(stripe: StripeCore, request: Request) -> dict:
    schedule = stripe.fetch("subscription_schedule", request.params["id"])
    if schedule["status"] not in {"not_started", "active"}:
        raise invalid(
            f"The subscription schedule is {schedule['status']}.", code="status_transition_invalid", param="id"
        )
    return schedule


def cancel_schedule(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscription_schedules/{id}/cancel: its subscription too, the rest of its period given back and billed at
    once unless told otherwise"""
    schedule = _fetch_living(stripe, request)
    given = forms.read_params(request.form(), {"invoice_now": forms.boolean, "prorate": forms.boolean})
    schedule.update(status="canceled", canceled_at=stripe.now, current_phase=None)
    stripe.save(schedule)
    stripe.stop_timer("schedule", schedule["id"])
    stripe.emit("subscription_schedule.canceled", schedule)
    subscription = stripe.store.get("subscription", schedule["subscription"]) if schedule["subscription"] else None
    if subscription is not None and subscription["status"] not in ENDED:
        if given.get("prorate", True):
            for item in subscription["items"]["data"]:
                prorate(stripe, subscription, item, None)
        if given.get("invoice_now", True):
            bill(stripe, subscription, [], reason="subscription_update")
        end_subscription(stripe, subscription)
    return stripe.answer(request, schedule, effect="updated")


def release_schedule(stripe: StripeCore, request: Request) -> Answer:
    """POST /subscription_schedules/{id}/release"""
    schedule = _fetch_living(stripe, request)
    release(stripe, schedule)
    return stripe.answer(request, schedule, effect="updated")
