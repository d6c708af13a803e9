"""Documents of ours that the register didn't list: asked for one by one, so many with each check, the rest with the
next ones. An answer counts for a day, while our document stays as it was; what has none isn't confirmed.

Kept with the feed's check, by document: an answer, or since when and of which day it's still to be asked for. A check
of fewer days leaves both as they are, and asks for what is left over of the days before its own, as far as it has room.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from connectors.families import Registered
from q2c.reconciliation.comparing import Ours

AT_ONCE = 200  # asked for in one check
HOLDS = dt.timedelta(days=1)
KEPT_MOST = 5000
LONG_AGO = "1970-01-01T00:00:00+00:00"  # of what has no answer yet: the release before reads an answer that is over


@dataclass(frozen=True)
class Answer:
    """What the source said of one document, and when; `entry` is None where it doesn't know it."""

    at: dt.datetime
    entry: Registered | None


def known_answers(kept: Mapping[str, Any] | None, mine: Sequence[Ours], now: dt.datetime) -> dict[str, Answer]:
    """Of these documents the earlier answers that still count, by id."""
    found = {}
    for document in mine:
        raw = (kept or {}).get(document.id)
        answer = _answer(raw) if raw is not None and not _is_left(raw) else None
        if answer is not None and now - answer.at < HOLDS and document.changed_at <= answer.at:
            found[document.id] = answer
    return found


def to_ask(mine: Sequence[Ours], known: Mapping[str, Answer]) -> list[str]:
    """Whom to ask for now: those without an answer, then those with the oldest one."""
    ids = sorted((m.id for m in mine), key=lambda one: (known[one].at.timestamp() if one in known else 0.0, one))
    return ids[:AT_ONCE]


def to_keep(
    answers: Mapping[str, Answer], mine: Sequence[Ours], *, now: dt.datetime, others: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """What is kept for the next check: of these documents, where that doesn't ask for all of them anyway, and of
    others. None where there's nothing."""
    rows = dict(others or {})
    if len(mine) > AT_ONCE:
        rows |= {one: _kept(answer) for one, answer in answers.items()}
        left = (m for m in mine if m.id not in answers and m.day is not None)
        rows |= {m.id: {"since": now.isoformat(), "day": str(m.day), "at": LONG_AGO, "entry": None} for m in left}
    newest = sorted((one for one in rows if not _is_left(rows[one])), key=lambda one: rows[one]["at"], reverse=True)
    return {one: rows[one] for one in [*newest[:KEPT_MOST], *_left(rows)[:KEPT_MOST]]} or None


def of_others(
    kept: Mapping[str, Any] | None, mine: Sequence[Ours], now: dt.datetime, first_day: dt.date
) -> dict[str, Any]:
    """What is kept beside these documents: answers that still count, and what is left over of days before this one."""
    own, found = {m.id for m in mine}, {}
    for one, raw in (kept or {}).items():
        if one in own:
            continue
        if raw["day"] < str(first_day) if _is_left(raw) else now - dt.datetime.fromisoformat(raw["at"]) < HOLDS:
            found[one] = raw
    return found


def left_over(kept: Mapping[str, Any] | None, first_day: dt.date | None, room: int) -> dict[str, dt.datetime]:
    """Whom to ask for beside, of days before this one (or of any): so many, those of the oldest day first and what
    couldn't be asked for last, each with since when it has been left over."""
    rows = kept or {}
    ids = [one for one in _left(rows) if first_day is None or rows[one]["day"] < str(first_day)]
    return {one: dt.datetime.fromisoformat(rows[one]["since"]) for one in ids[: max(room, 0)]}


def with_answers(
    kept: Mapping[str, Any] | None, asked: Iterable[str], answers: Mapping[str, Answer], failed: Mapping[str, str]
) -> dict[str, Any] | None:
    """What is kept once these were asked for, or can't be any more: the answers take their place. One that couldn't be
    asked for (`failed`, with its words) stays left over, after the others."""
    gone = set(asked)
    rows = {one: raw for one, raw in (kept or {}).items() if one not in gone}
    rows |= {one: {**rows[one], "failed": says} for one, says in failed.items() if one in rows}
    return rows | {one: _kept(answer) for one, answer in answers.items()} or None


def _is_left(raw: Mapping[str, Any]) -> bool:
    return "since" in raw


def _left(rows: Mapping[str, Any]) -> list[str]:
    left = (one for one in rows if _is_left(rows[one]))
    return sorted(left, key=lambda one: ("failed" in rows[one], rows[one]["day"], one))


def _kept(answer: Answer) -> dict[str, Any]:
    return {"at": answer.at.isoformat(), "entry": _plain(answer.entry)}


def _plain(entry: Registered | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    amount = None if entry.amount is None else str(entry.amount)
    return asdict(entry) | {
        "made_at": entry.made_at.isoformat(), "dated": entry.dated.isoformat(), "amount": amount,
    }  # fmt: skip


def _answer(raw: Mapping[str, Any]) -> Answer:
    at, entry = dt.datetime.fromisoformat(raw["at"]), raw["entry"]
    if entry is None:
        return Answer(at, None)
    dated, amount = entry["dated"], entry["amount"]
    kept = {
        "made_at": dt.datetime.fromisoformat(entry["made_at"]),
        "dated": dt.datetime.fromisoformat(dated) if "T" in dated else dt.date.fromisoformat(dated),
        "amount": None if amount is None else Decimal(amount),
    }
    return Answer(at, Registered(**(entry | kept)))
