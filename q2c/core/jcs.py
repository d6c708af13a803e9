"""Canonical JSON by RFC 8785 for what is hashed: sorted keys, no white space, UTF-8; amounts are strings. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any


def canonical(value: Any) -> bytes:
    """The canonical bytes. Decimals, dates and ids become strings. Raises TypeError for a float or an unknown type."""
    return _write(value).encode()


def content_hash(value: Any) -> str:
    """The hex SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical(value)).hexdigest()


def as_plain(value: Any) -> Any:
    """The same content as JSON types only, as jsonb keeps it. Raises as `canonical` does."""
    return json.loads(canonical(value))


def instant(at: dt.datetime) -> str:
    """An instant in RFC 3339, UTC, with Z; fractions only where there are any."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _write(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, Mapping):
        pairs = sorted(((str(name), item) for name, item in value.items()), key=lambda p: p[0].encode("utf-16-be"))
        return "{" + ",".join(f"{encode_basestring(n)}:{_write(item)}" for n, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(item) for item in value) + "]"
    if isinstance(value, dt.datetime):
        return json.dumps(instant(value))
    if isinstance(value, dt.date | Decimal | uuid.UUID):
        return json.dumps(str(value))
    raise TypeError(f"{type(value).__name__} has no canonical form")
