"""How long a vendor asks us to wait: Retry-After (RFC 9110) and the RateLimit fields, old and new. Pure.

Malformed fields are ignored, and Retry-After wins over RateLimit (STANDARDS: RFC 9110 section 10.2.3,
draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

WAIT_SECONDS_MAX = 3600.0
_EPOCH_FROM = 10**9  # a reset above this is an instant, below it a span
_ITEM = re.compile(r'^"([^"\\]*)"((?:;[a-z*][a-z0-9_.*-]*=(?:[0-9]+|"[^"\\]*"|:[A-Za-z0-9+/=]*:))*)$')
_PARAM = re.compile(r";([a-z*][a-z0-9_.*-]*)=([^;]*)")


def parse_retry_after(value: str, now: dt.datetime) -> float | None:
    """Seconds that a Retry-After asks for (delay-seconds or any of the three HTTP dates); None when it's garbage."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return max(0.0, (at - now).total_seconds())


def parse_rate_limit(value: str) -> list[tuple[str, dict[str, int | str]]] | None:
    """The items of a RateLimit or RateLimit-Policy field with their parameters; None when it's malformed.

    `q`, `r`, `t` and `w` must be integers, as the draft says.
    """
    items = []
    for part in re.split(r",\s*(?=\")", value.strip()):
        match = _ITEM.match(part.strip())
        if match is None:
            return None
        params: dict[str, int | str] = {}
        for name, raw in _PARAM.findall(match.group(2)):
            if raw.isdigit():
                params[name] = int(raw)
            elif name in ("q", "r", "t", "w"):
                return None
            else:
                params[name] = raw.strip('":')
        items.append((match.group(1), params))
    return items


def wait_seconds(
    headers: Mapping[str, str], now: dt.datetime, *, wait_header: str = "Retry-After", most: float = WAIT_SECONDS_MAX
) -> float | None:
    """How long the answer's headers ask us to stay away, `most` at most; None when they say nothing understandable."""
    given = headers.get(wait_header)
    seconds = parse_retry_after(given, now) if given else None
    if seconds is None:
        seconds = _from_rate_limit(headers, now)
    return None if seconds is None else min(seconds, most)


def _from_rate_limit(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    items = parse_rate_limit(headers.get("RateLimit") or "")
    if items:
        waits = [p["t"] for _, p in items if p.get("r") == 0 and isinstance(p.get("t"), int)]
        return float(max(waits)) if waits else None
    for prefix in ("X-RateLimit-", "RateLimit-"):
        reset, remaining = headers.get(f"{prefix}Reset"), headers.get(f"{prefix}Remaining")
        if reset and reset.isdigit() and remaining in (None, "0"):
            value = int(reset)
            return max(0.0, value - now.timestamp()) if value > _EPOCH_FROM else float(value)
    return None
