"""How bill runs post: rules of kind `bill_run`, all of them in memory, by connection, entity and billing day.

Read with one statement when a change set has come. Where there's none, nobody asks for anything.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from mappings.kinds import BILL_RUN
from mappings.known import KnownRule, rules_of_kind

POSTS, HOLDS = "as they come", "hold"
ONE_PERSON, TWO_PEOPLE, ITSELF = "1 person", "2 people", "by itself"
END_OF_DAY = "day"
ANY = "any"


@dataclass(frozen=True)
class RunPolicy:
    """What the rules say of a connection's runs of an entity on a day."""

    posting: str = ""  # "": no runs are kept
    release: str = TWO_PEOPLE
    complete_after: str = END_OF_DAY
    least: str = "1"
    problem_share: str = "0"
    variance: str = ANY
    late: str = HOLDS

    @property
    def keeps(self) -> bool:
        """Whether runs are kept at all."""
        return self.posting != ""

    @property
    def holds(self) -> bool:
        """Whether documents wait until their run is released."""
        return self.posting == HOLDS

    @property
    def quiet(self) -> dt.timedelta | None:
        """How long after its last document a run may be complete; None: once its day is over."""
        return None if self.complete_after == END_OF_DAY else dt.timedelta(minutes=int(self.complete_after[:-1]))

    @property
    def problem_limit(self) -> Decimal:
        """At most this share of a run's documents may be held, in per cent."""
        return Decimal(self.problem_share)

    @property
    def variance_limit(self) -> Decimal | None:
        """How far from the usual run it may be, in per cent; None: as far as it likes."""
        return None if self.variance == ANY else Decimal(self.variance)


NONE = RunPolicy()


class RunPolicies:
    """The policies known at one change set."""

    def __init__(self, change_set: int, rules: list[KnownRule]) -> None:
        self.change_set = change_set
        self._rules = sorted(rules, key=lambda rule: (-rule.specificity, rule.pk))
        self._found: dict[tuple[str, str, dt.date], RunPolicy] = {}

    @classmethod
    def load(cls, change_set: int) -> RunPolicies:
        """The policies as known at a change set, in one statement."""
        return cls(change_set, list(rules_of_kind(BILL_RUN, change_set)))

    @property
    def has_rules(self) -> bool:
        """Whether any rule says anything: else there are no runs."""
        return bool(self._rules)

    def of(self, connection: str, legal_entity: str, day: dt.date) -> RunPolicy:
        """What holds for the runs of an entity in a billing system on a day."""
        question = (connection, legal_entity, day)
        found = self._found.get(question)
        if found is None:
            found = self._found[question] = self._find(*question)
        return found

    def _find(self, connection: str, legal_entity: str, day: dt.date) -> RunPolicy:
        said: dict[str, str] = {}
        for rule in self._rules:  # the most particular one first
            is_asked = (
                rule.connection_code in ("", connection)
                and rule.legal_entity_code in ("", legal_entity)
                and rule.effective_from <= day
                and (rule.effective_to is None or day < rule.effective_to)
            )
            if is_asked:
                said.setdefault(rule.key, rule.value)
        return RunPolicy(**said) if "posting" in said else NONE
