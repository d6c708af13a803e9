"""Signs what a program is sent, as Standard Webhooks 1.0.0 says: HMAC-SHA256 over id, instant and body. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"
BYTES_LEAST, BYTES_MOST = 24, 64
_DIFFERENT_LEAST = 12  # of 24 random bytes nearly all are different


class SecretRefused(ValueError):
    """A secret that may not sign; the text says why, never what it is."""


def key_of(secret: str) -> bytes:
    """The key of a secret as it's written: the bytes behind `whsec_`, in base64. Raises SecretRefused."""
    if not secret.startswith(PREFIX):
        raise SecretRefused(f"A secret begins with {PREFIX}.")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretRefused(f"What follows {PREFIX} has to be base64, with its = at the end.") from error
    if not BYTES_LEAST <= len(key) <= BYTES_MOST:
        raise SecretRefused(f"It has {len(key)} bytes; {BYTES_LEAST} to {BYTES_MOST} random ones are needed.")
    if len(set(key)) < _DIFFERENT_LEAST:
        raise SecretRefused("That isn’t random. Have it made, as by: openssl rand -base64 32")
    return key


def sign(message_id: str, at: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The headers of a message sent at that Unix second; signed with each secret, so that one can be rolled."""
    signed = f"{message_id}.{at}.".encode() + body
    made = [hmac.new(key_of(secret), signed, hashlib.sha256).digest() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in made),
    }
