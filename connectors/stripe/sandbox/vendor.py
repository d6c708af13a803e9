"""Stripe's sandbox as one class: authentication, limits, headers, the clock's work, webhooks."""

import base64
import re
import secrets
from collections.abc import Callable
from typing import Any

from connectors.sandbox.faults import Fault
from connectors.sandbox.limits import RateLimit
from connectors.sandbox.outside import Delivery
from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import balance, billing, idempotency, made, renewals, schedules, subscriptions, webhooks
from connectors.stripe.sandbox.core import API_VERSION, StripeCore, find_external_id, find_subscription, make_id
from connectors.stripe.sandbox.errors import build_error
from connectors.stripe.sandbox.lines import SHOW, embed_lines
from connectors.stripe.sandbox.routes import ROUTES

PER_SECOND = 25  # a sandbox key: per account, and per endpoint
VERSION = re.compile(r"\d{4}-\d\d-\d\d(\.[a-z]+)?\Z")
CHANGED_BY_ID = frozenset({"refund", "dispute", "payout"})
LATE_TIMERS = 5000  # at most so many in one go, so that a jump of years stays answerable


class Stripe(StripeCore):
    """The vendor as the kit serves it."""

    routes = ROUTES
    reference_types = frozenset({"product", "price", "tax_rate", "webhook_endpoint", "payment_method"})

    def __init__(self, *args: Any):
        self.in_flight: set[str] = set()
        self.changed: set[str] = set()
        self.known_endpoints: list[dict] | None = None
        self.global_limit = RateLimit(PER_SECOND)
        self.endpoint_limit = RateLimit(PER_SECOND)
        super().__init__(*args)
        self.known_credentials = self.credentials()

    def credentials(self) -> dict:
        """The account's test key, and the signing secret that endpoints of the control door use by default."""
        kept = self.store.setting("credentials")
        if kept is None:
            kept = {"api_key": f"sk_test_{secrets.token_hex(24)}", "webhook_secret": webhooks.make_secret()}
            self.store.keep_setting("credentials", kept)
        return kept

    # a request's frame

    def make_handler(self, method: str, handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        """POST handlers store their answer under the idempotency key."""
        if method == "POST":
            handler = idempotency.wrap(self, handler)

        def run(request: Request) -> Answer:
            self.current, self.request_id = request, make_id("req")[:18]
            try:
                return handler(request)
            finally:
                self.current = None

        return run

    def authenticate(self, request: Request) -> Answer | None:
        """Bearer, or Basic with the key as the user; then the version must be one of Stripe's."""
        given = request.headers.get("Authorization", "")
        scheme, _, key = given.partition(" ")
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key).decode().partition(":")[0]
            except ValueError:
                key = ""
        if not key:
            return build_error(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            )
        if not secrets.compare_digest(key.encode(), self.known_credentials["api_key"].encode()):
            return build_error(401, f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}")
        version = request.headers.get("Stripe-Version")
        if version is not None and not VERSION.match(version):
            return build_error(400, f"Invalid Stripe API version: {version}")
        return None

    def enter(self, request: Request, route: str) -> Answer | None:
        """Rate limits first (a refused request is stored nowhere), then the idempotency key."""
        if self.enforced:
            if not self.endpoint_limit.take((request.method, route)):
                return self._too_many("endpoint-rate")
            if not self.global_limit.take():
                return self._too_many("global-rate")
        earlier = idempotency.find_earlier(self, request)
        if earlier is not None:
            return earlier
        if request.method == "POST":
            key = request.headers.get("Idempotency-Key")
            if key:
                self.in_flight.add(key)
        return None

    def leave(self, request: Request, route: str) -> None:
        """The key is free again."""
        self.in_flight.discard(request.headers.get("Idempotency-Key", ""))

    def finish(self, request: Request, answer: Answer) -> Answer:
        """Request-Id and version on every answer."""
        answer.headers.setdefault("Request-Id", self.request_id or make_id("req")[:18])
        self.request_id = None
        answer.headers.setdefault("Stripe-Version", request.headers.get("Stripe-Version", API_VERSION))
        key = request.headers.get("Idempotency-Key")
        if key:
            answer.headers.setdefault("Idempotency-Key", key)
        return answer

    def _too_many(self, reason: str) -> Answer:
        answer = build_error(
            429,
            "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
            code="rate_limit",
        )
        answer.headers.update({"Stripe-Rate-Limited-Reason": reason, "Stripe-Should-Retry": "true"})
        return answer

    def rate_limited(self, request: Request, fault: Fault) -> Answer:
        """With the header that names the reason; `body: "lock_timeout"` is the object lock, without it."""
        if fault.body == "lock_timeout":
            return build_error(429, "This object cannot be accessed right now.", code="lock_timeout")
        return self._too_many("global-rate")

    def failed(self, request: Request, status: int) -> Answer:
        """An error of Stripe's own."""
        kind = "api_error" if status >= 500 else "invalid_request_error"
        answer = build_error(status, "An unexpected error occurred.", kind=kind)
        if status >= 500:
            answer.headers["Stripe-Should-Retry"] = "true"
        return answer

    def keep_answer(self, request: Request, answer: Answer) -> None:
        """Whatever the first execution answered is stored, a 500 too."""
        self.request_id = make_id("req")[:18]
        idempotency.keep(self, request, answer)

    def name_write(self, request: Request) -> tuple[str | None, str | None]:
        """The caller's own id in the metadata, and the idempotency key."""
        try:
            metadata = request.form().get("metadata")
        except ValueError:
            metadata = None
        external_id = find_external_id({"metadata": metadata}) if isinstance(metadata, dict) else None
        return external_id, request.headers.get("Idempotency-Key")

    def is_replay(self, answer: Answer) -> bool:
        """Whether it was given for the same key before."""
        return "Idempotent-Replayed" in answer.headers

    def expire_tokens(self, request: Request) -> Answer | None:
        """An API key has no lifetime, but can be rolled: this request meets the expired one."""
        return build_error(401, "Expired API Key provided.", code="api_key_expired")

    def not_found(self, request: Request) -> Answer:
        """No such URL."""
        return build_error(404, f"Unrecognized request URL ({request.method}: {request.path}).")

    # documents

    def present(self, type: str, obj: dict) -> dict:
        """Without what is kept for ourselves; documents with their first lines."""
        shown = {name: value for name, value in obj.items() if name[0] != "_"}
        if type in SHOW and "_lines" in obj:
            shown["lines"] = embed_lines(self, obj)
        elif type == "event":
            shown = webhooks.show_event(self, shown)
        return shown

    def document_id(self, type: str, obj: dict) -> str:
        """Everything has its id."""
        return obj["id"]

    def make(self, type: str, objects: list[dict]) -> list[str]:
        """Documents as a user of the dashboard would make them."""
        self.changed = {each["id"] for each in objects if type in CHANGED_BY_ID and each.get("id")}
        return made.make_documents(self, type, objects)

    def make_log_entry(self, type: str, id: str, path: str) -> None:
        """With the caller's own id out of the metadata."""
        effect = "updated" if id in self.changed else "created"
        external_id = find_external_id(self.store.get(type, id) or {})
        self.store.log("POST", path, type, id, external_id=external_id, effect=effect)

    def on_invoice_paid(self, invoice: dict) -> None:
        """A subscription whose newest invoice is paid is active."""
        id = find_subscription(invoice)
        subscription = self.store.get("subscription", id) if id else None
        if subscription is not None and subscription["latest_invoice"] == invoice["id"]:
            renewals.settle_status(self, subscription)

    def reset(self, keep: str) -> None:
        """As the kit does it; what is held in memory goes too."""
        super().reset(keep)
        self.forget_endpoints()
        self.in_flight.clear()

    # the clock

    def advance(self) -> None:
        """Do what has become due: schedules, renewals, cancellations, drafts, due dates, payouts."""
        for _ in range(LATE_TIMERS):
            due = self.store.find("_timer", until=self.now + 1, limit=1)
            if not due:
                break
            timer = due[0]
            self.store.delete("_timer", f"{timer['kind']}:{timer['id']}")
            self._run_timer(timer["kind"], timer["id"])
        today = self.now // 86400
        if self.store.setting("last_day") != today:
            self.store.keep_setting("last_day", today)
            self.store.forget(idempotency.TYPE, before=self.now - idempotency.KEPT_FOR)
            balance.sweep(self)

    def _run_timer(self, kind: str, id: str) -> None:
        if kind == "finalize":
            billing.finalize_due(self, id)
            self._mark_past_due(id)
        elif kind == "overdue":
            billing.mark_overdue(self, id)
        elif kind == "payout":
            balance.arrive(self, id)
        elif kind == "schedule":
            schedules.step(self, self.fetch("subscription_schedule", id))
        else:
            self._run_subscription_timer(kind, id)

    def _run_subscription_timer(self, kind: str, id: str) -> None:
        subscription = self.store.get("subscription", id)
        if subscription is None or subscription["status"] in subscriptions.ENDED:
            return
        if kind == "cancel":
            subscriptions.end_subscription(self, subscription)
        elif kind == "expire" and subscription["status"] == "incomplete":
            subscriptions.end_subscription(self, subscription, status="incomplete_expired")
        elif kind == "renew":
            if self._ends_before_renewal(subscription):
                return
            renewals.renew(self, subscription)
            subscriptions.set_timers(self, subscription)

    def _ends_before_renewal(self, subscription: dict) -> bool:
        """Whether it ended with the period that is over: by its own date, or since its schedule's last phase ended."""
        period_end = min(item["current_period_end"] for item in subscription["items"]["data"])
        if subscription["cancel_at"] is not None and subscription["cancel_at"] <= period_end:
            subscriptions.end_subscription(self, subscription)
            return True
        schedule = (
            self.store.get("subscription_schedule", subscription["schedule"]) if subscription["schedule"] else None
        )
        if schedule is None or schedule["end_behavior"] != "cancel" or schedule["phases"][-1]["end_date"] > period_end:
            return False
        schedules.step(self, schedule)
        return True

    def _mark_past_due(self, invoice_id: str) -> None:
        invoice = self.store.get("invoice", invoice_id)
        id = find_subscription(invoice) if invoice else None
        if id is None or invoice["status"] != "open" or invoice["collection_method"] != "charge_automatically":
            return
        subscription = self.store.get("subscription", id)
        if subscription is not None and subscription["status"] == "active":
            self.change(subscription, "customer.subscription.updated", status="past_due")

    # webhooks

    def endpoints(self) -> list[dict]:
        """All of them, from memory."""
        if self.known_endpoints is None:
            self.known_endpoints = self.store.find("webhook_endpoint")
        return self.known_endpoints

    def forget_endpoints(self) -> None:
        """They have changed."""
        self.known_endpoints = None

    def add_webhook(self, given: dict) -> dict:
        """The control door points the account at a receiver."""
        return webhooks.add_endpoint(self, given)

    def prepare_delivery(self, delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | None:
        """URL, body and signature."""
        return webhooks.prepare(self, delivery)

    def retry_after(self, attempt: int) -> float | None:
        """Exponentially: 4 s, 12 s, 36 s … about three days in all."""
        return 4.0 * 3 ** (attempt - 1) if attempt <= webhooks.RETRIES else None
