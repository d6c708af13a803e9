"""Stripe's own register: which lists hold a document type, what an entry says, and the events that bring it.

Lists are asked by when an object was made, not by when it became a document: a draft is finalized an hour later or, by
hand, days later, and a payment by bank transfer takes days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from connectors.families import Polled, Registered
from connectors.fields import dig, unix
from connectors.stripe.door import polled
from connectors.stripe.events import UNDATED
from connectors.stripe.inbound import currency_of, id_of, invoice_notes
from connectors.stripe.inbound_cash import captured_units, disputed_movement
from connectors.stripe.money import from_minor
from connectors.stripe.polling import List

MADE_BEFORE = {
    "invoice": dt.timedelta(days=2),
    "credit_memo": dt.timedelta(),
    "payment": dt.timedelta(days=7),
    "refund": dt.timedelta(days=7),
    "payout": dt.timedelta(days=7),
    "dispute": dt.timedelta(days=120),  # from an inquiry to the money, and to the bank's decision, months pass
}
LISTS = {
    "invoice": ("/v1/invoices",),
    "credit_memo": ("/v1/credit_notes",),
    "payment": ("/v1/payment_intents", "/v1/charges"),
    "refund": ("/v1/refunds",),
    "payout": ("/v1/payouts",),
    "dispute": ("/v1/disputes",),
}
_LISTED_WITH = {"dispute": ("charge",)}  # what of an object says whose it is
_AROUND = 3600  # seconds around what is looked for, in which its event is
_EVENTS = {  # what brings it, and what brings its end
    "invoice": ("invoice.finalized", "invoice.voided"),
    "credit_memo": ("credit_note.created", "credit_note.voided"),
    "payment": ("payment_intent.succeeded",),
    "refund": ("refund.updated",),  # its own state says which of both; the event of its creation may say: pending
    "payout": ("payout.paid", "payout.failed"),
    "dispute": ("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
}
_LATER = {"charge.captured": "charge.succeeded"}  # says of a charge that was only authorised what the other one didn't
_EXPANDED = {  # what of an object says when its money moved
    "/v1/payment_intents": ("latest_charge.balance_transaction",),
    "/v1/charges": ("balance_transaction",),
    "/v1/refunds": ("balance_transaction", "failure_balance_transaction"),
    "/v1/payouts": ("failure_balance_transaction",),
}
# Methods of payment that go through at once. Debits, vouchers and transfers take days, and Stripe makes their charge
# and its movement on the balance when they are begun (support.stripe.com, "Balance Transaction behavior for debit
# payment methods"): neither says when they went through.
AT_ONCE = frozenset({
    "affirm", "afterpay_clearpay", "alipay", "amazon_pay", "bancontact", "blik", "card", "card_present", "cashapp",
    "eps", "giropay", "ideal", "interac_present", "klarna", "link", "mobilepay", "p24", "paypal", "revolut_pay",
    "twint", "wechat_pay",
})  # fmt: skip
Query = list[tuple[str, str]]
Read = Callable[[str, Query], Awaitable[Any]]


def path_of(document_type: str, document_id: str) -> str:
    """The list in which an object of this id stands: a payment is an intent or a charge."""
    return "/v1/charges" if document_id.startswith(("ch_", "py_")) else LISTS[document_type][0]


def expanded(document_type: str, within: str = "") -> Query:
    """What is asked for with each of its objects, to know whose it is."""
    return [("expand[]", f"{within}{name}") for name in _LISTED_WITH.get(document_type, ())]


def entry(document_type: str, raw: Mapping[str, Any]) -> Registered | None:
    """An object as a register's entry; None for what is no document (a draft, money that hasn't moved)."""
    if document_type == "dispute":
        return _dispute(raw)
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


def _dispute(raw: Mapping[str, Any]) -> Registered | None:
    """A dispute as what it moved last on the balance, of the day on which it took the money. An inquiry moves none."""
    taken, given = (disputed_movement(raw, is_won=is_won) for is_won in (False, True))
    moved = given or taken
    if moved is None:
        return None
    currency = currency_of(moved)
    notes = (raw.get("metadata") or {}) | (dig(raw, "charge.metadata") or {})
    return Registered(
        document_type="dispute",
        id=str(raw["id"]),
        made_at=unix(raw["created"]),
        dated=unix((taken or moved)["created"]),
        currency=currency,
        amount=from_minor(abs(moved["amount"]), currency),
        customer_id=id_of(dig(raw, "charge.customer")),
        legal_entity=str(notes.get("legal_entity") or ""),
        status="won" if given else "",
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
        return captured_units(raw) if is_cash else None
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


def events_query(wanted: Collection[tuple[str, str]], entries: Sequence[Registered]) -> Query:
    """Where Stripe's own events of these entries are listed."""
    moments = [m for e in entries for m in (e.made_at, e.dated if isinstance(e.dated, dt.datetime) else e.made_at)]
    return [
        *_types(wanted),
        ("created[gte]", str(int(min(moments).timestamp()) - _AROUND)),
        ("created[lte]", str(int(max(moments).timestamp()) + _AROUND)),
    ]


