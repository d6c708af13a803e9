"""What a change set would write: its differences row by row, its rules, and all rules as they would be then.

Approval writes these very rules, and the evidence before it asks them, so both can't differ.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from django.db.models import Count, Max

from mappings import scope, spans
from mappings.drafts import lines_of, rules_by_identity
from mappings.fetching import Overlay, Rule
from mappings.known import KnownRule, places_ever, rules_by_id
from mappings.lines import CREATE, RETIRE, Line, identity, line_of, span_after
from mappings.models import ChangeLine, ChangeSet
from mappings.resolve import latest_change_set
from q2c.core import jcs

ROWS_SIGNED = 1000
_ROWS_AT_ONCE = 2000


def overlay_of(change_set: ChangeSet, *, since: dt.date | None = None) -> Overlay:
    """What it would change in what is known now, for `Snapshot.load`. Its own rules have ids below 0.

    With `since` as if its rows had taken effect on that day already: for a back-test of what was posted before them.
    """
    ended = set(change_set.lines.filter(rule__isnull=False).values_list("rule", flat=True))
    number = latest_change_set() + 1
    given_way = {} if since is None else _given_way(change_set, since, number)
    planned = (rule for piece in planned_rules(change_set, number, approver=None, since=since) for rule in piece)
    cut = (rule for rule in given_way.values() if rule is not None)
    rules = (_as_known(rule, -place) for place, rule in enumerate(chain(planned, cut), start=1))
    return Overlay(frozenset(ended | given_way.keys()), tuple(rules))


def _given_way(change_set: ChangeSet, since: dt.date, number: int) -> dict[int, KnownRule | None]:
    """The other rules of the rows' identities that held between that day and the rows' own, by id, each with what
    stays of it before that day."""
    rows = list(change_set.lines.filter(effective_from__gt=since).order_by("pk"))
    known = rules_by_identity((row.kind, row.key, row.legal_entity_code) for row in rows)
    own = {row.rule_id for row in rows}
    found: dict[int, KnownRule | None] = {}
    for row in rows:
        for rule in known.get(identity(line_of(row)), ()):
            is_between = rule.effective_from < row.effective_from and (rule.effective_to or dt.date.max) > since
            if rule.pk not in own and is_between:
                is_older = rule.effective_from < since
                found[rule.pk] = remainder(rule, number, rule.effective_from, since) if is_older else None
    return found


def planned_rules(
    change_set: ChangeSet, number: int, *, approver: int | None, since: dt.date | None = None
) -> Iterator[list[KnownRule]]:
    """The rules that it would write as change set `number`, some thousand at a time: a large set needs little memory.
    With `since` as if its rows had taken effect on that day already.

    Read from its stored rows; between two pieces the caller may use the connection.
    """
    rows = change_set.lines.order_by("pk").iterator(chunk_size=_ROWS_AT_ONCE)
    while piece := list(islice(rows, _ROWS_AT_ONCE)):
        old = rules_by_id(row.rule_id for row in piece if row.rule_id)
        proposer = change_set.proposed_by_id
        if since is not None:
            for row in piece:
                row.effective_from = min(row.effective_from, since)
        yield [
            rule
            for row in piece
            for rule in rules_of(row, old.get(row.rule_id or 0), number, proposer=proposer, approver=approver)
        ]


def rules_touched(change_set: ChangeSet) -> set[int]:
    """Rules, of whichever time, whose answers the change set could change: of the same kind, about a key that its rows
    speak of, in a scope that meets theirs."""
    lines = Lines(lines_of(change_set))
    wide = {kind for kind, found in lines.patterns.items() if found}
    return {
        pk
        for pk, kind, key, *dimensions in places_ever(lines.exact, kinds=wide, with_patterns_of=lines.kinds)
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


def _as_known(rule: KnownRule, rule_id: int) -> Rule:
    return Rule(
        rule.specificity, rule_id, rule.kind, rule.key, rule.connection_code, rule.legal_entity_code, rule.currency,
        rule.region, rule.product_line, rule.conditions, rule.effective_from, rule.effective_to, rule.value,
        rule.value_label, rule.version, rule.is_fallback, rule.is_pattern,
    )  # fmt: skip


def rules_of(
    row: ChangeLine, old: KnownRule | None, number: int, *, proposer: int, approver: int | None
) -> Iterable[KnownRule]:
    """What is known of a row from change set `number` on: its new rule, and what stays in force of the old one. They
    have no id yet (0)."""
    start, end = row.effective_from, row.effective_to
    if old is not None:
        for span in spans.left_of((old.effective_from, old.effective_to), span_after(row)):
            yield remainder(old, number, *span)
    if row.act != RETIRE:
        dimensions = (row.connection_code, row.legal_entity_code, row.currency, row.region, row.product_line)
        yield KnownRule(
            0, row.kind, row.key, *dimensions, conditions=row.conditions,
            conditions_key=scope.conditions_key(row.conditions), value=row.value, value_label=row.value_label,
            is_pattern=scope.is_pattern(row.key), is_fallback=row.is_fallback,
            specificity=scope.specificity(
                row.key, dimensions=sum(map(bool, dimensions)), conditions=len(row.conditions),
                is_fallback=row.is_fallback,
            ),
            effective_from=start, effective_to=end, known_from=number, known_to=None,
            version=1 if row.act == CREATE or old is None else old.version + 1, change_line_id=row.pk,
            proposed_by_id=proposer, approved_by_id=approver,
        )  # fmt: skip


def remainder(old: KnownRule, number: int, start: dt.date, end: dt.date | None) -> KnownRule:
    """What stays (or is again) in force of a rule: the same words, the same people, other dates."""
    return old._replace(pk=0, known_from=number, known_to=None, effective_from=start, effective_to=end)


def differences(change_set: ChangeSet) -> Iterator[dict[str, Any]]:
    """The rows of a change set, old and new, in their order: what is signed."""
    rows = change_set.lines.order_by("pk").values_list(*_SAYS)
    for act, kind, key, *place, conditions, fallback, value, label, start, end, rule, version, old, since, until in (
        rows.iterator(chunk_size=_ROWS_AT_ONCE)
    ):  # fmt: skip
        yield {
            "act": act,
            "kind": kind,
            "key": key,
            "scope": place,
            "conditions": conditions,
            "is_fallback": fallback,
            "new": None if act == RETIRE else {"value": value, "label": label},
            "from": start,
            "to": end,
            "old": None
            if rule is None
            else {"rule": rule, "version": version, "value": old, "from": since, "to": until},
        }


_SAYS = (
    "act", "kind", "key", "connection_code", "legal_entity_code", "currency", "region", "product_line", "conditions",
    "is_fallback", "value", "value_label", "effective_from", "effective_to", "rule_id", "rule__version", "rule__value",
    "rule__effective_from", "rule__effective_to",
)  # fmt: skip


def signed_rows(change_set: ChangeSet) -> list[dict[str, Any]] | dict[str, Any]:
    """The rows as a proposal fixes them: word by word, or of a large set their number and the hash over all of them,
    row by row. Either way a changed row makes other content."""
    count = change_set.lines.count()
    if count <= ROWS_SIGNED:
        return list(differences(change_set))
    digest = hashlib.sha256()
    for row in differences(change_set):
        digest.update(jcs.canonical(row) + b"\n")
    return {"count": count, "hash": digest.hexdigest()}


def mark_of(change_set: ChangeSet) -> str:
    """What is another one as soon as a row comes or goes. Rows are never edited, and numbered as they come."""
    found = change_set.lines.aggregate(count=Count("pk"), newest=Max("pk"))
    return f"{found['count']} to {found['newest']}"
