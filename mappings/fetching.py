"""The rules of a batch in memory: fetched by one statement for all that will be asked, found by kind and key.

A wish may name the only legal entity that will ask: the rules of the others then stay where they are.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db import connection as database

from connectors.models import Connection
from mappings import scope
from mappings.kinds import BY_CODE

Pair = tuple[str, str]  # kind, key
Wish = Pair | tuple[str, str, str]  # kind, key, and perhaps the only legal entity that will ask


class Rule(NamedTuple):
    """A rule as the resolver keeps it."""

    specificity: int
    id: int
    kind: str
    key: str
    connection: str
    legal_entity: str
    currency: str
    region: str
    product_line: str
    conditions: Mapping[str, Any]
    effective_from: dt.date
    effective_to: dt.date | None
    value: str
    label: str
    version: int
    is_fallback: bool
    is_pattern: bool


class Overlay(NamedTuple):
    """What a draft would change in what is known: the rules that would end, and those that would come (ids below 0)."""

    ended: frozenset[int]
    rules: tuple[Rule, ...]


_NO_CONDITIONS: Mapping[str, Any] = {}
_NONE_YET: set[str] = set()
_NOTHING: frozenset[str] = frozenset()
_COLUMNS = (
    "r.specificity, r.id, r.kind, r.key, r.connection_code, r.legal_entity_code, r.currency, r.region, r.product_line, "
    "r.conditions::text, r.effective_from, r.effective_to, r.value, r.value_label, r.version, r.is_fallback, "
    "r.is_pattern"
)
_KNOWN = "r.known_from <= %(number)s AND (r.known_to IS NULL OR r.known_to > %(number)s)"
_LOAD = f"""
    SELECT f.* FROM unnest(%(kinds)s::text[], %(keys)s::text[], %(entities)s::text[]) AS w(kind, key, entities)
     CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM mappings_mappingrule r
         WHERE r.kind = w.kind AND r.key = w.key AND NOT r.is_pattern AND {_KNOWN}
           AND (w.entities IS NULL OR r.legal_entity_code = ANY(string_to_array(w.entities, '|')))
        OFFSET 0) f
    UNION ALL
    SELECT {_COLUMNS} FROM mappings_mappingrule r WHERE r.is_pattern AND r.kind = ANY(%(all_kinds)s) AND {_KNOWN}
"""  # OFFSET 0: the index is asked for each key, the whole table is never read for a batch
_LOOKS = f"""
    SELECT DISTINCT r.kind, looked.name FROM mappings_mappingrule r
     CROSS JOIN LATERAL (SELECT jsonb_object_keys(r.conditions) UNION ALL SELECT 'region' WHERE r.region <> '')
           looked(name)
     WHERE (r.conditions_key <> '' OR r.region <> '') AND {_KNOWN}
