"""Opening stored messages: the event's own key is sealed by the master key, later by its customer's."""

from __future__ import annotations

import hashlib
from uuid import UUID

import msgspec

from q2c.core import vault
from q2c.core.customer_keys import key_bytes
from q2c.inbox.models import InboundEvent, InboundKey


def is_erased(customer_key_id: UUID | None) -> bool:
    """Whether what is sealed under this customer's key can't be opened again, by nobody."""
    return customer_key_id is not None and key_bytes([customer_key_id])[customer_key_id] is None


def open_event_key(body_key: bytes, customer_key_id: UUID | None) -> bytes:
    """The key under which an event's body and headers are sealed. Raises vault.Unsealable for an erased customer."""
    if customer_key_id is None:
        return vault.open_with_master(body_key)
    key = key_bytes([customer_key_id])[customer_key_id]
    if key is None:
        raise vault.Unsealable("this customer was erased")
    return vault.open_sealed(body_key, key)


def read_body(event: InboundEvent, key: InboundKey) -> bytes:
    """The body as it came. Raises vault.Unsealable when its customer was erased or the stored bytes were changed."""
    if hashlib.sha256(bytes(event.body)).hexdigest() != event.body_hash:
        raise vault.Unsealable("the stored bytes were changed")
    return vault.open_sealed(bytes(event.body), open_event_key(bytes(key.body_key), key.customer_key_id))


def read_headers(event: InboundEvent, key: InboundKey) -> dict[str, str]:
    """The headers that were kept. Raises vault.Unsealable like `read_body`."""
    opened = vault.open_sealed(bytes(event.headers), open_event_key(bytes(key.body_key), key.customer_key_id))
    return msgspec.json.decode(opened, type=dict[str, str])
