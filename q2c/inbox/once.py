"""Doing a thing once per key: the first accepted answer is stored with its effect and given again for 72 hours.

The one mechanism behind the API's Idempotency-Key and the keys that forms carry. The scope of a key is caller and
route. While the first request runs, its advisory lock is held. A process that dies loses the lock and its uncommitted
effect together, so the next attempt runs afresh.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from q2c.core.hotpath import fetch_rows
from q2c.core.ids import digest
from q2c.inbox.models import ApiRequest

KEPT = dt.timedelta(hours=72)


@dataclass(frozen=True)
class Accepted:
    """An accepted answer."""

    status: int
    body: dict[str, Any]
    location: str = ""
    is_replay: bool = False


class StillRunning(Exception):
    """The first request with this key hasn't ended yet."""


class KeyReused(Exception):
    """The key was used for another request."""


def answer_once(
    *, client_id: str, route: str, key: str, print_: str, effect: Callable[[], Accepted | None], waits: bool = False
) -> Accepted | None:
    """Run `effect` once for this key, or give its stored answer. `waits`: for the end of a first one that still runs.

    None from `effect` is an answer that isn't worth keeping: what it did holds, and the request is judged anew when it
    comes again. Raises StillRunning, KeyReused, and what `effect` raises (then nothing is stored).
    """
    with transaction.atomic():
        lock = int(digest("idempotency", client_id, route, key)[:15], 16)
        if waits:
            fetch_rows("SELECT pg_advisory_xact_lock(%s::int8)::text", [lock])
        elif not fetch_rows("SELECT pg_try_advisory_xact_lock(%s::int8)", [lock])[0][0]:
            raise StillRunning
        now = timezone.now()
        scope: dict[str, Any] = {"client_id": client_id, "route": route, "key": key}
        stored = ApiRequest.objects.filter(**scope).first()
        if stored is not None and stored.expires_at > now:
            if stored.fingerprint != print_:
                raise KeyReused
            return Accepted(stored.status, stored.body, stored.location, is_replay=True)
        accepted = effect()
        if accepted is not None:
            ApiRequest.objects.update_or_create(
                **scope,
                defaults={"fingerprint": print_, "status": accepted.status, "body": accepted.body,
                          "location": accepted.location, "at": now, "expires_at": now + KEPT},
            )  # fmt: skip
        return accepted
