"""Documents of ours that the register didn't list: asked for one by one, so many with each check, the rest with the
next ones. An answer counts for a day, while our document stays as it was; what has none isn't confirmed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from connectors.families import Registered
from q2c.reconciliation.comparing import Ours

AT_ONCE = 200  # asked for in one check
HOLDS = dt.timedelta(days=1)
KEPT_MOST = 5000


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
        answer = _answer(raw) if raw is not None else None
        if answer is not None and now - answer.at < HOLDS and document.changed_at <= answer.at:
            found[document.id] = answer
    return found


def to_ask(mine: Sequence[Ours], known: Mapping[str, Answer]) -> list[str]:
    """Whom to ask for now: those without an answer, then those with the oldest one."""
    ids = sorted((m.id for m in mine), key=lambda one: (known[one].at.timestamp() if one in known else 0.0, one))
    return ids[:AT_ONCE]


def to_keep(answers: Mapping[str, Answer], mine: Sequence[Ours]) -> dict[str, Any] | None:
    """The answers as they are kept for the next check; None where that asks for all of them anyway."""
    if len(mine) <= AT_ONCE:
        return None
    newest = sorted(answers, key=lambda one: answers[one].at, reverse=True)[:KEPT_MOST]
    return {one: {"at": answers[one].at.isoformat(), "entry": _plain(answers[one].entry)} for one in newest}


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
