"""Drafts of change sets: what somebody wants to create, change or retire, checked row by row before anybody is asked.

A fault names its row, its field and the way out; `conflicts` names two rules that could both win.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from connectors.models import ReferenceEntry
from mappings import conditions, scope
from mappings.conflicts import find_conflicts
from mappings.kinds import BY_CODE, CONNECTIONS, DIMENSIONS, ENTITIES, FREE, RETRY_POLICY, Kind
from mappings.known import KnownRule, rules_at_places, rules_by_id
from mappings.lines import CHANGE, CREATE, RETIRE, Fault, Line, identity, identity_of, line_of, retirement_of
from mappings.models import ChangeLine, ChangeSet, MappingRule
from mappings.retries import retry_faults
from mappings.shapes import key_fault, value_fault
from mappings.spans import END_OF_TIME
from mappings.suggestions import Holders, ask_for_system
from mappings.systems import Systems
from q2c.core.access import entities_where, roles_with
from q2c.core.history import save_with_reason
from q2c.core.models import LegalEntity, Person

# How long each field of a line may be: what the table of rules takes.
_STORED_AS = {"label": "value_label", "connection": "connection_code", "legal_entity": "legal_entity_code"}
LONGEST: dict[str, int] = {
    name: getattr(MappingRule._meta.get_field(_STORED_AS.get(name, name)), "max_length", 0)
    for name in ("key", "value", "label", *DIMENSIONS)
}


class DraftRefused(Exception):
    """The draft has faults; nothing was stored."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"row {fault.line + 1}: {fault.text}" for fault in faults))
        self.faults = list(faults)


def lines_for(lines: Sequence[Line]) -> list[Line]:
    """The same wishes, in one statement: changes where a rule with exactly this key, scope and conditions is in force
    that day, else creations.
    """
    known = rules_by_identity((line.kind, line.key, line.legal_entity) for line in lines)
    found = []
    for line in lines:
        rule = in_force(known.get(identity(line), ()), line.effective_from)
        found.append(replace(line, act=CHANGE if rule else CREATE, rule_id=rule.pk if rule else None))
    return found


def rules_by_identity(places: Iterable[tuple[str, str, str]]) -> dict[tuple[Any, ...], list[KnownRule]]:
    """The known rules of these kinds, keys and legal entities, by all that makes them the same rule (`identity`)."""
    known: dict[tuple[Any, ...], list[KnownRule]] = defaultdict(list)
    for rule in rules_at_places(places):
        known[identity_of(rule)].append(rule)
    return known


def in_force(rules: Iterable[KnownRule], on: dt.date) -> KnownRule | None:
    """The one of these that holds on a day, if any."""
    return next((r for r in rules if r.effective_from <= on < (r.effective_to or END_OF_TIME)), None)


def line_for(line: Line) -> Line:
    """As `lines_for`, for one."""
    return lines_for([line])[0]


def save_draft(
    title: str,
    why: str,
    *,
    lines: Sequence[Line],
    by: Person,
    case_id: int | None = None,
    is_checked: bool = False,
) -> ChangeSet:
    """A draft with these rows. Raises DraftRefused with every fault, or without rows or a reason.

    `is_checked`: the caller has just had them all checked; a proposal checks them again.
    """
    faults = [] if is_checked else check_lines(lines, by=by)
    if not lines:
        faults.append(Fault(0, "", "a change set needs at least one row"))
    if not why.strip():
        faults.append(Fault(0, "why", "say why"))
    if faults:
        raise DraftRefused(faults)
    with atomic():
        change_set = ChangeSet(title=title[:200], why=why, proposed_by=by, created_at=timezone.now(), case_id=case_id)
        save_with_reason(change_set, why=why, by=by)
        ChangeLine.objects.bulk_create(rows_for(change_set, lines), batch_size=2000)
    return change_set


