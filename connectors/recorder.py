"""Stores every exchange (redacted, then sealed under the customer's key, then written by COPY), and reads one back.

The hash is over what is stored, so that it still proves something after the customer's key was destroyed.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from django.db import connection as database

from connectors.http import Recorded
from connectors.models import Connection, Exchange
from q2c.core import customer_keys, stats, vault
from q2c.core.ids import uuid7
from q2c.core.redact import redact_body, redact_headers, redact_text

_COLUMNS = (
    "transaction_id", "id", "connection_id", "step", "verb", "method", "url", "status", "at", "took_ms",
    "correlation_id",
    "request", "response", "customer_key_id", "hash", "failure", "is_late",
)  # fmt: skip
_TYPES = (
    "uuid", "uuid", "int8", "varchar", "varchar", "varchar", "varchar", "int4", "timestamptz", "int4", "varchar",
    "bytea",
    "bytea", "uuid", "varchar", "varchar", "bool",
)  # fmt: skip
_COPY = f"COPY connectors_exchange ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
CALLS = (CALL_ANSWERED, CALL_REFUSED, CALL_THROTTLED, CALL_FAILED) = (
    "call_answered", "call_refused", "call_throttled", "call_failed",
)  # fmt: skip
ERASED = "[erased with the customer's key]"

# Whether a text may hold something to redact: cheap to ask, and true rather too often. A body without any of these
# marks is stored as it is; a test compares with the names and shapes that q2c.core.redact knows.
_MARKS = (
    *b"auth cookie signature assertion pwd pass csrf session jwt bearer card iban token secret key credential basic "
    b"_live_ _test_ whsec_ eyj v1= v0= cvc cvv".split(),
    b'"pin"', b'"pan"', b'"sid"', b"pin=", b"pan=", b"sid=", b"accountnumberfull", b"account_number_full",
)  # fmt: skip
_SHAPES = re.compile(rb"\d(?:[ -]?\d){12}|00D\w{12,15}!|://[^\s/@]*:[^\s/@]+@")


def is_suspect(text: bytes) -> bool:
    """Whether the redactor should look at it."""
    if not text:
        return False
    low = text.lower()
    for mark in _MARKS:  # written out: a generator costs more than what it looks for
        if mark in low:
            return True
    return _SHAPES.search(text) is not None


class Collector:
    """Takes exchanges in memory, from the event loop; the machine takes them out and writes them once per batch."""

    def __init__(self) -> None:
        self._rows: deque[Recorded] = deque()

    def __call__(self, noted: Recorded) -> None:
        self._rows.append(noted)

    def take(self) -> list[Recorded]:
        """What was recorded since the last call."""
        rows = []
        while self._rows:
            rows.append(self._rows.popleft())
        return rows


def write_exchanges(rows: Collection[Recorded], late: Collection[UUID] = ()) -> int:
    """Store exchanges with one COPY; `late` are the transactions whose worker had lost its lease. Gives how many.

    Exchanges without a transaction (polls, tokens, tests of a connection) get a fresh id in its place.
    """
    if not rows:
        return 0
    ids = _connection_ids({r.connection for r in rows})
    owners = customer_keys.ensure_keys({r.about.customer for r in rows if r.about.customer})
    keys = customer_keys.key_bytes(set(owners.values()))
    written = 0
    with database.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            if row.connection not in ids:
                continue  # a connection that was deleted meanwhile, or one of a test that has no row
            owner = owners.get(row.about.customer) if row.about.customer else None
            copy.write_row(_values(row, ids[row.connection], owner, keys, late))
            written += 1
    _count(row for row in rows if row.connection in ids)
    return written


def _count(rows: Iterable[Recorded]) -> None:
    """Count calls by how they ended (`CALLS`), about what was sent."""
    with stats.gathering():
        for row in rows:
            stats.note(
                outcome_of(row.status), connection_code=row.connection, about=row.about.object_type,
                seconds=row.took_ms / 1000,
            )  # fmt: skip


def outcome_of(status: int | None) -> str:
    """How a call ended, as it's counted: a refusal is an answer; a failure is what the breaker means by it."""
    if status is None or status >= 500:
        return CALL_FAILED
    if status == 429:
        return CALL_THROTTLED
    return CALL_REFUSED if status >= 400 else CALL_ANSWERED


