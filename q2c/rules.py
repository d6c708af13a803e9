"""The mappings as the steps of one transaction ask them: on which of its dates, and which rules they used."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mappings.kinds import BY_CODE
from mappings.resolve import Resolved, Snapshot
from q2c.posting.facts import RuleDates


def date_of(kind: str, on: RuleDates | dt.date) -> dt.date:
    """The date on which a rule of this kind must be in force: which of a document's dates it is, the kind says. Master
    data has one date only."""
    if isinstance(on, dt.date):
        return on
    date: dt.date = getattr(on, BY_CODE[kind].date_basis)
    return date


class Rules:
    """The mappings as one consistent version, for one transaction: notes which rules its steps used."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot.for_document()

    def looks_at(self, kind: str) -> frozenset[str]:
        """What rules of a kind look at of a document: its facts, and `region`; empty where nobody has to find out."""
        return self._snapshot.looks_at(kind)

    def names_type(self, kind: str, key: str, *, on: RuleDates | dt.date, **asked: Any) -> bool:
        """Whether the rule that answers is one for the document's own type."""
        return self._snapshot.names_type(kind, key, on=date_of(kind, on), **asked)

    def resolve(self, kind: str, key: str, *, on: RuleDates | dt.date, **asked: Any) -> Resolved:
        """The value in force on the kind's own date. Raises Problem naming the missing key."""
        return self._snapshot.resolve(kind, key, on=date_of(kind, on), **asked)

    def get(self, kind: str, key: str, default: str = "", *, on: RuleDates | dt.date, **asked: Any) -> str:
        """The value in force, or a default where no rule says. Raises Problem when two rules say."""
        found = self._snapshot.find(kind, key, on=date_of(kind, on), **asked)
        return default if found is None else found.value

    def take_used(self) -> list[list[int]]:
        """The rules used since the last call, as [rule, version]."""
        used = [[rule, found.version] for rule, found in self._snapshot.used.items()]
        self._snapshot.used.clear()
        return used