def _types(wanted: Iterable[tuple[str, str]]) -> Query:
    kinds = {kind for kind, _ in wanted}
    kinds |= {later for later, first in _LATER.items() if first in kinds}
    return [("types[]", kind) for kind in sorted(kinds)]


async def bring(document_type: str, entries: Sequence[Registered], list_events: List, read: Read) -> list[Polled]:
    """The messages of these entries: Stripe's own events while it lists them, else the same made from the object as it
    is now. One that went through days after it was begun, on a day that the object doesn't say, is looked for among all
    events since, and is undated where it isn't there either. Raises Problem."""
    wanted = {(kind, e.id) for e in entries for kind in events_of(document_type, e)}
    found = await _listed(list_events, events_query(wanted, entries), wanted)
    for kind, document_id in sorted(wanted - found.keys()):
        path = path_of(document_type, document_id)
        expanded = [("expand[]", name) for name in _EXPANDED.get(path, ())]
        found[kind, document_id] = as_event(kind, await read(f"{path}/{document_id}", expanded))
    undated = {name for name, event in found.items() if event.get(UNDATED)}
    if undated:
        begun = min(found[name]["created"] for name in undated)
        found |= await _listed(list_events, [*_types(undated), ("created[gte]", str(begun))], undated)
    in_order = sorted(found, key=lambda name: (found[name]["created"], name))  # what came back went before
    return [polled(msgspec.json.encode(found[name])) for name in in_order]


async def _listed(list_events: List, query: Query, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Stripe's own events of these, as far as it lists them there; none of a charge that isn't captured yet, or of a
    refund that was changed otherwise than in its state."""
    found: dict[tuple[str, str], Any] = {}
    async for raw in list_events(query):
        about, before = raw["data"]["object"], raw["data"].get("previous_attributes") or {}
        name = (_LATER.get(raw["type"], str(raw["type"])), str(about["id"]))
        says_it = about.get("captured", True) and (raw["type"] != "refund.updated" or "status" in before)
        if name in wanted and says_it:
            found[name] = raw
        if len(found) == len(wanted):
            break
    return found


def as_event(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The event that Stripe would have sent, from the object as it is now. Its id is ours: should the vendor's own come
    later, it says the same, and nothing follows from it. `UNDATED` where the object doesn't say when it happened."""
    at = _happened_at(kind, raw)
    return {
        "id": f"register:{kind}:{raw['id']}",
        "object": "event",
        "type": kind,
        "created": int(raw["created"] if at is None else at),
        "data": {"object": dict(raw)},
        **({UNDATED: True} if at is None else {}),
    }


def _happened_at(kind: str, raw: Mapping[str, Any]) -> Any:
    """When it happened, in Unix time: a document when it was issued or voided, money when it moved. None where the
    object, with what was expanded, doesn't say."""
    if kind.startswith("charge.dispute."):
        moved = disputed_movement(raw, is_won=kind.endswith("reinstated"))
        return moved and moved["created"]
    if kind.startswith(("payment_intent.", "charge.")):
        return _received_at(raw)
    failed = dig(raw, "failure_balance_transaction.created")
    if kind == "payout.failed":
        return failed or raw["created"]
    if kind.startswith("refund."):
        if raw.get("status") == "failed":
            return failed
        is_at_once = (dig(raw, "destination_details.type") or "card") in AT_ONCE
        return (dig(raw, "balance_transaction.created") or raw["created"]) if is_at_once else None
    stamps = raw.get("status_transitions") or {}
    name = "voided_at" if kind.endswith(".voided") else "finalized_at"
    return stamps.get(name) or raw.get(name) or raw.get("effective_at") or raw["created"]


def _received_at(raw: Mapping[str, Any]) -> Any:
    """Of a payment intent or charge: when its movement on the balance was made, which is when it was captured; without
    one, when a charge was made that is captured by itself."""
    is_intent = raw.get("object") == "payment_intent"
    charge = raw.get("latest_charge") if is_intent else raw
    if not isinstance(charge, Mapping) or dig(charge, "payment_method_details.type") not in AT_ONCE:
        return None
    is_captured_at_once = is_intent and raw.get("capture_method") != "manual"
    return dig(charge, "balance_transaction.created") or (charge["created"] if is_captured_at_once else None)
