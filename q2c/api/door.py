"""The webhook door, without the web framework: proof, size, storage in one round trip, acknowledgement.

Both `q2c.wsgi` (straight from the server, no middleware) and the Django view call `answer_webhook`.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from django.conf import settings
from django.db import Error

from connectors import registry
from connectors.manifest import WebhookDoor
from connectors.models import Connection
from connectors.signatures import Refused
from q2c.core.hotpath import on_living_connection
from q2c.core.vault import Unsealable
from q2c.flows.nudger import nudge_inbox
from q2c.inbox.models import InboundEvent
from q2c.inbox.receive import count_refusal, receive

REMEMBERED_SECONDS = 5.0  # how long a connection's facts and secrets are kept in memory
ASKED_AGAIN_SECONDS = 1.0  # a refused proof looks for a rotated secret at most this often
CHUNK = 65_536
KEPT_MAX = 500
UNKNOWN = ""  # refusals at unknown addresses are counted under one name, or anybody could fill the table

# What may be sealed beside the body as evidence: what proves and describes the message, never a cookie or a credential.
_DROPPED = frozenset({"cookie", "authorization", "proxy-authorization", "x-csrftoken", "x-forwarded-for", "x-real-ip"})
log = structlog.get_logger()


@dataclass(frozen=True)
class Answer:
    """What the sender gets."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Known:
    """A connection as the door knows it."""

    id: int
    code: str
    door: WebhookDoor
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    read_at: float = 0.0


class _Turned(Exception):
    """The request isn't let in."""

    def __init__(self, status: int, reason: str, says: str) -> None:
        super().__init__(says)
        self.status, self.reason = status, reason


_known: dict[str, tuple[_Known | None, float]] = {}  # with when it's read again; one look-up, as threads forget too


def answer_webhook(
    *,
    method: str,
    address: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    length: int | None,
    read: Callable[[int], bytes],
) -> Answer:
    """Let one message in. `address` follows /webhooks/ (connection, perhaps a secret); header names are lower case.

    400 malformed, 401 not proved, 404 no such door, 405, 413 too large (read no further than the limit), 503 while the
    database is away. Refusals are counted. Nothing is acknowledged before it's committed.
    """
    code, _, secret = address.strip("/").partition("/")
    try:
        known = on_living_connection(lambda: _connection(code))  # no request of Django's looks after this thread's
        if known is None:
            raise _Turned(404, "connection", "there is no such connection")
        if method != "POST":
            return Answer(405, _says("only POST is taken here"), headers=(("Allow", "POST"),))
        body = _read_body(read, length)
        proved = _proved(known, body, headers, {**query, "path_secret": secret})
        arrivals = _split(proved, body, headers)
        receive(proved.id, arrivals, via=InboundEvent.Via.WEBHOOK, headers=_kept(headers))
    except _Turned as turned:
        _count(code if turned.status != 404 else UNKNOWN, turned)
        return Answer(turned.status, _says(str(turned)))
    except (psycopg.Error, Error) as error:
        log.warning("webhook_not_stored", connection=code, error=str(error))
        return Answer(503, _says("try again later"), headers=(("Retry-After", "5"),))
    nudge_inbox()
    status, content_type, text = proved.door.acknowledge
    return Answer(status, text.encode(), content_type)


def forget_connections() -> None:
    """Drop what is remembered of connections (between tests)."""
    _known.clear()


def _connection(code: str, *, afresh: bool = False) -> _Known | None:
    now = time.monotonic()
    kept, until = _known.get(code, (None, 0.0))
    if not afresh and until > now:
        return kept
    if len(_known) > KEPT_MAX:
        forget_connections()
    row = None if "\x00" in code else Connection.objects.filter(code=code[:40]).first()
    found = _facts(row, now) if row is not None else None
    _known[code] = (found, now + REMEMBERED_SECONDS)
    return found


def _facts(row: Connection, now: float) -> _Known | None:
    try:
        door = registry.manifest(row.vendor).webhook
    except LookupError:
        return None
    if door is None or door.split is None:
        return None
    try:
        secrets = registry.secrets_of(row)
    except Unsealable:
        secrets = {}  # nothing can be proved then: 401
    return _Known(row.pk, row.code, door, row.settings, secrets, now)


def _read_body(read: Callable[[int], bytes], length: int | None) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if length is not None and length > limit:
        raise _Turned(413, "size", f"more than {limit} bytes")
    parts, left = [], limit + 1 if length is None else length
    while left > 0:
        part = read(min(left, CHUNK))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    body = b"".join(parts)
    if len(body) > limit:
        raise _Turned(413, "size", f"more than {limit} bytes")
    if not body:
        raise _Turned(400, "malformed", "the body is empty")
    if length is not None and len(body) < length:
        raise _Turned(400, "malformed", "the body ends early")
    return body


def _proved(known: _Known, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> _Known:
    """The connection whose secrets prove the message: read again once, in case they were rotated a moment ago."""
    try:
        return _verified(known, body, headers, query)
    except _Turned:
        if time.monotonic() - known.read_at < ASKED_AGAIN_SECONDS:
            raise
    again = _connection(known.code, afresh=True)
    if again is None:
        raise _Turned(404, "connection", "there is no such connection")
    return _verified(again, body, headers, query)


def _verified(known: _Known, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> _Known:
    try:
        known.door.verify(body, headers, query, known.secrets, known.settings, dt.datetime.now(dt.UTC))
    except Refused as refused:
        if refused.reason == "malformed":
            _split(known, body, headers)  # a message that can't be read at all is malformed, not unproved
        raise _Turned(401, refused.reason, str(refused)) from refused
    except Exception as error:  # a proof that can't even be read is no proof
        raise _Turned(401, "malformed", f"the proof can't be read: {type(error).__name__}") from error
    return known


def _split(known: _Known, body: bytes, headers: Mapping[str, str]) -> list[Any]:
    try:
        arrivals = list(known.door.split(body, headers)) if known.door.split else []
    except Exception as error:
        raise _Turned(400, "malformed", f"the message can't be read: {error}"[:300]) from error
    if not arrivals:
        raise _Turned(400, "malformed", "the message says nothing")
    return arrivals


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:2000] for name, value in headers.items() if name not in _DROPPED}


def _count(code: str, turned: _Turned) -> None:
    try:
        count_refusal(code, turned.reason, str(turned))
    except (psycopg.Error, Error) as error:
        log.warning("refusal_not_counted", connection=code, error=str(error))


def _says(text: str) -> bytes:
    return b'{"error": "%s"}' % text.replace("\\", " ").replace('"', "'").encode("ascii", "replace")
