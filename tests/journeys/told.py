"""What the vendors told in a journey: one message of each sort that was carried, to be told again otherwise."""

from __future__ import annotations

from q2c.inbox.bodies import read_body
from q2c.inbox.claims import Claimed
from q2c.inbox.items import Source
from q2c.inbox.models import InboundKey


def messages() -> dict[tuple[str, str], tuple[Claimed, Source, bytes]]:
    """As the inbox claims it, who sent it, and its body as it came; by vendor and sort."""
    found = {}
    for key in InboundKey.objects.select_related("connection").filter(verdict="translated").exclude(event_id=None):
        row, event = key.connection, key.event
        source = Source(row.pk, row.code, row.vendor, row.settings)
        claimed = Claimed(
            key_id=key.pk, token=0, event_id=event.pk, connection_id=row.pk, event_type=event.event_type,
            source_id=event.source_id, received_at=event.received_at, attempts=0, body=b"", body_key=b"",
            customer_key_id=None,
        )  # fmt: skip
        found.setdefault((row.vendor, event.event_type), (claimed, source, read_body(event, key)))
    return found
