"""Many rules at once from what holds already: an entity's rules for another one, targets renumbered from a day on.

Both give wishes only; they are checked and proposed like any others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from mappings import drafts, spans, suggestions
from mappings.drafts import CHANGE, CREATE, Line
from mappings.kinds import FREE, KINDS, OWN_LISTS
from mappings.models import MappingRule

# Lists whose entries are renumbered by their owners; each is the target of one or more kinds.
RENUMBERED = tuple(dict.fromkeys(kind.target for kind in KINDS if kind.target not in (FREE, *OWN_LISTS)))


class Copied(NamedTuple):
    """The wishes, and how many rules were left out because the other has its own on that day."""

    lines: list[Line]
    left_out: int


def copy_entity(source: str, to: str, *, kinds: Iterable[str], on: dt.date) -> Copied:
    """The rules that hold for one entity on a day, as new ones of another. Where the other has its own on that day
    they are left out; where its own begins later they end with that, and one that has ended is in nobody's way.

    Where the entity is the key itself (its subsidiary, its location) the key becomes the other's: nothing is copied
    there, because each entity has its own.
    """
    wanted = [kind.code for kind in KINDS if kind.code in set(kinds) and "legal_entity" in kind.scope]
    rules = _in_force(on).filter(kind__in=wanted, legal_entity_code=source).order_by("kind", "key", "id")
    own: dict[str, Any] = {"act": CREATE, "rule_id": None, "legal_entity": to}
    lines = [replace(drafts.retirement_of(rule, on), effective_to=rule.effective_to, **own) for rule in rules]
    known = drafts.rules_by_identity((line.kind, line.key, line.legal_entity) for line in lines)
    copied = []
    for line in lines:
        taken = [(rule.effective_from, rule.effective_to) for rule in known.get(drafts.identity(line), ())]
        start, end = next(iter(spans.free((on, line.effective_to), taken)), (None, None))
        if start == on:
            copied.append(replace(line, effective_to=end))
    return Copied(copied, len(lines) - len(copied))


def renumber(targets: Mapping[str, str], *, list_name: str, connection: str, on: dt.date) -> list[Line]:
    """Every rule that becomes an old target of a list from a day on becomes its new one, over all kinds with that list.

    A rule that begins later changes from its own first day. `targets`: old id to new id. A rule that names no system is
    one of this list where its entity's own system is this one: another's ids only look the same.
    """
    kinds, holders = {kind.code: kind for kind in KINDS if kind.target == list_name}, suggestions.Holders()
    rules = MappingRule.objects.filter(
        Q(effective_to__isnull=True) | Q(effective_to__gt=on), kind__in=list(kinds), value__in=list(targets),
        connection_code__in=("", connection), known_to__isnull=True,
    ).order_by("kind", "key", "id")  # fmt: skip
    lines = []
    for rule in rules:
        held_by = holders.of(kinds[rule.kind], rule.connection_code, rule.legal_entity_code, rule.key)
        if held_by and connection not in held_by:
            continue
        line = drafts.retirement_of(rule, max(on, rule.effective_from))
        lines.append(replace(line, act=CHANGE, value=targets[rule.value], label="", effective_to=rule.effective_to))
    return lines


def _in_force(on: dt.date) -> QuerySet[MappingRule]:
    running = Q(effective_to__isnull=True) | Q(effective_to__gt=on)
    return MappingRule.objects.filter(running, effective_from__lte=on, known_to__isnull=True)
