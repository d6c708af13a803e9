"""The wire form of canonical documents: strict JSON, hashes, and the registry of event schemas."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from q2c.canonical import events

VERSION = 1
T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="sorted")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def to_json(document: Any) -> bytes:
    """UTF-8 JSON with sorted keys; Decimals are strings."""
    return _encoder.encode(document)


def from_json(body: bytes | str, kind: type[T] | Any) -> T:
    """Decode strictly. Raises msgspec.ValidationError naming the path of the offending field."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    decoded: T = decoder.decode(body)
    return decoded


def from_builtins(value: Any, kind: type[T] | Any) -> T:
    """Convert decoded JSON (dicts, lists, strings) strictly to a canonical type. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind, strict=False)


def to_builtins(document: Any) -> Any:
    """Plain dicts, lists and strings of a canonical document."""
    return msgspec.to_builtins(document, order="sorted")


def content_hash(document: Any) -> str:
    """Hex SHA-256 of the sorted JSON with amounts normalised, so 1E+3 and 1000.00 are the same content."""
    return hashlib.sha256(
        _encoder.encode(_normal(msgspec.to_builtins(document, builtin_types=(Decimal, dt.date, dt.datetime))))
    ).hexdigest()


def _normal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize() + 0, "f")
    if isinstance(value, dict):
        return {k: _normal(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    return value


def event_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema 2020-12 of each canonical event by name, as subscribers and tests see it."""
    schemas = {}
    for kind in events.AnyEvent.__args__:
        schema = msgspec.json.schema(kind)
        schemas[kind.__name__] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return schemas
