"""Ids and keys: rising UUIDs, business keys, idempotency keys, external ids. Keys are pure functions of the source."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable

# Prefixed ids (cus_1A2b..., sub_sched_...), ids of 15 or 18 characters with both cases and digits, UUIDs.
MACHINE_ID = re.compile(
    r"[a-z]+(?:_[a-z]+)*_[A-Za-z0-9]{8,}|(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)[A-Za-z0-9]{15,18}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_lock = threading.Lock()
_last = 0


def uuid7(at_ms: float | None = None) -> uuid.UUID:
    """A UUIDv7 that rises strictly within this process (sub-millisecond fraction in rand_a), also under a frozen
    clock."""
    global _last
    if at_ms is not None:
        stamp = int(at_ms * 4096)
    else:
        with _lock:
            stamp = max(_last + 1, time.time_ns() * 4096 // 1_000_000)
            _last = stamp
    ms, fraction = divmod(stamp, 4096)
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return uuid.UUID(int=(ms << 80) | (7 << 76) | (fraction << 64) | (2 << 62) | tail)


def ulid() -> str:
    """A ULID of now: 26 characters that rise with time."""
    number = uuid7().int
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def uuid7_bound(at_ms: int) -> uuid.UUID:
    """The least UUIDv7 of an instant: the edge of a partition."""
    return uuid.UUID(int=at_ms << 80)


def without_ids(sentence: str) -> str:
    """A sentence as people say it: words that only machines read are left out of it."""
    return " ".join(word for word in sentence.split(" ") if not MACHINE_ID.fullmatch(word))


def digest(*parts: str) -> str:
    """The hex SHA-256 of parts that can't run into each other."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def business_key(*, connection: str, object_type: str, object_id: str, content_hash: str) -> str:
    """The same fact again finds the same transaction; a changed one is a new transaction in the same lane."""
    return f"{connection}:{object_type}:{object_id}:{content_hash[:16]}"


def lane(*, connection: str, object_type: str, object_id: str) -> str:
    """One source object; its transactions run in order."""
    return f"{connection}:{object_type}:{object_id}"


def write_key(*, business_key: str, flow: str, step: str, generation: int, attempt: int = 1) -> str:
    """The idempotency key of a write: 40 characters of [a-z0-9], never of our own ids or clock, so a restore keeps
    it. A repost whose outcome isn't in doubt has another one: a target keeps a refusal as it keeps what it made."""
    reposted = [str(attempt)] if attempt > 1 else []
    return "q2c" + digest(business_key, flow, step, str(generation), *reposted)[:37]


_SHORTENED = re.compile(r"-[0-9a-f]{10}(-g\d+)?$")
_GENERATION = re.compile(r"-g\d+$")
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def external_id(prefix: str, *, source: str, object_id: str, generation: int = 0) -> str:
    """Our external id in a target: readable, of [A-Za-z0-9_-] only (NetSuite's path form), at most 80 characters.

    `prefix` names the document class, since ERPs share one id space over transactions. A source id with other
    characters is
    told apart by a short hash.
    """
    clean = "".join(c if c in _SAFE else "-" for c in object_id)
    mark = "" if clean == object_id and len(clean) <= 50 else "-" + digest(object_id)[:10]
    tail = f"-g{generation}" if generation else ""
    return f"{prefix}-{source}-{clean[:50]}{mark}{tail}"


def read_external_id(name: str, sources: Iterable[str]) -> tuple[str, str, str] | None:
    """Prefix, source and the source's id that an `external_id` of ours was made of; None where that can't be told: of
    none of these sources, or a shortened one. Of two sources the longer code counts."""
    prefix, _, rest = name.partition("-")
    source = max((s for s in sources if rest.startswith(f"{s}-")), key=len, default=None)
    if source is None or _SHORTENED.search(rest):
        return None
    object_id = _GENERATION.sub("", rest.removeprefix(f"{source}-"))
    return (prefix, source, object_id) if prefix and object_id else None
