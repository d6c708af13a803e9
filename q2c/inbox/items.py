"""One event on its way from the inbox to a verdict, and the functions of other rooms that carry it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from connectors.manifest import Manifest
from q2c.core import vault
from q2c.core.problems import Problem
from q2c.inbox.bodies import is_erased, open_event_key
from q2c.inbox.claims import Claimed


@dataclass(frozen=True)
class Source:
    """The connection that an event came from, as translation needs it."""

    id: int
    code: str
    vendor: str
    settings: dict[str, Any]


@dataclass
class Verdict:
    """What becomes of one event. `kind` is translated, ignored, refused, or later (due after `wait_seconds`)."""

    kind: str
    code: str = ""
    reason: str = ""
    problem: Problem | None = None
    wait_seconds: float = 0.0
    customer_id: str = ""
    amount: Decimal | None = None
    currency: str = ""
    line_count: int = 0
    document_type: str = ""
    feed: str = ""
    feed_type: str = ""
    rounding: Decimal = Decimal(0)
    legal_entity_code: str = ""


@dataclass
class Item:
    """One claimed event on its way to a verdict."""

    claimed: Claimed
    source: Source
    event_key: bytes = b""
    body: bytes | None = None
    events: list[Any] = field(default_factory=list)
    verdict: Verdict | None = None

    def open_body(self) -> bytes:
        """The body as it came. Raises vault.Unsealable for an erased customer."""
        if self.body is None:
            self.event_key = open_event_key(self.claimed.body_key, self.claimed.customer_key_id)
            self.body = vault.open_sealed(self.claimed.body, self.event_key)
        return self.body

    @property
    def is_erased(self) -> bool:
        """Whether its customer was erased: it can't be read again."""
        return is_erased(self.claimed.customer_key_id)

    @property
    def decided(self) -> Verdict:
        """The verdict, once there is one."""
        if self.verdict is None:
            raise ValueError("no verdict yet")
        return self.verdict


@dataclass(frozen=True)
class Tools:
    """The functions of other rooms."""

    sources: Callable[[Iterable[int]], dict[int, Source]]
    manifest: Callable[[str], Manifest]
    client: Callable[[Source], Any]
    carry: Callable[[list[Item]], Any]  # records and dispatch; sets each item's verdict; inside our transaction
    open_case: Callable[..., Any]
    # What couldn't be read before: key, id and the vendor's instant of what could be now.
    close_read: Callable[[list[tuple[str, UUID, dt.datetime]]], Any]
    pause: Callable[[str, Problem], None]  # a connection whose credentials were refused
