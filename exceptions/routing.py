"""Which queue a case belongs to: as a governed rule of kind `routing` says, else the kind's own owner.

A rule looks at category, kind and one name of the case (customer, SKU or other key), and may be of a connection, an
entity or a currency. What it says is a ladder: "controllership to anna as urgent from 50000; billing_ops". The first
step whose amount at risk is reached takes the case; where none is, the next wider rule is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exceptions import duty
from exceptions.kind_words import SALES_OPS, SEVERITY_WORDS
from exceptions.kinds import Kind, kind_of
from mappings.days import rules_today
from mappings.fetching import Rule
from mappings.kinds import DIMENSIONS, ROUTING
from mappings.resolve import Snapshot
from mappings.scope import conditions_hold

# Flows that carry what sales sold; everything else carries what billing billed.
_SALES_FLOWS = frozenset({"order_to_subscription", "order_to_sale", "status_to_crm"})
_NEWEST = 2**62  # no change set's number: what is known now, without asking which it is
_NAMES = ("customer", "key", "sku")  # of what a problem says, what a rule may name
_SEVERITIES = {word: number for number, word in SEVERITY_WORDS.items()}
_STEP = re.compile(r"(?P<queue>\w+)( to (?P<to>\S+))?( as (?P<as>\w+))?( from (?P<from>[\d.]+))?")


def queue_for(kind: Kind, *, flow: str) -> str:
    """The queue where no rule says another: what a vendor refuses belongs to whoever owns the flow."""
    return SALES_OPS if kind.follows_flow and flow in _SALES_FLOWS else kind.owner


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What routing looks at of a case; `amount` is at risk, in reporting currency."""

    kind: str
    category: str
    flow: str
    connection: str
    legal_entity: str
    currency: str
    names: tuple[str, ...]
    amount: Decimal

    @property
    def keys(self) -> list[str]:
        """The keys under which rules are looked for."""
        names = self.names or ("",)
        return [f"{self.category}|{self.kind}|{name.replace('|', '/')}" for name in names]


@dataclass(frozen=True)
class Route:
    """Where a case goes, and the rule that says so (None: the kind's own row)."""

    queue: str
    severity: int
    rule: int | None = None
    person: int | None = None
    person_says: str = ""  # that person's name, and for whom they stand in


def names_in(subject: Mapping[str, Any], customers: Iterable[str] = ()) -> tuple[str, ...]:
    """What a rule may name of a problem's subject, and of the customers of its document (id and name)."""
    found = [*(subject.get(name) for name in _NAMES), *customers]
    return tuple(dict.fromkeys(str(name) for name in found if name))


def main_customer(documents: Iterable[tuple[tuple[str, ...], Decimal]]) -> tuple[str, ...]:
    """Id and name of the customer to whom more than half of what is at risk belongs (where nothing is, of the
    documents), of each document's customer and amount at risk; nobody where no one has so much."""
    parts: dict[tuple[str, ...], Decimal] = {}
    counts: Counter[tuple[str, ...]] = Counter()
    for customers, amount in documents:
        parts[customers] = parts.get(customers, Decimal(0)) + amount
        counts[customers] += 1
    weights: Mapping[tuple[str, ...], Decimal | int] = parts if any(parts.values()) else counts
    return next((who for who, weight in weights.items() if 2 * weight > sum(weights.values())), ())


class Router:
    """The rules in force today for these cases, read by one statement; one more where a rule names a person."""

    def __init__(self, cases: Iterable[Facts]) -> None:
        cases = list(cases)
        self._today = rules_today()
        self._rules = Snapshot.load([(ROUTING, key, {}) for facts in cases for key in facts.keys], _NEWEST)
        self._people: duty.Duty | None = None
        named = {step["to"] for facts in cases for rule in self._over(facts) for step in _steps(rule) if step["to"]}
        if named:
            self._people = duty.Duty(named)

    def route(self, facts: Facts) -> Route:
        """Where this case goes."""
        kind = kind_of(facts.kind)
        for rule in self._over(facts):
            for step in _steps(rule):
                if facts.amount >= Decimal(step["from"] or 0):
                    severity = _SEVERITIES.get(step["as"] or "", kind.severity)
                    person, says = None, ""
                    if step["to"] and self._people is not None:
                        person, says = self._people.who(step["to"], step["queue"], facts.legal_entity, facts.kind)
                    return Route(step["queue"], severity, rule.id, person, says)
        return Route(queue_for(kind, flow=facts.flow), kind.severity)

    def _over(self, facts: Facts) -> list[Rule]:
        """The rules that hold for a case, the most specific first; of equals the older one."""
        asked = {"connection": facts.connection, "legal_entity": facts.legal_entity, "currency": facts.currency}
        found: dict[int, Rule] = {}
        for key in facts.keys:
            for rule in self._rules.candidates(ROUTING, key):
                if self._holds(rule, asked):
                    found[rule.id] = rule
        return sorted(found.values(), key=lambda rule: (-rule.specificity, rule.id))

    def _holds(self, rule: Rule, asked: Mapping[str, str]) -> bool:
        return (
            rule.effective_from <= self._today
            and (rule.effective_to is None or self._today < rule.effective_to)
            and all(not said or said == asked.get(name, "") for name, said in zip(DIMENSIONS, rule[4:9], strict=True))
            and conditions_hold(rule.conditions, {})
        )


def _steps(rule: Rule) -> list[dict[str, Any]]:
    """The steps of a rule's ladder."""
    return [match.groupdict() for part in rule.value.split("; ") if (match := _STEP.fullmatch(part))]