def rows_for(change_set: ChangeSet, lines: Sequence[Line]) -> list[ChangeLine]:
    """The rows of these lines, not stored yet, each with the value that it would end."""
    rules = rules_by_id(line.rule_id for line in lines if line.rule_id)
    return [
        ChangeLine(
            change_set=change_set, act=line.act, rule_id=line.rule_id, kind=line.kind, key=line.key,
            connection_code=line.connection, legal_entity_code=line.legal_entity, currency=line.currency,
            region=line.region, product_line=line.product_line, conditions=dict(line.conditions),
            value=line.value, value_label=line.label, is_fallback=line.is_fallback,
            old_value=rules[line.rule_id].value if line.rule_id else "",
            effective_from=line.effective_from, effective_to=line.effective_to,
        )
        for line in lines
    ]  # fmt: skip


def lines_of(change_set: ChangeSet) -> list[Line]:
    """The stored rows as lines, in their order."""
    return [line_of(row) for row in change_set.lines.order_by("pk").iterator(chunk_size=2000)]


def rows_beside(change_set: ChangeSet, lines: Iterable[Line]) -> QuerySet[ChangeLine]:
    """The stored rows that could contradict these: of the same kinds and keys, and patterns; in their order."""
    kinds, keys = {line.kind for line in lines}, {line.key for line in lines}
    return change_set.lines.filter(Q(key__in=keys) | Q(key__contains="*"), kind__in=kinds).order_by("pk")


def check_lines(
    lines: Sequence[Line],
    *,
    by: Person,
    tell: Callable[[], None] = lambda: None,
    row_of: Callable[[int], int] = lambda number: number + 1,
) -> list[Fault]:
    """Every fault of every row, conflicts between rules included. A few statements, whatever the number of rows.

    `tell` is called between the parts, and may raise to end it; `row_of` gives the number by which a row is named.
    """
    faults = [fault for number, line in enumerate(lines) for fault in _check_form(number, line)]
    tell()
    wrong = {fault.line for fault in faults}
    good = [(number, line) for number, line in enumerate(lines) if number not in wrong]
    rules = rules_by_id(line.rule_id for _, line in good if line.rule_id)
    for check in (lambda: _check_permission(good, by), lambda: _check_targets(good), lambda: _check_rules(good, rules)):
        faults += check()
        tell()
    faults += find_conflicts(good, rules=rules, row_of=row_of)
    return sorted(faults, key=lambda fault: (fault.line, fault.field))


def _check_form(number: int, line: Line) -> Iterable[Fault]:
    kind = BY_CODE.get(line.kind)
    if kind is None:
        yield Fault(number, "kind", f"there is no kind {line.kind}; kinds are {', '.join(BY_CODE)}")
        return
    for name, most in LONGEST.items():
        if len(text := getattr(line, name)) > most:
            yield Fault(
                number, name, f"{name.replace('_', ' ')} takes up to {most} characters, and this has {len(text)}"
            )
    if said := key_fault(kind, line.key, is_fallback=line.is_fallback):
        yield Fault(number, "key", said)
    if line.is_fallback and not kind.allows_fallback:
        yield Fault(number, "is_fallback", f"policy allows no fallback for {kind.title}")
    for name, value in zip(DIMENSIONS, line.dimensions, strict=True):
        if value and name not in kind.scope:
            yield Fault(number, name, f"{kind.title} isn't narrowed by {name.replace('_', ' ')}; leave it empty")
    if line.conditions and line.act != RETIRE:
        yield from (Fault(number, "conditions", said) for said in conditions.faults(kind, line.key, line.conditions))
    try:
        scope.conditions_key(line.conditions)
    except ValueError as error:
        yield Fault(number, "conditions", str(error))
    if line.act != RETIRE and (said := value_fault(kind, line.key, line.value)):
        yield Fault(number, "value", said)
    elif line.act != RETIRE and line.kind == RETRY_POLICY:
        yield from (Fault(number, name, text) for name, text in retry_faults(line.key, line.value))
    if line.effective_to is not None and line.effective_to <= line.effective_from:
        yield Fault(number, "effective_to", "the end must lie after the beginning")
    if (line.rule_id is None) != (line.act == CREATE):
        yield Fault(number, "", "a change or retirement names its rule, a creation none")


def _check_permission(rows: list[tuple[int, Line]], by: Person) -> Iterable[Fault]:
    allowed: dict[str, frozenset[str] | None] = {}
    for number, line in rows:
        permission = BY_CODE[line.kind].propose
        if permission not in allowed:
            allowed[permission] = entities_where(by, permission)
        entities = allowed[permission]
        if entities is not None and line.legal_entity not in entities:
            place = line.legal_entity or "every entity"
            who = "" if entities else f"; {roles_with(permission)} does"
            yield Fault(number, "legal_entity", f"your role proposes no {BY_CODE[line.kind].title} for {place}{who}")


