"""Rules in force, made as the approval service makes them, for tests of reading."""

from __future__ import annotations

import datetime as dt

from mappings import scope
from mappings.models import ChangeSet, MappingRule
from q2c.core.models import Person

START = dt.date(2010, 1, 1)


def two_people() -> tuple[Person, Person]:
    """A proposer and an approver."""
    return (
        Person.objects.get_or_create(username="maker")[0],
        Person.objects.get_or_create(username="checker")[0],
    )


def next_number() -> int:
    """An approved change set's number."""
    maker, _ = two_people()
    number = ChangeSet.objects.exclude(number=None).count() + 1
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ChangeSet.objects.create(number=number, title="t", why="w", state="approved", proposed_by=maker, created_at=at)
    return number


def make_rule(
    kind: str, key: str, value: str, *, number: int | None = None, on: dt.date = START, until: dt.date | None = None,
    is_fallback: bool = False, conditions: dict | None = None, **dimensions: str,
) -> MappingRule:  # fmt: skip
    """A rule as known from a change set (a new one unless given)."""
    maker, checker = two_people()
    conditions = conditions or {}
    names = {"connection": "connection_code", "legal_entity": "legal_entity_code"}
    return MappingRule.objects.create(
        kind=kind, key=key, value=value, conditions=conditions, conditions_key=scope.conditions_key(conditions),
        is_pattern=scope.is_pattern(key), is_fallback=is_fallback, effective_from=on, effective_to=until,
        specificity=scope.specificity(
            key, dimensions=len(dimensions), conditions=len(conditions), is_fallback=is_fallback
        ),
        known_from=number or next_number(), proposed_by=maker, approved_by=checker,
        **{names.get(name, name): text for name, text in dimensions.items()},
    )  # fmt: skip