"""  # by the index rule_looks: few rules do


class Index:
    """Rules by kind and key, and what was answered; shared by the views of one snapshot."""

    def __init__(self, number: int, overlay: Overlay | None = None) -> None:
        self.number = number
        self._ended = overlay.ended if overlay else frozenset()
        self._planned: dict[tuple[str, str], list[Rule]] = {}  # patterns under (kind, "*")
        for rule in overlay.rules if overlay else ():
            key = "*" if rule.is_pattern else rule.key
            self._planned.setdefault((rule.kind, key), []).append(rule)
        self.memo: dict[tuple, Any] = {}
        self.conditional: dict[str, tuple[str, ...]] = {}  # by kind what the rules that are here look at, in order
        self._looks: dict[str, frozenset[str]] | None = None
        self.late_fetch_count = 0
        self._exact: dict[tuple[str, str], list[Rule]] = {}
        self._patterns: dict[str, _Patterns] = {}
        self._candidates: dict[tuple[str, str], list[Rule]] = {}
        self.asked: dict[tuple[str, str], set[str] | None] = {}  # the entities whose rules are here; None: all
        self._systems: dict[str, str] | None = None

    def fetch(self, wishes: Iterable[Wish]) -> None:
        """Add what these need, in one statement. Raises KeyError for a kind outside the catalogue."""
        fresh, asked = self._missing(wishes)
        if not fresh:
            return
        new_kinds = sorted({BY_CODE[kind].code for kind, _ in fresh} - self._patterns.keys())
        facts: dict[str, Any] = {
            "kinds": [kind for kind, _ in fresh],
            "keys": [key for _, key in fresh],
            "entities": [None if only is None else "|".join(only) for only in fresh.values()],
            "all_kinds": new_kinds,
            "number": self.number,
        }
        with database.cursor() as cursor:
            cursor.execute(_LOAD, facts)
            rows = cursor.fetchall()
        # Only now: what a lost connection didn't bring would else count as known, and its documents as unmapped.
        self.asked |= asked
        self._patterns |= {kind: _Patterns() for kind in new_kinds}
        for pair, only in fresh.items():
            self._candidates.pop(pair, None)
            if only is None:
                self._exact.pop(pair, None)
        for row in rows:
            rule = Rule._make((*row[:9], _NO_CONDITIONS if row[9] == "{}" else json.loads(row[9]), *row[10:]))
            if rule.id not in self._ended:
                self._add(rule)
        planned = self._planned
        first = (pair for pair, only in fresh.items() if only is None or "" in only)
        for rule in (rule for pair in [*first, *((kind, "*") for kind in new_kinds)] for rule in planned.get(pair, ())):
            self._add(rule)

    def _missing(self, wishes: Iterable[Wish]) -> tuple[dict[Pair, list[str] | None], dict[Pair, set[str] | None]]:
        """What isn't here yet: by pair the entities whose rules are wanted ("": rules of no entity), or None for all
        rules; and what of these pairs will be here then."""
        fresh: dict[Pair, list[str] | None] = {}
        asked: dict[Pair, set[str] | None] = {}
        for kind, key, *only in wishes:
            pair = (kind, key)
            here = asked[pair] if pair in asked else self.asked.get(pair, _NONE_YET)
            if here is None or (only and only[0] in here):
                continue
            if not only:
                asked[pair] = fresh[pair] = None
            else:
                added = [only[0]] if here else list(dict.fromkeys(("", only[0])))
                asked[pair] = {*here, *added}
                fresh[pair] = [*(fresh.get(pair) or ()), *added]
        return fresh, asked

    def _add(self, rule: Rule) -> None:
        if rule.conditions:
            self.conditional[rule.kind] = tuple(sorted({*self.conditional.get(rule.kind, ()), *rule.conditions}))
        if rule.is_pattern:
            self._patterns[rule.kind].add(rule)
        else:
            self._exact.setdefault((rule.kind, rule.key), []).append(rule)

    def candidates(self, kind: str, key: str, legal_entity: str | None = None) -> list[Rule]:
        """The rules whose key is this one or a pattern over it, most specific first: all (None), or at least those that
        an entity may use."""
        pair = (kind, key)
        here = self.asked.get(pair, _NONE_YET)
        if here is not None and (legal_entity is None or legal_entity not in here):
            self.late_fetch_count += 1
            self.fetch({pair})
        known = self._candidates.get(pair)
        if known is None:
            known = self._exact.get(pair, []) + self._patterns[kind].over(key)
            if len(known) > 1:
                known.sort(key=lambda rule: (-rule.specificity, rule.id))
            self._candidates[pair] = known
        return known

    def looks_at(self, kind: str) -> frozenset[str]:
        """What any rule of a kind that is known looks at beside key, dates and the usual scope: facts of the document,
        `region`. One statement for all kinds, the first time that somebody asks."""
        if self._looks is None:
            with database.cursor() as cursor:
                cursor.execute(_LOOKS, {"number": self.number})
                rows = cursor.fetchall()
            for rule in (rule for rules in self._planned.values() for rule in rules):
                rows += [(rule.kind, name) for name in (*rule.conditions, *(["region"] if rule.region else ()))]
            found: dict[str, set[str]] = {}
            for name, field in rows:
                found.setdefault(name, set()).add(field)
            self._looks = {name: frozenset(fields) for name, fields in found.items()}
        return self._looks.get(kind, _NOTHING)

    def system(self, code: str) -> str:
        """The connection's name for a sentence."""
        if self._systems is None:
            self._systems = dict(Connection.objects.values_list("code", "name"))
        return self._systems.get(code, code or "The ERP")


class _Patterns:
    """The patterns of a kind by how their first field begins, so that a key isn't compared with each."""

    def __init__(self) -> None:
        self._exact: dict[str, list[Rule]] = {}
        self._begins: dict[int, dict[str, list[Rule]]] = {}

    def add(self, rule: Rule) -> None:
        first = rule.key.partition("|")[0]
        if first.endswith("*"):
            self._begins.setdefault(len(first) - 1, {}).setdefault(first[:-1], []).append(rule)
        else:
            self._exact.setdefault(first, []).append(rule)

    def over(self, key: str) -> list[Rule]:
        """Those under which a key falls."""
        first = key.partition("|")[0]
        near = list(self._exact.get(first, ()))
        for length, begins in self._begins.items():
            near += begins.get(first[:length], ())
        return [rule for rule in near if scope.matches(rule.key, key)]
