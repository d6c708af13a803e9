"""Rules as they are stored, read many at a time: plain tuples under the names of `MappingRule`, a tenth of its cost."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connection

from mappings.models import MappingRule

LIKE_MAX = 200  # keys that begin alike and are compared
AT_ONCE = 20_000  # of what is asked for: one array (as many parameters take longer to write than to answer)


class KnownRule(NamedTuple):
    """A mapping rule, with the attributes of the model."""

    pk: int
    kind: str
    key: str
    connection_code: str
    legal_entity_code: str
    currency: str
    region: str
    product_line: str
    conditions: Mapping[str, Any]
    conditions_key: str
    value: str
    value_label: str
    is_pattern: bool
    is_fallback: bool
    specificity: int
    effective_from: dt.date
    effective_to: dt.date | None
    known_from: int
    known_to: int | None
    version: int
    change_line_id: int | None
    proposed_by_id: int
    approved_by_id: int | None  # None: of a draft


_NONE: Mapping[str, Any] = {}
_CONDITIONS = KnownRule._fields.index("conditions")
_ALIKE = tuple(KnownRule._fields.index(n) for n in ("kind", "connection_code", "legal_entity_code", "value_label"))
_COLUMNS = ", ".join({"pk": "r.id", "conditions": "r.conditions::text"}.get(n, f"r.{n}") for n in KnownRule._fields)
_SELECT = f"SELECT {_COLUMNS} FROM mappings_mappingrule r WHERE"
_EVER = (
    "SELECT r.id, r.kind, r.key, r.connection_code, r.legal_entity_code, r.currency, r.region, r.product_line"
    " FROM mappings_mappingrule r"
)
_EVER_BY_KEY = f"{_EVER} JOIN unnest(%s::text[], %s::text[]) w(kind, key) ON r.kind = w.kind AND r.key = w.key"
_BY_KEY = f"{_SELECT} r.kind = %s AND r.known_to IS NULL AND r.key = ANY(%s)"
_BY_PLACE = (
    f"{_SELECT} r.kind = %s AND r.known_to IS NULL AND r.key = ANY(%s) AND (r.key, r.legal_entity_code) IN"
    " (SELECT * FROM unnest(%s::text[], %s::text[]))"
)
_LIKE = f"""
    SELECT w.key, f.* FROM unnest(%(keys)s::text[], %(stems)s::text[]) w(key, stem), LATERAL (
        SELECT {_COLUMNS} FROM mappings_mappingrule r
         WHERE r.kind = %(kind)s AND r.known_to IS NULL AND NOT r.is_pattern
           AND (upper(r.key) COLLATE "C") >= w.stem AND (upper(r.key) COLLATE "C") < w.stem || chr(1114111)
         ORDER BY (upper(r.key) COLLATE "C") LIMIT %(limit)s) f
"""


def known_of(rule: MappingRule) -> KnownRule:
    """A rule of the model as a plain one."""
    return KnownRule._make(getattr(rule, name) for name in KnownRule._fields)


def rules_with_keys(pairs: Iterable[tuple[str, str]]) -> Iterator[KnownRule]:
    """The rules that are known of these kinds and keys, in a statement per kind and 20,000 keys."""
    keys: dict[str, list[str]] = defaultdict(list)
    for kind, key in sorted(set(pairs)):
        keys[kind].append(key)
    for kind, wanted in keys.items():
        for piece in _pieces(wanted):
            yield from _read(_BY_KEY, [kind, piece])


def rules_at_places(places: Iterable[tuple[str, str, str]]) -> Iterator[KnownRule]:
    """As `rules_with_keys`, of these kinds, keys and legal entities ("": those of every entity)."""
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind, key, entity in sorted(set(places)):
        wanted[kind].append((key, entity))
    for kind, found in wanted.items():
        for piece in _pieces(found):
            keys, entities = map(list, zip(*piece, strict=True))
            yield from _read(_BY_PLACE, [kind, keys, keys, entities])


def patterns_of(kinds: Collection[str]) -> Iterator[KnownRule]:
    """The patterns that are known of these kinds."""
    if kinds:
        yield from _read(f"{_SELECT} r.kind = ANY(%s) AND r.is_pattern AND r.known_to IS NULL", [list(kinds)])


def rules_of_kind(kind: str, change_set: int) -> Iterator[KnownRule]:
    """All rules of a kind as a change set knew them, whatever their dates."""
    knew = f"{_SELECT} r.kind = %s AND r.known_from <= %s AND (r.known_to IS NULL OR r.known_to > %s)"
    yield from _read(knew, [kind, change_set, change_set])


def rules_like(kind: str, stems: Mapping[str, str]) -> Iterator[tuple[str, KnownRule]]:
    """For each key the first rules of its kind whose key begins with its stem (in capitals), patterns apart."""
    with connection.cursor() as cursor:
        cursor.execute(_LIKE, {"kind": kind, "keys": list(stems), "stems": list(stems.values()), "limit": LIKE_MAX})
        for key, *row in cursor.fetchall():
            yield key, _rule_of(row, {})


def places_ever(
    pairs: Collection[tuple[str, str]], *, kinds: Collection[str], with_patterns_of: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    """Id, kind, key and dimensions of the rules, of whichever time, with these kinds and keys; of all rules of `kinds`,
    and of the patterns of further kinds. One may come twice."""
    with connection.cursor() as cursor:
        for piece in _pieces(sorted(pairs)):
            cursor.execute(_EVER_BY_KEY, [list(column) for column in zip(*piece, strict=True)])
            yield from cursor.fetchall()
        cursor.execute(
            f"{_EVER} WHERE r.kind = ANY(%s) OR (r.is_pattern AND r.kind = ANY(%s))",
            [list(kinds), list(with_patterns_of)],
        )
        while rows := cursor.fetchmany(AT_ONCE):
            yield from rows


def store_rules(rules: Iterable[KnownRule]) -> None:
    """Write rules as they stand; the database gives their ids."""
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY mappings_mappingrule ({', '.join(KnownRule._fields[1:])}) FROM STDIN") as copy,
    ):
        for rule in rules:
            copy.write_row([*rule[1:_CONDITIONS], json.dumps(rule.conditions), *rule[_CONDITIONS + 1 :]])


def rules_by_id(ids: Iterable[int]) -> dict[int, KnownRule]:
    """Rules by id, also such as are known no more."""
    wanted = sorted(set(ids))
    return {rule.pk: rule for piece in _pieces(wanted) for rule in _read(f"{_SELECT} r.id = ANY(%s)", [piece])}


def _read(statement: str, parameters: Sequence[Any]) -> Iterator[KnownRule]:
    alike: dict[str, str] = {}  # of many rules in memory, the words that they share are kept once
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        for row in cursor.fetchall():
            yield _rule_of(row, alike)


def _rule_of(row: Sequence[Any], alike: dict[str, str]) -> KnownRule:
    values = list(row)
    values[_CONDITIONS] = _NONE if row[_CONDITIONS] == "{}" else json.loads(row[_CONDITIONS])
    for place in _ALIKE:
        values[place] = alike.setdefault(values[place], values[place])
    return KnownRule._make(values)


def _pieces(wanted: Sequence[Any]) -> Iterator[Any]:
    return (wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE))
