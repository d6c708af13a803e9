"""Who has to agree to a resolution: a governed rule per resolution and entity, by amount and in levels.

A rule of kind `resolution_approval` says it in words: `nobody; 1 colleague over 1000; 2 with a controller over 50000`,
amounts in the currency of the entity's book. Over several entities the strictest holds; what can't be counted in the
book's currency counts as over every limit.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exceptions.limits import total_in_book
from mappings.days import rules_todays
from mappings.kinds import CONTROLLER_SIGNS, RESOLUTION_APPROVAL, RESOLUTION_LEVELS, Approval
from mappings.models import MappingRule
from mappings.resolve import Snapshot
from q2c.core.approvals import IN_EMERGENCY

# Where no rule says: what is asked for each resolution. Reposting alone changes nothing that was agreed.
DEFAULTS = {
    "repost": "nobody",
    "waive": "nobody",
    "link": "1 colleague",
    "edit_fields": "1 colleague",
    "emergency_edit": "1 in an emergency",
    "choose_period": "1 controller",
    "reopen_period": "1 controller",
    "accrue": "1 controller",
    "write_off": "1 controller",
    "accept_difference": "1 colleague",
    "apply_open": "1 colleague",
    "back_fill": "1 colleague",  # posts many at once, which nobody asked for one by one
    "override": "1 controller",  # goes past a rule of the house, so somebody always agrees
}
SOMEBODY = Approval(CONTROLLER_SIGNS)  # signs where a rule says nobody and somebody has to
IN_EMERGENCY_LEVEL = "1 in an emergency"  # no rule asks for it: it's what an emergency is
_ALL: dict[str, Approval | None] = {**RESOLUTION_LEVELS, IN_EMERGENCY_LEVEL: Approval(IN_EMERGENCY)}
_LEVELS = tuple(_ALL)


@dataclass(frozen=True)
class Asked:
    """What is asked, and why: the words of the clause, and the rule that they come from (None: nobody has said)."""

    level: str
    clause: str
    rule: int | None = None
    version: int | None = None

    @property
    def approval(self) -> Approval | None:
        """Who signs; None where nobody has to."""
        return _ALL[self.level]

    def as_content(self) -> dict[str, Any]:
        """As it's signed with the proposal."""
        return {"level": self.level, "clause": self.clause, "rule": self.rule, "version": self.version}


def asked_for(resolution: str, documents: Iterable[Mapping[str, Any]], fields: Iterable[str] = ()) -> Asked:
    """What is asked for this resolution of these documents; a field's own rule (`edit_fields|po_number`) stands before
    that of its resolution. What is no document (`what` says what it is) has no amount, and is over every limit."""
    by_entity: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for facts in documents:
        by_entity[facts["legal_entity"]].append(facts)
    keys = [f"{resolution}|{name}" for name in fields]
    rules = Snapshot.load([(RESOLUTION_APPROVAL, key, {}) for key in (resolution, *keys)])
    days = rules_todays(by_entity)
    found = [
        _asked(rules, key, resolution, own, entity, days[entity])
        for entity, own in sorted(by_entity.items())
        for key in keys or [resolution]
    ]
    return max(found, key=lambda asked: _LEVELS.index(asked.level), default=Asked("nobody", "nobody"))


def asked_of_each(resolution: str, documents: Iterable[Mapping[str, Any]]) -> list[Asked]:
    """What is asked for each of these documents by itself, in their order: a decision per document."""
    rules, rows = Snapshot.load([(RESOLUTION_APPROVAL, resolution, {})]), list(documents)
    days = rules_todays({own["legal_entity"] for own in rows})
    return [
        _asked(rules, resolution, resolution, [own], own["legal_entity"], days[own["legal_entity"]]) for own in rows
    ]


def _asked(
    rules: Snapshot, key: str, resolution: str, documents: list[Mapping[str, Any]], entity: str, today: dt.date
) -> Asked:
    rule = rules.find(RESOLUTION_APPROVAL, key, on=today, legal_entity=entity)
    rule = rule or rules.find(RESOLUTION_APPROVAL, resolution, on=today, legal_entity=entity)
    clause = rule.value if rule else DEFAULTS[resolution]
    level = level_of(clause, documents, entity)
    return Asked(level, clause, rule.rule_id if rule else None, rule.version if rule else None)


def asks_nobody(resolution: str) -> bool:
    """Whether it's asked of nobody anywhere: no rule is about it, and none is asked where no rule says."""
    is_ruled = MappingRule.objects.filter(kind=RESOLUTION_APPROVAL, key=resolution, known_to=None).exists()
    return DEFAULTS[resolution] == "nobody" and not is_ruled


def level_of(clause: str, documents: Iterable[Mapping[str, Any]], entity: str) -> str:
    """The strictest level of a clause whose limit these documents of one entity are over together."""
    total: Decimal | None = None
    is_counted = False
    strictest = ""
    for part in clause.split(";"):
        level, _, over = part.strip().partition(" over ")
        if over and not is_counted:
            documents = list(documents)
            is_known = not any(facts.get("what") for facts in documents)
            total, is_counted = total_in_book(entity, documents) if is_known else None, True
        if not over or total is None or total > Decimal(over):
            strictest = max(strictest or level, level, key=_LEVELS.index)
    return strictest
