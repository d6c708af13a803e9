"""Stripe's own register: which lists hold a document type, what an entry says, and the events that bring it.

Lists are asked by when an object was made, not by when it became a document: a draft is finalized an hour later or, by
hand, days later, and a payment by bank transfer takes days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from connectors.families import Polled, Registered
from connectors.fields import unix
from connectors.stripe.door import polled
from connectors.stripe.inbound import currency_of, id_of, invoice_notes
from connectors.stripe.money import from_minor
from connectors.stripe.polling import List

MADE_BEFORE = {
    "invoice": dt.timedelta(days=2),
    "credit_memo": dt.timedelta(),
    "payment": dt.timedelta(days=7),
    "refund": dt.timedelta(days=7),
    "payout": dt.timedelta(days=7),
}
LISTS = {
    "invoice": ("/v1/invoices",),
    "credit_memo": ("/v1/credit_notes",),
    "payment": ("/v1/payment_intents", "/v1/charges"),
    "refund": ("/v1/refunds",),
    "payout": ("/v1/payouts",),
}
_AROUND = 3600  # seconds around what is looked for, in which its event is
_EVENTS = {  # what brings it, and what brings its end
    "invoice": ("invoice.finalized", "invoice.voided"),
    "credit_memo": ("credit_note.created", "credit_note.voided"),
    "payment": ("payment_intent.succeeded",),
    "refund": ("refund.updated",),  # its own state says which of both; the event of its creation may say: pending
    "payout": ("payout.paid", "payout.failed"),
}


def path_of(document_type: str, document_id: str) -> str:
    """The list in which an object of this id stands: a payment is an intent or a charge."""
    return "/v1/charges" if document_id.startswith(("ch_", "py_")) else LISTS[document_type][0]


def entry(document_type: str, raw: Mapping[str, Any]) -> Registered | None:
    """An object as a register's entry; None for what is no document (a draft, money that hasn't moved)."""
    units = _units(document_type, raw)
    if units is None:
        return None
    currency = currency_of(raw)
    notes = invoice_notes(raw) if document_type == "invoice" else raw.get("metadata") or {}
    return Registered(
        document_type=document_type,
        id=str(raw["id"]),
        made_at=unix(raw["created"]),
        dated=_dated(document_type, raw),
        currency=currency,
        amount=from_minor(units, currency),
        number=str(raw.get("number") or "") if document_type in ("invoice", "credit_memo") else "",
        customer_id=id_of(raw.get("customer")),
        legal_entity=str(notes.get("legal_entity") or ""),
        status=raw["status"] if raw.get("status") in ("void", "failed") else "",
    )


def _units(document_type: str, raw: Mapping[str, Any]) -> Any:
    """The amount in minor units, or None where the object is no document yet."""
    status = raw.get("status")
    if document_type == "invoice":
        return None if status in ("draft", None) else raw["total"]
    if document_type == "credit_memo":
        return raw["total"]
    if document_type == "payment":
        if raw.get("object") == "payment_intent":
            return raw["amount_received"] if status == "succeeded" else None
        is_cash = status == "succeeded" and raw.get("captured", True) and not raw.get("payment_intent")
        return raw["amount"] if is_cash else None
    if document_type == "refund":
        return raw["amount"] if status in ("succeeded", "failed") else None
    return raw["amount"] if status in ("paid", "failed") else None


def _dated(document_type: str, raw: Mapping[str, Any]) -> dt.datetime | dt.date:
    if document_type == "payout":
        return unix(raw["arrival_date"]).date()
    stamps = raw.get("status_transitions") or {}
    return unix(raw.get("effective_at") or stamps.get("finalized_at") or raw["created"])


def events_of(document_type: str, found: Registered) -> tuple[str, ...]:
    """The types of the events that bring what an entry says."""
    if document_type == "payment" and path_of(document_type, found.id) == "/v1/charges":
        return ("charge.succeeded",)
    return _EVENTS[document_type] if found.status else _EVENTS[document_type][:1]


def events_query(wanted: Collection[tuple[str, str]], entries: Sequence[Registered]) -> list[tuple[str, str]]:
    """Where Stripe's own events of these entries are listed."""
    moments = [m for e in entries for m in (e.made_at, e.dated if isinstance(e.dated, dt.datetime) else e.made_at)]
    kinds = sorted({kind for kind, _ in wanted})
    return [
        *(("types[]", kind) for kind in kinds),
        ("created[gte]", str(int(min(moments).timestamp()) - _AROUND)),
        ("created[lte]", str(int(max(moments).timestamp()) + _AROUND)),
    ]


async def bring(
    document_type: str, entries: Sequence[Registered], list_events: List, read: Callable[[str], Awaitable[Any]]
) -> list[Polled]:
    """The messages of these entries: Stripe's own events while it lists them, else the same made from the object as it
    is now. Raises Problem."""
    wanted = {(kind, e.id) for e in entries for kind in events_of(document_type, e)}
    found: dict[tuple[str, str], Any] = {}
    async for raw in list_events(events_query(wanted, entries)):
        name = (str(raw["type"]), str(raw["data"]["object"]["id"]))
        if name in wanted:
            found[name] = raw
        if len(found) == len(wanted):
            break
    for kind, document_id in sorted(wanted - found.keys()):
        path = f"{path_of(document_type, document_id)}/{document_id}"
        found[kind, document_id] = as_event(kind, await read(path))
    return [polled(msgspec.json.encode(found[name])) for name in sorted(found)]


def as_event(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The event that Stripe would have sent, from the object as it is now. Its id is ours: should the vendor's own come
    later, it says the same, and nothing follows from it."""
    stamps = raw.get("status_transitions") or {}
    name = "voided_at" if kind.endswith(".voided") else "finalized_at"
    at = stamps.get(name) or raw.get(name) or raw.get("effective_at") or raw["created"]
    return {
        "id": f"register:{kind}:{raw['id']}",
        "object": "event",
        "type": kind,
        "created": int(at),
        "data": {"object": dict(raw)},
    }
