"""A source's register against what we have, document by document: figures per day, and each difference named. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from connectors.families import Registered

MISSING, SURPLUS, DIFFERS, ENDED = "missing", "surplus", "differs", "ended"


class Key(NamedTuple):
    """Whose day in which currency."""

    legal_entity: str
    day: dt.date
    currency: str


@dataclass(frozen=True)
class Ours:
    """A document as we have it. `has_content` is false while only a status of it was told."""

    id: str
    legal_entity: str
    day: dt.date | None
    currency: str
    amount: Decimal | None  # None where only the source says it
    status: str
    number: str
    has_content: bool
    changed_at: dt.datetime


@dataclass
class Sum:
    """How many, and how much in their currency."""

    count: int = 0
    amount: Decimal = Decimal(0)

    def add(self, amount: Decimal | None) -> None:
        """One more."""
        self.count += 1
        self.amount += amount or Decimal(0)


@dataclass
class Figures:
    """A day's sums. Source = ours + waiting + missing - surplus, and of amounts also what differs. What isn't confirmed
    is ours, and in none of them: whether the source has it, it wasn't asked yet."""

    source: Sum = field(default_factory=Sum)
    ours: Sum = field(default_factory=Sum)
    waiting: Sum = field(default_factory=Sum)
    missing: Sum = field(default_factory=Sum)
    surplus: Sum = field(default_factory=Sum)
    unconfirmed: Sum = field(default_factory=Sum)
    differing: int = 0


@dataclass(frozen=True)
class Gap:
    """One document on which both don't agree. `entry` is the register's, None where it has none."""

    kind: str
    key: Key
    id: str
    number: str
    amount: Decimal | None
    our_amount: Decimal | None = None
    entry: Registered | None = None


@dataclass
class Comparison:
    """What came of it."""

    days: dict[Key, Figures] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)  # ids of which a message is still to be read: neither yet

    def of(self, key: Key) -> Figures:
        """The figures of a day, begun where there are none."""
        return self.days.setdefault(key, Figures())


def compare(
    entries: Iterable[Registered],
    ours: Mapping[str, Ours],
    *,
    waiting: Collection[str] = (),
    entity_of: Callable[[Registered], str],
    zone_of: Callable[[str], str],
) -> Comparison:
    """Each entry of the register against our document of the same id. `waiting` are ids of which a message is in the
    inbox, unread or refused: they aren't lost."""
    found = Comparison()
    for entry in entries:
        mine = ours.get(entry.id)
        entity = mine.legal_entity if mine is not None and mine.legal_entity else entity_of(entry)
        day = (mine.day if mine is not None else None) or day_of(entry, zone_of(entity))
        key = Key(entity, day, entry.currency)
        amount = entry.amount if entry.amount is not None or mine is None else mine.amount
        figures = found.of(key)
        figures.source.add(amount)
        if mine is None or not mine.has_content:
            if entry.id in waiting:
                figures.waiting.add(amount)
                found.undecided.add(entry.id)
            else:
                figures.missing.add(amount)
                found.gaps.append(Gap(MISSING, key, entry.id, entry.number, amount, entry=entry))
            continue
        our_amount = mine.amount if mine.amount is not None else amount
        found.of(Key(entity, day, mine.currency)).ours.add(our_amount)
        number = entry.number or mine.number
        if entry.status and entry.status != mine.status:  # what it ended with may have another amount, too
            if entry.id in waiting:
                found.undecided.add(entry.id)
                continue
            figures.differing += 1
            found.gaps.append(Gap(ENDED, key, entry.id, number, amount, mine.amount, entry))
        elif (amount, entry.currency) != (our_amount, mine.currency):
            figures.differing += 1
            found.gaps.append(Gap(DIFFERS, key, entry.id, number, amount, mine.amount, entry))
    return found


def add_surplus(found: Comparison, unknown: Iterable[Ours]) -> None:
    """What we have and the source doesn't know, when asked for each."""
    for mine in unknown:
        if mine.day is not None:
            key = Key(mine.legal_entity, mine.day, mine.currency)
            figures = found.of(key)
            figures.ours.add(mine.amount)
            figures.surplus.add(mine.amount)
            found.gaps.append(Gap(SURPLUS, key, mine.id, mine.number, mine.amount, mine.amount))


def add_unconfirmed(found: Comparison, documents: Iterable[Ours]) -> None:
    """What we have, the register didn't list, and the source has still to be asked for."""
    for mine in documents:
        if mine.day is not None:
            found.of(Key(mine.legal_entity, mine.day, mine.currency)).unconfirmed.add(mine.amount)


def day_of(entry: Registered, zone: str) -> dt.date:
    """The document's day where the seller is."""
    if isinstance(entry.dated, dt.datetime):
        return entry.dated.astimezone(ZoneInfo(zone)).date()
    return entry.dated
