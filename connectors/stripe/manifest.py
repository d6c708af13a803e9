"""Stripe, in facts. Sources and dates stand in the README beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.auth import Bearer
from connectors.errors import VendorError
from connectors.families import Family
from connectors.http import Auth, Line
from connectors.manifest import GOVERNED, TELLS_HOLDS, Limits, Manifest, Repeats, Secret, Setting, WebhookDoor, When
from connectors.stripe import door
from connectors.stripe.events import EVENTS
from q2c.core.problems import Category


def auth(line: Line) -> Auth:
    """The secret or restricted key as bearer token."""
    return Bearer(line.secrets["api_key"])


def read_errors(status: int, headers: Mapping[str, str], body: bytes) -> list[VendorError]:
    """Stripe's one error. `code` is `<type>/<code>`; a decline keeps its own code. Raises ValueError for another
    shape."""
    error: Any = msgspec.json.decode(body)["error"]
    code = error.get("decline_code") or error.get("code") or ""
    return [
        VendorError(f"{error.get('type') or ''}/{code}", str(error.get("message") or ""), str(error.get("param") or ""))
    ]


class _Whose(msgspec.Struct):
    object: str = ""
    id: str = ""
    customer: str | None = None


class _Data(msgspec.Struct):
    object: _Whose


class _Event(msgspec.Struct):
    data: _Data


_read_event = msgspec.json.Decoder(_Event).decode


def customer_of(body: bytes) -> str:
    """The customer whom an event's object is, or names. Raises ValueError for what isn't an event."""
    whose = _read_event(body).data.object
    return whose.id if whose.object == "customer" else whose.customer or ""


_STATES = (
    "*/*_unexpected_state",
    "*/intent_invalid_state",
    "*/invoice_not_editable",
    "*/invoice_no_customer_line_items",
    "*/invalid_canceled_subscription_fields",
    "*/status_transition_invalid",
    "*/charge_already_*",
)
ERRORS = (
    When(Category.AUTHENTICATION, "credentials_refused", "Stripe refused our key: {detail}", status=401),
    When(Category.AUTHENTICATION, "vendor_permission", "Stripe's key may not do this: {detail}", status=403,
         code="?*"),
    When(Category.AUTHENTICATION, "credentials_refused", "Stripe doesn't let us in, and gives no reason", status=403),
    When(Category.RATE_LIMIT, "rate_limited", "Stripe's limit of requests is used up", status=429),
    When(Category.RATE_LIMIT, "rate_limited", "Stripe's limit of requests is used up", code="*/rate_limit"),
    When(Category.UNKNOWN_OUTCOME, "outcome_unknown", "Stripe is still doing this request",
         code="*/idempotency_key_in_use"),
    When(Category.CONFLICT, "idempotency_key_reused", "Stripe knows our key with other content: {detail}",
         code="idempotency_error/*"),
    When(Category.CONFLICT, "document_exists", "Stripe has it already: {detail}", code="*/resource_already_exists",
         is_existing=True),
    When(Category.VALIDATION, "record_gone", "Stripe has no such record: {detail}", status=404,
         code="*/resource_missing", is_absent=True),
    When(Category.MAPPING, "vendor_reference_refused", "Stripe refused what we named in {field}: {detail}",
         code="*/resource_missing"),
    When(Category.MAPPING, "vendor_reference_refused", "Stripe refused what we named: {detail}",
         code="*/livemode_mismatch"),
    When(Category.MAPPING, "vendor_reference_refused", "Stripe's product is inactive: {detail}",
         code="*/product_inactive"),
    *(When(Category.MAPPING, "vendor_reference_refused", "Stripe refused what we named in {field}: {detail}", code=c)
      for c in ("*/missing", "*/coupon_expired")),
    *(When(Category.CONFLICT, "conflict", "Stripe's record is in another state: {detail}", code=c) for c in _STATES),
    When(Category.CONFLICT, "conflict", "Stripe's record is in another state: {detail}", status=409),
    When(Category.VALIDATION, "vendor_refused", "The bank declined: {detail}", status=402),
    When(Category.AVAILABILITY, "system_unavailable", "Stripe isn't available ({status})", status=(500, 599)),
    When(Category.AVAILABILITY, "system_unavailable", "Stripe couldn't reach what it needs", status=424),
    When(Category.VALIDATION, "vendor_refused", "Stripe refused {field}: {detail}", status=(400, 499)),
)  # fmt: skip

MANIFEST = Manifest(
    code="stripe",
    name="Stripe",
    families=(Family.BILLING, Family.PAYMENTS),
    settings=(
        Setting("app_url", "Address of the dashboard", default="https://dashboard.stripe.com", is_required=False),
        Setting("legal_entity", "Legal entity that owns this Stripe account, for its payouts", is_required=False),
        TELLS_HOLDS,
        *GOVERNED,
        Secret("api_key"),
        Secret("webhook_secret"),
        Secret("webhook_secret_previous", is_required=False),
    ),
    limits=Limits(at_once=16, per_second=25.0, timeout_seconds=30.0),
    repeats=Repeats(
        idempotency_header="Idempotency-Key",
        replay_header="Idempotent-Replayed",
        reads_own_writes=True,
        settles_after_seconds=60.0,
    ),
    errors=ERRORS,
    events=EVENTS,
    webhook=WebhookDoor(verify=door.verify, split=door.split),
    read_errors=read_errors,
    customer_of=customer_of,
    polls_its_webhooks=True,
    notes_on=("invoice", "credit_note", "customer", "refund"),
    auth=auth,
    record_url="{app_url}/search?query={id}",
    raw_roots=("data.object", ""),
    raw_fields={
        "number": ("number", "metadata.invoice_no"),
        "customer": ("customer_name", "customer.name", "customer", "customer.id"),
        "legal_entity": (
            "metadata.legal_entity",
            "parent.subscription_details.metadata.legal_entity",
            "customer.metadata.legal_entity",
        ),
        "currency": ("currency",),
        "total": ("total", "amount"),
        "tax_total": ("tax", "total_taxes.0.amount"),
        "document_date": ("effective_at", "status_transitions.finalized_at", "created"),
        "due_date": ("due_date",),
        "po_number": ("metadata.po_number",),
    },
)
