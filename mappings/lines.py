"""One row of a change set as a plain value: what is wished, what makes two of them the same rule, and what is wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mappings import scope
from mappings.known import KnownRule
from mappings.models import ChangeLine, MappingRule
from mappings.spans import Span

CREATE, CHANGE, RETIRE = ChangeLine.Act.CREATE, ChangeLine.Act.CHANGE, ChangeLine.Act.RETIRE
AnyRule = MappingRule | KnownRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One creation, change or retirement. `effective_from` of a retirement is its first day out of force."""

    kind: str
    key: str
    effective_from: dt.date
    act: str = CREATE
    value: str = ""
    label: str = ""
    connection: str = ""
    legal_entity: str = ""
    currency: str = ""
    region: str = ""
    product_line: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    is_fallback: bool = False
    effective_to: dt.date | None = None
    rule_id: int | None = None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The values of the scope's dimensions, in their fixed order; empty means any."""
        return (self.connection, self.legal_entity, self.currency, self.region, self.product_line)

    @property
    def specificity(self) -> int:
        """How specific the rule would be."""
        count = sum(1 for value in self.dimensions if value)
        return scope.specificity(
            self.key, dimensions=count, conditions=len(self.conditions), is_fallback=self.is_fallback
        )


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row, in one field (empty: the row as a whole), with what would be right."""

    line: int
    field: str
    text: str


def line_of(row: ChangeLine) -> Line:
    """A stored row as a line."""
    return Line(
        act=row.act, kind=row.kind, key=row.key, value=row.value, label=row.value_label,
        connection=row.connection_code, legal_entity=row.legal_entity_code, currency=row.currency, region=row.region,
        product_line=row.product_line, conditions=row.conditions, is_fallback=row.is_fallback,
        effective_from=row.effective_from, effective_to=row.effective_to, rule_id=row.rule_id,
    )  # fmt: skip


def retirement_of(rule: AnyRule, on: dt.date) -> Line:
    """The line that takes a rule out of force from that day on."""
    return Line(
        act=RETIRE, kind=rule.kind, key=rule.key, value=rule.value, label=rule.value_label,
        connection=rule.connection_code, legal_entity=rule.legal_entity_code, currency=rule.currency,
        region=rule.region, product_line=rule.product_line, conditions=rule.conditions, is_fallback=rule.is_fallback,
        effective_from=on, rule_id=rule.pk,
    )  # fmt: skip


def span_after(line: Line | ChangeLine) -> Span:
    """The days that the rule which a row changes or retires gives up."""
    return (line.effective_from, None if line.act == RETIRE else line.effective_to)


def identity(line: Line) -> tuple[Any, ...]:
    """What makes two rows the same rule at other dates: kind, key, scope and conditions."""
    return (line.kind, line.key, line.dimensions, _conditions(line.conditions))


def identity_of(rule: AnyRule) -> tuple[Any, ...]:
    """As `identity`, of a rule."""
    return (rule.kind, rule.key, place_of(rule), _conditions(rule.conditions))


def place_of(rule: AnyRule) -> tuple[str, ...]:
    """The values of a rule's dimensions, in their fixed order."""
    return (rule.connection_code, rule.legal_entity_code, rule.currency, rule.region, rule.product_line)


def _conditions(conditions: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        tuple(sorted((name, tuple(sorted(scope.allowed(v)))) for name, v in conditions.items())) if conditions else ()
    )
