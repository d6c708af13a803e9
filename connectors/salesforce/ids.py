"""Salesforce's record ids: 15 characters that mind their case, or 18 with a checksum; both name one record. Pure."""

from __future__ import annotations

import re

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


def full_id(record_id: str) -> str:
    """The 18-character id. An 18-character one whose letters lost their case gets it back from its checksum.

    Raises ValueError for what isn't an id, or whose checksum doesn't fit.
    """
    record_id = record_id.strip()
    if not _SHAPE.fullmatch(record_id):
        raise ValueError(f"{record_id!r} isn't a Salesforce id")
    if len(record_id) == 15:
        return record_id + checksum(record_id)
    body, tail = record_id[:15], record_id[15:].upper()
    if checksum(body) != tail:
        body = _with_case_of(body, tail)
        if checksum(body) != tail:
            raise ValueError(f"the checksum of {record_id!r} doesn't fit")
    return body + tail


def checksum(body: str) -> str:
    """The three characters that say which of the fifteen are capitals: five bits each, the first character lowest."""
    return "".join(
        _ALPHABET[sum(1 << i for i, c in enumerate(body[start : start + 5]) if "A" <= c <= "Z")] for start in (0, 5, 10)
    )


def _with_case_of(body: str, tail: str) -> str:
    try:
        bits = [_ALPHABET.index(c) for c in tail]
    except ValueError:
        return body
    return "".join(c.upper() if bits[i // 5] >> (i % 5) & 1 else c.lower() for i, c in enumerate(body))
