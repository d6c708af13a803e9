"""Write what happened for subscribers, in the database transaction of the fact itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7

_WRITE = """
INSERT INTO outbox_outboxevent (id, event_type, subject, transaction_id, legal_entity_code, correlation_id, at, data)
SELECT n.id, n.event_type, n.subject, n.transaction_id, n.legal_entity, n.correlation_id, now(), n.data::jsonb
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[])
    AS n (id, event_type, subject, transaction_id, legal_entity, correlation_id, data)
"""


@dataclass(frozen=True)
class Announcement:
    """A past-tense fact. `subject` is what it is about: deliveries are in order per subject."""

    event_type: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)  # plain JSON, money as strings
    transaction_id: UUID | None = None
    legal_entity_code: str = ""
    correlation_id: str = ""


def publish(announcements: Iterable[Announcement]) -> None:
    """Store them in order, in one statement. They exist if the caller's transaction commits, and only then."""
    rows = [
        (uuid7(), a.event_type[:80], a.subject[:200], a.transaction_id, a.legal_entity_code, a.correlation_id[:40],
         json.dumps(a.data))
        for a in announcements
    ]  # fmt: skip
    if rows:
        fetch_rows(_WRITE, [list(column) for column in zip(*rows, strict=True)])
