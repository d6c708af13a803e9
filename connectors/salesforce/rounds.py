"""Where the polling of an object stands: rounds over SystemModstamp, each from some minutes before the newest record
on. Pure.

Between rounds a position is {"modstamp", "id"}: the newest instant of all rounds, and the record that was read last.
Within one ("is_within") both are those of the last record, and the round goes on behind it; the newest instant is kept
apart ("newest"), since a round begins with older ones, often with more than a page of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.fields import instant
from connectors.salesforce.ids import full_id

OVERLAP = dt.timedelta(minutes=5)  # long transactions commit late, with an earlier SystemModstamp
START = "2000-01-01T00:00:00.000Z"


def condition(position: Mapping[str, Any], since: str) -> str:
    """What the next page asks for, where `since` is the position's instant, or the first one's."""
    if position.get("is_within"):
        return f"(SystemModstamp > {since} OR (SystemModstamp = {since} AND Id > '{full_id(position['id'])}'))"
    return f"SystemModstamp >= {stamp(instant(since) - OVERLAP)}"


def following(
    position: Mapping[str, Any], since: str, rows: Sequence[Mapping[str, Any]], *, has_more: bool
) -> dict[str, Any]:
    """The position after a page."""
    last = instant(rows[-1]["SystemModstamp"]) if rows else instant(since)
    newest = max(instant(position.get("newest") or since), last)
    read_last = full_id(rows[-1]["Id"]) if rows else str(position.get("id") or "")
    if has_more:
        return {"modstamp": stamp(last), "id": read_last, "is_within": True, "newest": stamp(newest)}
    return {"modstamp": stamp(newest), "id": read_last, "is_within": False}


def an_hour_ago() -> str:
    """From where an object is read at the first time that isn't read whole."""
    return stamp(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))


def stamp(at: dt.datetime) -> str:
    """An unquoted SOQL literal, to the millisecond: SystemModstamp has none below the second, but a round mustn't
    lose it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
