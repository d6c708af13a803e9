"""Webhook endpoints, their signatures, and the list of events."""

import fnmatch
import hashlib
import hmac
import secrets
import time
from typing import Any

from connectors.sandbox.outside import Delivery
from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import EVENT_SECONDS, StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lists import list_objects

BOTH_SECRETS_FOR = 24 * 3600
MOST_TYPES = 20
RETRIES = 10  # exponentially, which is about three days
ENDPOINT: forms.Spec = {
    "url": forms.text,
    "enabled_events": forms.many(forms.text),
    "api_version": forms.text,
    "description": forms.text,
    "connect": forms.boolean,
    "metadata": forms.metadata,
}


def make_secret() -> str:
    """A signing secret in Stripe's form."""
    return f"whsec_{secrets.token_hex(16)}"


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """`v1`: HMAC-SHA256 over "t.body", keyed with the whole secret, its `whsec_` included."""
    return hmac.new(secret.encode(), b"%d.%s" % (timestamp, body), hashlib.sha256).hexdigest()


def build_endpoint(stripe: StripeCore, given: dict[str, Any], secret: str) -> dict:
    """A new endpoint, saved. `_secrets` are its secrets with the time until which they sign."""
    endpoint = {
        "id": make_id("we"),
        "object": "webhook_endpoint",
        "api_version": given.get("api_version"),
        "application": None,
        "created": stripe.now,
        "description": given.get("description"),
        "enabled_events": given["enabled_events"],
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "status": "enabled",
        "url": given["url"],
        "_secrets": [[secret, None]],
    }
    save_endpoint(stripe, endpoint)
    return endpoint


def save_endpoint(stripe: StripeCore, endpoint: dict) -> None:
    """Store it; the endpoints held in memory are read again."""
    stripe.save(endpoint)
    stripe.forget_endpoints()


def create_endpoint(stripe: StripeCore, request: Request) -> Answer:
    """POST /webhook_endpoints: the only answer that shows the secret"""
    given = forms.read_params(request.form(), ENDPOINT, required=("url", "enabled_events"))
    if not given["url"].startswith(("http://", "https://")):
        raise invalid("Invalid URL: URL must start with http:// or https://", code="url_invalid", param="url")
    secret = make_secret()
    endpoint = build_endpoint(stripe, given, secret)
    answer = stripe.answer(request, endpoint, effect="created")
    answer.body["secret"] = secret
    return answer


def update_endpoint(stripe: StripeCore, request: Request) -> Answer:
    """POST /webhook_endpoints/{id}"""
    endpoint = stripe.fetch("webhook_endpoint", request.params["id"])
    spec = {**ENDPOINT, "disabled": forms.boolean}
    given = forms.read_params(request.form(), {name: spec[name] for name in spec if name != "api_version"})
    if "disabled" in given:
        given["status"] = "disabled" if given.pop("disabled") else "enabled"
    answer = update_object(stripe, request, endpoint, given, "")
    stripe.forget_endpoints()
    return answer


def delete_endpoint(stripe: StripeCore, request: Request) -> Answer:
    """DELETE /webhook_endpoints/{id}"""
    endpoint = stripe.fetch("webhook_endpoint", request.params["id"])
    stripe.store.delete("webhook_endpoint", endpoint["id"])
    stripe.forget_endpoints()
    left = {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}
    stripe.note(request, left, "deleted")
    return Answer(200, left)


def add_endpoint(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """The control door's way: the same address once; another secret rolls it, and both sign for a day."""
    unknown = set(given) - {"url", "secret", "enabled_events"}
    if unknown or not given.get("url"):
        raise ValueError("url is expected, and may be followed by secret and enabled_events")
    secret = given.get("secret") or stripe.credentials()["webhook_secret"]
    events = given.get("enabled_events") or ["*"]
    for endpoint in stripe.store.find("webhook_endpoint"):
        if endpoint["url"] == given["url"]:
            if endpoint["_secrets"][0][0] != secret:
                roll_secret(stripe, endpoint, secret)
            endpoint["enabled_events"], endpoint["status"] = events, "enabled"
            save_endpoint(stripe, endpoint)
            return {"id": endpoint["id"], "url": endpoint["url"], "secret": secret}
    endpoint = build_endpoint(stripe, {"url": given["url"], "enabled_events": events}, secret)
    return {"id": endpoint["id"], "url": endpoint["url"], "secret": secret}


def roll_secret(stripe: StripeCore, endpoint: dict, secret: str) -> None:
    """A new secret; the old one signs as well for 24 hours."""
    old = [[each, stripe.now + BOTH_SECRETS_FOR] for each, until in endpoint["_secrets"] if until is None]
    endpoint["_secrets"] = [[secret, None], *old]


def prepare(stripe: StripeCore, delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | None:
    """URL, body and signature of one attempt; None when endpoint or event are gone.

    Signed at the real time: moving the sandboxes' clock doesn't move the portal's, which refuses what is minutes off.
    """
    endpoint = next((each for each in stripe.endpoints() if each["id"] == delivery.endpoint), None)
    body = stripe.store.get_raw("event", delivery.subject)
    if endpoint is None or body is None or endpoint["status"] != "enabled":
        return None
    now = stripe.now
    valid = [secret for secret, until in endpoint["_secrets"] if until is None or until > now]
    sent = int(time.time())
    signature = ",".join([f"t={sent}", *(f"v1={sign(secret, sent, body)}" for secret in valid)])
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature,
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    return endpoint["url"], body, headers


# events


def list_events(stripe: StripeCore, request: Request) -> Answer:
    """GET /events of the last 30 days: type (with a wildcard) or types[], created, delivery_success"""
    given = read_given(request)
    types = forms.many(forms.text)(given.get("types"), "types")
    one = forms.text(given.get("type"), "type")
    delivered = forms.boolean(given.get("delivery_success"), "delivery_success")
    if one and types:
        raise invalid("You may pass either type or types, but not both.", code="parameters_exclusive", param="types")
    if len(types) > MOST_TYPES:
        raise invalid(f"You may only pass {MOST_TYPES} types.", param="types")
    fixed: dict[str, Any] = {"type": one or types[0]} if (one and "*" not in one) or len(types) == 1 else {}

    def accept(event: dict) -> bool:
        if types and event["type"] not in types:
            return False
        if one and not fixed and not fnmatch.fnmatchcase(event["type"], one):
            return False
        return delivered is None or (stripe.outside.open_deliveries(event["id"]) == 0) is delivered

    ignore = ("type", "types", "delivery_success")
    since = stripe.now - EVENT_SECONDS
    return list_objects(stripe, request, "event", accept=accept, ignore=ignore, since=since, **fixed)


def read_event(stripe: StripeCore, request: Request) -> Answer:
    """GET /events/{id}, for 30 days"""
    event = stripe.fetch("event", request.params["id"])
    if event["created"] < stripe.now - EVENT_SECONDS:
        stripe.fetch("event", "")
    return stripe.answer(request, event)


def show_event(stripe: StripeCore, event: dict) -> dict:
    """An event with what is still pending now."""
    return {**event, "pending_webhooks": stripe.outside.open_deliveries(event["id"])}
