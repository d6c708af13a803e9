"""How Stripe's webhooks are let in: signature with tolerance, under either of two secrets while one is rotated.
Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.families import Polled
from connectors.signatures import Refused, check_hmac, check_time, header

TOLERANCE_SECONDS = 300.0  # the SDK's default


class _Object(msgspec.Struct):
    id: str = ""


class _Data(msgspec.Struct):
    object: _Object


class Event(msgspec.Struct):
    """As much of an event as the door reads."""

    id: str
    type: str
    created: int
    data: _Data


_decode = msgspec.json.Decoder(Event).decode


def verify(
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    secrets: Mapping[str, str],
    settings: Mapping[str, Any],
    now: dt.datetime,
) -> None:
    """Raises signatures.Refused unless `Stripe-Signature` proves the raw body. Only `v1` signatures count."""
    parts = [p.strip().partition("=") for p in header(headers, "Stripe-Signature").split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    if len(stamps) != 1:
        raise Refused("malformed", "Stripe-Signature has no timestamp")
    # Stripe's own library refuses old timestamps only (SDK `_webhook.py`).
    check_time(stamps[0], now, tolerance_seconds=TOLERANCE_SECONDS, refuses_future=False)
    ours = [secrets[n] for n in ("webhook_secret", "webhook_secret_previous") if secrets.get(n)]
    check_hmac(f"{stamps[0]}.".encode() + body, [value for name, _, value in parts if name == "v1"], ours)


def split(body: bytes, headers: Mapping[str, str]) -> list[Polled]:
    """The one event of a delivery. Raises ValueError (msgspec's) for a body that isn't an event."""
    return [polled(body)]


def polled(body: bytes) -> Polled:
    """An event as it came, by webhook or poll: the same event has the same key either way."""
    event = _decode(body)
    return Polled(
        event_type=event.type,
        source_id=event.data.object.id,
        dedupe_key=event.id,
        body=body,
        occurred_at=dt.datetime.fromtimestamp(event.created, dt.UTC),
    )
