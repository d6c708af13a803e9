"""What a change set would write: its differences row by row, its rules, and all rules as they would be then.

Approval writes these very rules, and the evidence before it asks them, so both can't differ.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Q

from mappings import scope
from mappings.drafts import CREATE, RETIRE, Line, lines_of
from mappings.models import ChangeLine, ChangeSet, MappingRule
from mappings.resolve import Overlay, Rule, latest_change_set


def overlay_of(change_set: ChangeSet) -> Overlay:
    """What it would change in what is known now, for `Snapshot.load`. Its own rules have ids below 0."""
    number = latest_change_set() + 1
    rows = list(change_set.lines.order_by("pk"))
    old = MappingRule.objects.in_bulk([row.rule_id for row in rows if row.rule_id])
    planned = [
        rule
        for row in rows
        for rule in rules_of(row, old.get(row.rule_id or 0), number, proposer=change_set.proposed_by_id, approver=None)
    ]
    return Overlay(frozenset(old), tuple(_as_known(rule, -place) for place, rule in enumerate(planned, start=1)))


def rules_touched(change_set: ChangeSet) -> set[int]:
    """Rules, of whichever time, whose answers the change set could change: of the same kind, about a key that its rows
    speak of, in a scope that meets theirs."""
    lines = Lines(lines_of(change_set))
    wide = {kind for kind, found in lines.patterns.items() if found}
    rules = MappingRule.objects.filter(
        Q(kind__in=lines.kinds, key__in={key for _, key in lines.exact})
        | Q(kind__in=lines.kinds, is_pattern=True)
        | Q(kind__in=wide)
    )
    columns = ("pk", "kind", "key", "connection_code", "legal_entity_code", "currency", "region", "product_line")
    return {
        pk
        for pk, kind, key, *dimensions in rules.values_list(*columns).iterator(chunk_size=5000)
        if any(_meet(line.dimensions, dimensions) for line in lines.about(kind, key))
    }


class Lines:
    """Rows by what they speak of, so that many rows and many keys are matched without comparing each with each."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.kinds: set[str] = set()
        self.exact: dict[tuple[str, str], list[Line]] = defaultdict(list)
        self.patterns: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            self.kinds.add(line.kind)
            if scope.is_pattern(line.key):
                self.patterns[line.kind].append(line)
            else:
                self.exact[line.kind, line.key].append(line)

    def about(self, kind: str, key: str) -> Iterator[Line]:
        """The rows that speak of a key, or of one that falls under this pattern."""
        if scope.is_pattern(key):
            for (other, exact), found in self.exact.items():
                if other == kind and scope.overlap(exact, key):
                    yield from found
        else:
            yield from self.exact.get((kind, key), ())
        yield from (line for line in self.patterns.get(kind, ()) if scope.overlap(line.key, key))


def _meet(some: Iterable[str], others: Iterable[str]) -> bool:
    return not any(x and y and x != y for x, y in zip(some, others, strict=True))


def _as_known(rule: MappingRule, rule_id: int) -> Rule:
    return Rule(
        rule.specificity, rule_id, rule.kind, rule.key, rule.connection_code, rule.legal_entity_code, rule.currency,
        rule.region, rule.product_line, rule.conditions, rule.effective_from, rule.effective_to, rule.value,
        rule.value_label, rule.version, rule.is_fallback,
    )  # fmt: skip


def rules_of(
    row: ChangeLine, old: MappingRule | None, number: int, *, proposer: int, approver: int | None
) -> Iterable[MappingRule]:
    """What is known of a row from change set `number` on: its new rule, and what stays in force of the old one."""
    start, end = row.effective_from, row.effective_to
    if old is not None:
        if row.act == RETIRE:
            end = None
        elif end is None:
            end = old.effective_to
        if old.effective_from < start:
            yield remainder(old, number, old.effective_from, start)
        if end is not None and (old.effective_to is None or end < old.effective_to):
            yield remainder(old, number, end, old.effective_to)
    if row.act != RETIRE:
        people: dict[str, Any] = {"proposed_by_id": proposer, "approved_by_id": approver}
        dimensions = (row.connection_code, row.legal_entity_code, row.currency, row.region, row.product_line)
        yield MappingRule(
            kind=row.kind, key=row.key, connection_code=row.connection_code, legal_entity_code=row.legal_entity_code,
            currency=row.currency, region=row.region, product_line=row.product_line, conditions=row.conditions,
            conditions_key=scope.conditions_key(row.conditions), value=row.value, value_label=row.value_label,
            is_pattern=scope.is_pattern(row.key), is_fallback=row.is_fallback,
            specificity=scope.specificity(
                row.key, dimensions=sum(map(bool, dimensions)), conditions=len(row.conditions),
                is_fallback=row.is_fallback,
            ),
            effective_from=start, effective_to=end, known_from=number, version=1 if row.act == CREATE else _next(old),
            change_line=row, **people,
        )  # fmt: skip


def remainder(old: MappingRule, number: int, start: dt.date, end: dt.date | None) -> MappingRule:
    """What stays (or is again) in force of a rule: the same words, the same people, other dates."""
    names = [f.attname for f in MappingRule._meta.concrete_fields if f.attname not in ("id", "known_from", "known_to")]
    facts = {name: getattr(old, name) for name in names} | {"effective_from": start, "effective_to": end}
    return MappingRule(known_from=number, **facts)


def _next(old: MappingRule | None) -> int:
    return old.version + 1 if old else 1


def differences(change_set: ChangeSet) -> list[dict[str, Any]]:
    """The rows of a change set, old and new: what is signed."""
    rows = change_set.lines.select_related("rule").order_by("pk")
    return [
        {
            "act": row.act,
            "kind": row.kind,
            "key": row.key,
            "scope": [row.connection_code, row.legal_entity_code, row.currency, row.region, row.product_line],
            "conditions": row.conditions,
            "is_fallback": row.is_fallback,
            "new": None if row.act == RETIRE else {"value": row.value, "label": row.value_label},
            "from": row.effective_from,
            "to": row.effective_to,
            "old": None
            if row.rule is None
            else {
                "rule": row.rule.pk,
                "version": row.rule.version,
                "value": row.rule.value,
                "from": row.rule.effective_from,
                "to": row.rule.effective_to,
            },
        }
        for row in rows
    ]
