"""Reading vendors' JSON: a table of fields, and the small conversions that all of them need. Pure.

What can't be read is read a second time within `noting()`, which knows the path of the field that was looked at last.

`fields(("AccountNumber", "number"), ("BillTo.Country", "bill_to.country", upper))` reads dotted paths into dotted
names;
a missing or null value is left out, so that the canonical type's own default counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
# What reading a message of another shape than its vendor's documentation's ends in.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True)
class Fields:
    """A translation as a table."""

    rows: tuple[tuple[Any, ...], ...]

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the vendor's object has, by our names; dotted names become nested dicts."""
        out: dict[str, Any] = {}
        for theirs, ours, *convert in self.rows:
            value = dig(raw, theirs)
            if value is None:
                continue
            for step in convert:
                value = step(value)
            target = out
            *parents, last = ours.split(".")
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = value
        return out


def fields(*rows: tuple[Any, ...]) -> Fields:
    """A table of (their path, our name, conversions...)."""
    return Fields(rows)


def read_json(body: bytes) -> Any:
    """Decoded JSON with exact Decimals. Raises ValueError (msgspec's) for what isn't JSON."""
    noted = _noting.get()
    return _decode(body) if noted is None else _note_reads(_decode(body), "", noted)


class Noted:
    """The dotted path of the field that was looked at last; "" before the first."""

    path = ""


_noting: ContextVar[Noted | None] = ContextVar("noting", default=None)


@contextmanager
def noting() -> Iterator[Noted]:
    """Note which field is looked at in whatever `read_json` gives meanwhile. Slow, so only once a reading has failed:
    of `None` where a number should be Python says neither whose it was nor where."""
    token = _noting.set(noted := Noted())
    try:
        yield noted
    finally:
        _noting.reset(token)


def watched(value: Any, noted: Noted) -> Any:
    """A decoded value that notes which of its fields is looked at."""
    return _note_reads(value, "", noted)


class _Watched(dict[str, Any]):
    """An object of JSON that says which of its fields is looked at."""

    def __init__(self, values: Mapping[str, Any], place: str, noted: Noted) -> None:
        super().__init__({k: _note_reads(v, f"{place}{k}", noted) for k, v in values.items()})
        self.place, self.noted = place, noted

    def __getitem__(self, name: str) -> Any:
        self.noted.path = f"{self.place}{name}"
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.noted.path = f"{self.place}{name}"
        return super().get(name, default)


def _note_reads(value: Any, path: str, noted: Noted) -> Any:
    if isinstance(value, dict):
        return _Watched(value, f"{path}." if path else "", noted)
    if isinstance(value, list):
        return [_note_reads(each, f"{path}[{n}]", noted) for n, each in enumerate(value)]
    return value


def needed(raw: Mapping[str, Any], name: str) -> Any:
    """A field without which a record says nothing at all. Raises ValueError naming it where it's missing or null."""
    value = raw.get(name)
    if value is None:
        raise ValueError(f"field '{name}' is missing or null")
    return value


def plain_id(value: Any) -> str:
    """A vendor's id as text. Raises ValueError for what is neither text nor a whole number: of null, `str` would make
    an id "None"."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{value!r} isn't an id")
    return str(value)


def dig(raw: Any, path: str) -> Any:
    """The value at a dotted path of nested dicts, or None where the path ends early."""
    for name in path.split("."):
        if not isinstance(raw, Mapping):
            return None
        raw = raw.get(name)
    return raw


def text(value: Any) -> str:
    """Trimmed text."""
    return str(value).strip()


def upper(value: Any) -> str:
    """Trimmed text in capitals."""
    return str(value).strip().upper()


def without_zeros(value: Any) -> str:
    """An id of a vendor whose ids are whole numbers: "0042" is "42". Others (of several parts) stay as they are."""
    plain = text(value)
    return str(int(plain)) if plain.isascii() and plain.isdigit() else plain


def decimal(value: Any) -> Decimal:
    """An exact Decimal of a JSON number or string. Raises ValueError for anything else."""
    try:
        return Decimal(str(value))
    except ArithmeticError as error:
        raise ValueError(f"{value!r} isn't a number") from error


def date(value: Any) -> dt.date:
    """A plain date, never shifted. Raises ValueError."""
    return dt.date.fromisoformat(str(value)[:10])


def instant(value: Any) -> dt.datetime:
    """An ISO 8601 instant in UTC, also with an offset without a colon (Salesforce). Raises ValueError without an
    offset."""
    at = dt.datetime.fromisoformat(str(value))
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no offset")
    return at.astimezone(dt.UTC)


def unix(value: Any) -> dt.datetime:
    """Unix seconds as an instant. Raises ValueError."""
    return dt.datetime.fromtimestamp(int(value), dt.UTC)