def for_their_owners(rows: Iterable[Recorded], owners: Mapping[str, tuple[str, str]]) -> list[Recorded]:
    """What was read of people, ready to be stored: under its owner's key where the message that asked is known to be
    somebody's. Of anything else only size and hash of the answer stay: it may speak of many, whom no one key covers,
    and what it brought is kept as messages of their own.
    """
    rows = list(rows)
    for row in rows:
        owner = owners.get(row.about.correlation_id)
        if owner is not None:
            row.about = replace(row.about, customer=owner)
        elif row.status is not None and row.status < 300:
            row.leave_out_answer()
    return rows


def _values(
    row: Recorded, connection_id: int, owner: UUID | None, keys: Mapping[UUID, bytes | None], late: Collection[UUID]
) -> tuple:
    about = row.about
    key = None if owner is None else keys.get(owner) or vault.new_key()  # of an erased customer nothing stays readable
    parts = (_as_text(row.request_headers), row.request_body, _as_text(row.response_headers), row.response_body)
    # Asked of all of it at once: nearly every call is clean, and asking costs by the question rather than the byte.
    aside = f"{row.url}\n{row.failure}\n".encode("utf-8", "replace")
    if is_suspect(aside + b"\n".join(parts)):
        texts = redacted(row)
        url, failure = _clean(row.url), _clean(row.failure)
    else:
        texts = (parts[0] + b"\n" + parts[1], parts[2] + b"\n" + parts[3])
        url, failure = row.url, row.failure
    request, response = _sealed(texts[0], key), _sealed(texts[1], key)
    return (
        about.transaction_id or uuid7(),
        uuid7(),
        connection_id,
        about.step[:40],
        row.verb[:40],
        row.method,
        url[:600],
        row.status,
        row.at,
        row.took_ms,
        about.correlation_id[:40],
        request,
        response,
        owner,
        hashlib.sha256(request + b"\x1f" + response).hexdigest(),
        failure[:200],
        about.transaction_id in late,
    )


def redacted(row: Recorded) -> tuple[bytes, bytes]:
    """Request and response as texts of headers and body, as people may read them."""
    return _text(row.request_headers, row.request_body), _text(row.response_headers, row.response_body)


def _text(headers: Mapping[str, str], body: bytes) -> bytes:
    """Headers and body as one redacted text, as a screen shows it."""
    head = _as_text(headers)
    if is_suspect(head):
        head = _as_text(redact_headers(headers))
    if is_suspect(body):
        body = redact_body(body, headers.get("Content-Type", ""))
    return head + b"\n" + body


def _as_text(headers: Mapping[str, str]) -> bytes:
    return "".join([f"{k}: {v}\n" for k, v in headers.items()]).encode("utf-8", "replace")


def _clean(text: str) -> str:
    return redact_text(text) if is_suspect(text.encode("utf-8", "replace")) else text


def _sealed(plain: bytes, key: bytes | None) -> bytes:
    return vault.seal(plain, key) if key is not None else vault.seal_with_master(plain)


_known_ids: dict[str, int] = {}


def _connection_ids(codes: set[str]) -> dict[str, int]:
    if codes - _known_ids.keys():
        _known_ids.update(Connection.objects.filter(code__in=codes).values_list("code", "id"))
    return _known_ids


def forget_connection_ids() -> None:
    """Look connections up afresh (between tests)."""
    _known_ids.clear()


def read_exchange(exchange: Exchange) -> tuple[str, str]:
    """Request and response as text for a screen; `ERASED` where the customer's key was destroyed."""
    return _opened(exchange, bytes(exchange.request)), _opened(exchange, bytes(exchange.response))


def is_intact(exchange: Exchange) -> bool:
    """Whether what is stored still has its hash."""
    stored = bytes(exchange.request) + b"\x1f" + bytes(exchange.response)
    return hashlib.sha256(stored).hexdigest() == exchange.hash


def _opened(exchange: Exchange, stored: bytes | memoryview) -> str:
    sealed = bytes(stored)
    try:
        if exchange.customer_key_id is None:
            plain = vault.open_with_master(sealed)
        else:
            key = customer_keys.key_bytes({exchange.customer_key_id}).get(exchange.customer_key_id)
            if key is None:
                return ERASED
            plain = vault.open_sealed(sealed, key)
    except vault.Unsealable:
        return ERASED
    return plain.decode("utf-8", "replace")


def record_now(rows: Iterable[Recorded]) -> None:
    """Store single calls at once: a test of a connection, a poll."""
    write_exchanges(list(rows))
