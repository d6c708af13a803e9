"""Idempotency-Key: the first accepted answer is stored with its effect and given again for 72 hours.

The scope of a key is client and route. While the first request runs, its advisory lock is held: a second one is told to
come back. A process that dies loses the lock and its uncommitted effect together, so the next attempt runs afresh.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from q2c.api.problems import ApiProblem
from q2c.core.hotpath import fetch_rows
from q2c.core.ids import digest
from q2c.inbox.models import ApiRequest

KEPT = dt.timedelta(hours=72)
RETRY_AFTER = 1
_PRINTABLE = re.compile(r"^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$")
_encoder = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True)
class Accepted:
    """An accepted answer."""

    status: int
    body: dict[str, Any]
    location: str = ""
    is_replay: bool = False


def key_of(header: str | None) -> str:
    """The key, without one pair of quotes (a Structured Field string) if it has them. Raises ApiProblem 400."""
    if header is None or not header.strip():
        raise ApiProblem(400, "idempotency-key-missing", "An Idempotency-Key is needed",
                         "Send an Idempotency-Key header, and repeat with the same one.")  # fmt: skip
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _PRINTABLE.match(key):
        raise ApiProblem(400, "idempotency-key-malformed", "The Idempotency-Key can't be used",
                         "It has 1 to 255 printable ASCII characters.")  # fmt: skip
    return key


def fingerprint(body: Any, query: str) -> str:
    """The hash of what was asked for: the order of JSON members and the spaces between them don't count."""
    return hashlib.sha256(_encoder.encode([body, query])).hexdigest()


def answer_once(*, client_id: str, route: str, key: str, print_: str, effect: Callable[[], Accepted]) -> Accepted:
    """Run `effect` once for this key, or give its stored answer.

    Raises ApiProblem 409 or 422, and what `effect` raises: a refused request stores nothing and is judged anew when it
    comes again.
    """
    with transaction.atomic():
        lock = int(digest("idempotency", client_id, route, key)[:15], 16)
        if not fetch_rows("SELECT pg_try_advisory_xact_lock(%s::int8)", [lock])[0][0]:
            raise ApiProblem(409, "idempotency-in-progress", "The first request still runs",
                             "Ask again in a moment with the same key.", retry_after=RETRY_AFTER)  # fmt: skip
        now = timezone.now()
        scope: dict[str, Any] = {"client_id": client_id, "route": route, "key": key}
        stored = ApiRequest.objects.filter(**scope).first()
        if stored is not None and stored.expires_at > now:
            if stored.fingerprint != print_:
                raise ApiProblem(422, "idempotency-key-reused", "This key was used for another request",
                                 "Use a new Idempotency-Key for a new request.")  # fmt: skip
            return Accepted(stored.status, stored.body, stored.location, is_replay=True)
        accepted = effect()
        ApiRequest.objects.update_or_create(
            **scope,
            defaults={"fingerprint": print_, "status": accepted.status, "body": accepted.body,
                      "location": accepted.location, "at": now, "expires_at": now + KEPT},
        )  # fmt: skip
        return accepted
