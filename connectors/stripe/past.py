"""What of Stripe's past can be read again: events while it keeps them (30 days), and its documents for ever.

A document that is read again becomes the event that issued it, as Stripe would have said it: its id names the content,
so that the same state is the same message however often it's read. Pure.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.families import Polled
from connectors.stripe.door import polled
from connectors.stripe.polling import KEPT_SECONDS
from q2c.core.problems import Category, Problem

EVENTS, INVOICE, CREDIT_NOTE, CUSTOMER = "events", "invoice", "credit_note", "customer"
RANGES = {
    INVOICE: "Invoices, by when they were made",
    CREDIT_NOTE: "Credit notes, by when they were made",
    CUSTOMER: "Customers, by when they were made",
    EVENTS: "Events of the last 30 days",
}
_PATHS = {EVENTS: "events", INVOICE: "invoices", CREDIT_NOTE: "credit_notes", CUSTOMER: "customers"}
_ISSUED_BY = {INVOICE: "invoice.finalized", CREDIT_NOTE: "credit_note.created", CUSTOMER: "customer.updated"}
_VOIDED_BY = {INVOICE: "invoice.voided", CREDIT_NOTE: "credit_note.voided"}
_PREFIXES = {"in_": INVOICE, "cn_": CREDIT_NOTE, "cus_": CUSTOMER}


def paths(what: str) -> str:
    """The collection of the API. Raises KeyError for what can't be read again."""
    return _PATHS[what]


def kind_of(object_id: str) -> str | None:
    """What an id is of, or None where we don't read such objects again."""
    return next((kind for prefix, kind in _PREFIXES.items() if object_id.startswith(prefix)), None)


def span(since: dt.datetime, until: dt.datetime) -> list[tuple[str, str]]:
    """The bounds of a listing."""
    return [("created[gte]", str(int(since.timestamp()))), ("created[lt]", str(int(until.timestamp())))]


def check_kept(since: dt.datetime, *, connection: str) -> None:
    """Raises Problem `feed_gap` for events from before Stripe's own memory."""
    if since.timestamp() < dt.datetime.now(dt.UTC).timestamp() - KEPT_SECONDS:
        raise Problem(
            "feed_gap", Category.DRIFT,
            f"{connection} keeps events for 30 days. Read its invoices, credit notes or customers instead",
            connection=connection, stream="events",
        )  # fmt: skip


def polled_of(what: str, raw: Mapping[str, Any]) -> list[Polled]:
    """A row as messages, in their order; none of a draft and of a deleted record, which have no effect. A document that
    was voided since says both that it was issued and that it was voided."""
    if what == EVENTS:
        return [polled(msgspec.json.encode(raw))]
    if raw.get("status") == "draft" or raw.get("deleted"):
        return []
    moved = raw.get("status_transitions") or {}
    found = [_said(_ISSUED_BY[what], raw, moved.get("finalized_at") or raw["created"])]
    if what in _VOIDED_BY and raw.get("status") == "void":
        found.append(_said(_VOIDED_BY[what], raw, moved.get("voided_at") or raw.get("voided_at") or raw["created"]))
    return found


def _said(event_type: str, raw: Mapping[str, Any], at: int) -> Polled:
    """A document as the event that says so. A customer's state is as old as the customer here: nothing newer that we
    hold gives way to it."""
    content = hashlib.sha256(msgspec.json.encode(raw, order="sorted")).hexdigest()[:24]
    event = {
        "id": f"again_{event_type}_{raw['id']}_{content}", "object": "event", "type": event_type, "created": at,
        "data": {"object": raw},
    }  # fmt: skip
    return polled(msgspec.json.encode(event))
