"""Idempotency-Key: the header read and judged, and what `inbox.once` refuses told as a problem of the API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from q2c.api.problems import ApiProblem
from q2c.inbox import once
from q2c.inbox.once import Accepted

RETRY_AFTER = 1
_PRINTABLE = re.compile(r"^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$")
_encoder = msgspec.json.Encoder(order="sorted")


def key_of(header: str | None) -> str:
    """The key, without one pair of quotes (a Structured Field string) if it has them. Raises ApiProblem 400."""
    if header is None or not header.strip():
        raise ApiProblem(400, "idempotency-key-missing", "An Idempotency-Key is needed",
                         "Send an Idempotency-Key header, and repeat with the same one.")  # fmt: skip
    key = header.strip()
    is_quoted = len(key) >= 2 and key[0] == key[-1] == '"'
    if is_quoted:
        key = key[1:-1]
    is_list = '"' in key or (not is_quoted and "," in key)  # of two headers a server makes one with a comma
    if is_list or not _PRINTABLE.match(key):
        raise ApiProblem(400, "idempotency-key-malformed", "The Idempotency-Key can't be used",
                         "It is one key of 1 to 255 printable ASCII characters.")  # fmt: skip
    return key


def fingerprint(body: Any, query: str) -> str:
    """The hash of what was asked for: the order of JSON members and the spaces between them don't count."""
    return hashlib.sha256(_encoder.encode([body, query])).hexdigest()


def answer_once(*, client_id: str, route: str, key: str, print_: str, effect: Callable[[], Accepted]) -> Accepted:
    """Run `effect` once for this key, or give its stored answer.

    Raises ApiProblem 409 or 422, and what `effect` raises: a refused request stores nothing and is judged anew when it
    comes again.
    """
    try:
        accepted = once.answer_once(client_id=client_id, route=route, key=key, print_=print_, effect=effect)
    except once.StillRunning:
        raise ApiProblem(409, "idempotency-in-progress", "The first request still runs",
                         "Ask again in a moment with the same key.", retry_after=RETRY_AFTER) from None  # fmt: skip
    except once.KeyReused:
        raise ApiProblem(422, "idempotency-key-reused", "This key was used for another request",
                         "Use a new Idempotency-Key for a new request.") from None  # fmt: skip
    assert accepted is not None  # an effect of the API always answers
    return accepted
