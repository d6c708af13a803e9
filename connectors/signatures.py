"""Proof that a message comes from whom it says: HMAC over the raw body with a time window, or a secret known to both.
Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable, Mapping


class Refused(Exception):
    """The message isn't proved. `reason` is one of `missing`, `malformed`, `timestamp`, `signature`, `organization`."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value whatever its case. Raises Refused when it's missing."""
    wanted = name.lower()
    for given, value in headers.items():
        if given.lower() == wanted:
            return value
    raise Refused("missing", f"the header {name} is missing")


def check_time(timestamp: str, now: dt.datetime, *, tolerance_seconds: float, refuses_future: bool = True) -> None:
    """Raises Refused when a Unix timestamp lies further from now than the tolerance, or isn't one.

    A vendor whose own library lets early timestamps pass (its clock may be ahead) says `refuses_future=False`.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Refused("malformed", "the timestamp isn't a number")
    age = now.timestamp() - int(timestamp)
    if (abs(age) if refuses_future else age) > tolerance_seconds:
        raise Refused("timestamp", f"the timestamp is more than {tolerance_seconds:.0f} s away")


def check_hmac(message: bytes, given: Iterable[str], secrets: Iterable[str]) -> None:
    """Raises Refused unless one of the hex signatures is the HMAC-SHA256 under one of the secrets (two while
    rotating)."""
    offered = [g.encode() for g in given]
    for secret in secrets:
        expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest().encode()
        if sum(hmac.compare_digest(expected, o) for o in offered):  # every one is compared, in constant time
            return
    raise Refused("signature", "no signature fits")


def check_secret(given: str, secrets: Iterable[str]) -> None:
    """Raises Refused unless the secret of the address is one of ours."""
    if not sum(hmac.compare_digest(given.encode(), s.encode()) for s in secrets):
        raise Refused("signature", "the secret of the address doesn't fit")