def _check_targets(rows: list[tuple[int, Line]]) -> Iterable[Fault]:
    """The value must be in the target's own list, active, and of the right class: the list of the system that was
    named, else of the entity's own (where nobody plays the role, of any). A list never read can't refuse."""
    wanted = [
        (n, line, BY_CODE[line.kind]) for n, line in rows if line.act != RETIRE and BY_CODE[line.kind].target != FREE
    ]
    names = {kind.target for _, _, kind in wanted}
    entries: dict[tuple[str, str, str], ReferenceEntry] = {}
    values = {line.value for _, line, _ in wanted}
    for entry in ReferenceEntry.objects.filter(list_name__in=names, external_id__in=values).select_related(
        "connection"
    ):
        entries[(entry.list_name, entry.connection.code, entry.external_id)] = entry
        entries.setdefault((entry.list_name, "", entry.external_id), entry)
    known = set(
        ReferenceEntry.objects.filter(list_name__in=names).values_list("list_name", "connection__code").distinct()
    )
    read = known | {(name, "") for name, _ in known}
    own = set(LegalEntity.objects.values_list("code", flat=True)) if ENTITIES in names else set()
    systems = Systems() if CONNECTIONS in names else None
    holders = Holders()
    for number, line, kind in wanted:
        if kind.target == CONNECTIONS and systems is not None:
            for field_name, text in systems.faults(line.key, line.value, line.legal_entity, line.effective_from):
                yield Fault(number, field_name, text)
        elif kind.target == ENTITIES:
            if line.value not in own:
                yield Fault(number, "value", f"{line.value} isn't one of our legal entities: {', '.join(sorted(own))}")
        elif not _is_creation_word(line):
            held_by = holders.of(kind, line.connection, line.legal_entity, line.key)
            system = held_by[0] if held_by else ""
            if len(held_by) > 1:
                yield Fault(number, *ask_for_system(kind, held_by))
            elif (kind.target, system) in read:
                yield from _check_entry(number, line, kind, entries.get((kind.target, system, line.value)))


def _check_entry(number: int, line: Line, kind: Kind, entry: ReferenceEntry | None) -> Iterable[Fault]:
    if entry is None:
        yield Fault(
            number, "value", f"{line.value} isn't in the list of {kind.target}; refresh the list or choose another"
        )
        return
    if not entry.is_active:
        yield Fault(number, "value", f"{entry.name} is inactive in {entry.connection.name}")
    classes = kind.classes_for(line.key)
    actual = entry.attributes.get("account_class", "")
    if classes and actual and actual not in classes:
        yield Fault(number, "value", f"{entry.name} is {actual}; {line.key} needs {' or '.join(classes)}")


def _is_creation_word(line: Line) -> bool:
    return line.kind == "billing_product" and line.value == "create"


def _check_rules(rows: list[tuple[int, Line]], rules: Mapping[int, KnownRule]) -> Iterable[Fault]:
    """A changed or retired rule must still be known, be this very rule, and be in force at the day of the change."""
    seen: set[int] = set()
    for number, line in rows:
        if line.rule_id is None:
            continue
        rule = rules.get(line.rule_id)
        if rule is None or rule.known_to is not None:
            yield Fault(number, "", "the rule was changed meanwhile; look at it again")
        elif line.rule_id in seen:
            yield Fault(number, "", f"rule {rule.pk} stands twice in this set")
        elif (line.key, line.dimensions) != (rule.key, retirement_of(rule, line.effective_from).dimensions):
            yield Fault(number, "key", "a change keeps key and scope; retire the rule and create another")
        elif rule.effective_to is not None and rule.effective_to <= line.effective_from:
            yield Fault(number, "effective_from", f"the rule ends on {rule.effective_to} already")
        elif line.effective_to is not None and line.effective_to <= rule.effective_from:
            said = f"the rule begins on {rule.effective_from} only; add a new one for the days before"
            yield Fault(number, "effective_to", said)
        seen.add(line.rule_id)
