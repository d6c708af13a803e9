"""Store what arrived, once. Never interprets: one statement writes the event and its key, or counts a duplicate."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from q2c.core import tracing, vault
from q2c.core.hotpath import fetch_rows, on_living_connection
from q2c.core.ids import digest, uuid7

# A duplicate touches the key's counter and returns the first event's id, so its own event row finds no partner and
# isn't written. Keys are sorted, so two deliveries of the same messages can't deadlock.
_STORE = """
WITH new AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(keys)s::text[], %(types)s::text[], %(sources)s::text[],
                         %(headers)b::bytea[], %(bodies)b::bytea[], %(hashes)s::text[],
                         %(sizes)s::int4[], %(body_keys)b::bytea[])
        AS n (id, dedupe_key, event_type, source_id, headers, body, body_hash, size_bytes, body_key)),
kept AS (
    INSERT INTO inbox_inboundkey AS k
        (connection_id, dedupe_key, event_id, received_at, available_at, body_key, is_polled_only)
    SELECT %(connection)s, dedupe_key, id, now(), now(), body_key, %(lacks_webhook)s FROM new
    ON CONFLICT (connection_id, dedupe_key) DO UPDATE SET duplicate_count = k.duplicate_count + 1,
        is_polled_only = k.is_polled_only AND %(via)s <> 'webhook'
    RETURNING k.event_id),
stored AS (
    INSERT INTO inbox_inboundevent
        (id, connection_id, event_type, source_id, via, received_at, headers, body, body_hash, size_bytes)
    SELECT n.id, %(connection)s, n.event_type, n.source_id, %(via)s, now(), n.headers, n.body, n.body_hash, n.size_bytes
    FROM new n JOIN kept ON kept.event_id = n.id
    RETURNING id)
SELECT kept.event_id, stored.id IS NOT NULL FROM kept LEFT JOIN stored ON stored.id = kept.event_id
"""

# The same for one message, without arrays: what almost every webhook brings.
_STORE_ONE = """
WITH kept AS (
    INSERT INTO inbox_inboundkey AS k
        (connection_id, dedupe_key, event_id, received_at, available_at, body_key, is_polled_only)
    VALUES (%(connection)s, %(keys)s, %(ids)s, now(), now(), %(body_keys)b, %(lacks_webhook)s)
    ON CONFLICT (connection_id, dedupe_key) DO UPDATE SET duplicate_count = k.duplicate_count + 1,
        is_polled_only = k.is_polled_only AND %(via)s <> 'webhook'
    RETURNING k.event_id),
stored AS (
    INSERT INTO inbox_inboundevent
        (id, connection_id, event_type, source_id, via, received_at, headers, body, body_hash, size_bytes)
    SELECT kept.event_id, %(connection)s, %(types)s, %(sources)s, %(via)s, now(), %(headers)b, %(bodies)b, %(hashes)s,
           %(sizes)s
    FROM kept WHERE kept.event_id = %(ids)s
    RETURNING id)
SELECT kept.event_id, stored.id IS NOT NULL FROM kept LEFT JOIN stored ON stored.id = kept.event_id
"""
_COLUMNS = ("ids", "keys", "types", "sources", "headers", "bodies", "hashes", "sizes", "body_keys")

_COUNT_REFUSAL = """
INSERT INTO inbox_refusal AS r (connection_code, reason, hour, count, last_at, last_detail)
VALUES (%s, %s, date_trunc('hour', now()), 1, now(), %s)
ON CONFLICT (connection_code, reason, hour)
DO UPDATE SET count = r.count + 1, last_at = now(), last_detail = excluded.last_detail
"""


@dataclass(frozen=True)
class Arrival:
    """One message as it came. `dedupe_key` is the vendor's own id of it, or what makes it unique."""

    event_type: str
    source_id: str
    dedupe_key: str
    body: bytes
    occurred_at: dt.datetime | None = None


@dataclass(frozen=True)
class Received:
    """What became of a delivery: the ids of new events, and of the events that were there already."""

    new: tuple[UUID, ...] = ()
    known: tuple[UUID, ...] = ()


def receive(
    connection_id: int, arrivals: Iterable[Any], *, via: str, headers: Mapping[str, str] | None = None,
    lacks_webhook: bool = False,
) -> Received:  # fmt: skip
    """Store messages of one connection (`Arrival` or `families.Polled`), each once, in one round trip. `lacks_webhook`:
    a webhook should have brought them; until it does, they count as lost ones.

    Committed when this returns, unless a transaction is open. Raises psycopg.Error when the database is away.
    """
    unique = {clean(a.dedupe_key, 250): a for a in arrivals}
    if not unique:
        return Received()
    head = msgspec.json.encode(dict(headers or {}))
    rows = [_sealed_row(key, unique[key], head) for key in sorted(unique)]
    shared = {"connection": connection_id, "via": via, "lacks_webhook": lacks_webhook}
    if len(rows) == 1:
        sql, values = _STORE_ONE, dict(zip(_COLUMNS, rows[0], strict=True))
    else:
        sql, values = _STORE, {name: [row[i] for row in rows] for i, name in enumerate(_COLUMNS)}
    answer = on_living_connection(lambda: fetch_rows(sql, values | shared))
    tracing.begin((event_id for event_id, is_new in answer if is_new), "receive", via=via)
    return Received(
        new=tuple(event_id for event_id, is_new in answer if is_new),
        known=tuple(event_id for event_id, is_new in answer if not is_new),
    )


def _sealed_row(dedupe_key: str, arrival: Any, head: bytes) -> tuple[Any, ...]:
    key = vault.new_key()
    body = vault.seal(arrival.body, key)
    return (
        uuid7(),
        dedupe_key,
        clean(arrival.event_type, 120),
        clean(arrival.source_id, 200),
        vault.seal(head, key),
        body,
        hashlib.sha256(body).hexdigest(),
        len(arrival.body),
        vault.seal_with_master(key),
    )


def count_refusal(connection_code: str, reason: str, detail: str = "") -> None:
    """Count a request at the door that isn't stored, per connection, reason and hour. Raises psycopg.Error."""
    fetch_rows(_COUNT_REFUSAL, [clean(connection_code, 40), reason, clean(detail, 300)])


def clean(text: str, limit: int) -> str:
    """Text that PostgreSQL takes (no NUL, no lone surrogates), at most `limit` long; a longer one ends in its hash."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return text if len(text) <= limit else f"{text[: limit - 17]}#{digest(text)[:16]}"
