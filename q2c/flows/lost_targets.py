"""Rules whose target has gone from the ERP's list: a case each, before a document fails on it; closed when mended."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q

from connectors.models import Connection, ReferenceEntry
from exceptions import cases
from exceptions.models import ExceptionCase
from mappings import suggestions
from mappings.days import rules_today
from mappings.kinds import BY_CODE, FREE, KINDS, Kind
from mappings.models import MappingRule
from q2c.core.problems import Category, Problem

CODE = "mapping_target_gone"
_PLACE = ("connection", "kind", "key", "legal_entity", "currency", "region", "product_line")


def tell_lost_targets(code: str) -> tuple[int, int]:
    """After a connection's lists were read: open the cases that are due, close those that are mended. Both counts.

    A list that was never read accuses nobody.
    """
    connection = Connection.objects.get(code=code)
    lost = {_print(problem.subject): (problem, rule) for rule, problem in _lost(connection)}
    open_cases = ExceptionCase.objects.filter(kind=CODE, connection_code=code, state__in=ExceptionCase.OPEN_STATES)
    known = {_print(case.subject): case for case in open_cases}
    fresh = [found for print_, found in lost.items() if print_ not in known]
    for problem, rule in fresh:
        cases.open_case(problem, connection_code=code, legal_entity_code=rule.legal_entity_code)
    mended = [case for print_, case in known.items() if print_ not in lost]
    for case in mended:
        subject = {name: case.subject.get(name) for name in _PLACE if case.subject.get(name)}
        problem = Problem(CODE, Category.MAPPING, "mended", **subject)
        cases.close_matching(
            problem, how="mended", why="The rule’s target stands in the list again, or another rule answers.",
            connection_code=code, legal_entity_code=case.legal_entity_code,
        )  # fmt: skip
    return len(fresh), len(mended)


def _lost(connection: Connection) -> list[tuple[MappingRule, Problem]]:
    read = set(ReferenceEntry.objects.filter(connection=connection).values_list("list_name", flat=True).distinct())
    found = []
    for kind in KINDS:
        if kind.target == FREE or kind.target not in read:
            continue
        own = Q(connection_code=connection.code) | Q(connection_code="") & _of_its_entities(kind, connection)
        stands = ReferenceEntry.objects.filter(
            connection=connection, list_name=kind.target, external_id=OuterRef("value"), is_active=True
        )
        running = Q(effective_to__isnull=True) | Q(effective_to__gt=rules_today())
        rules = MappingRule.objects.filter(own, running, ~Exists(stands), kind=kind.code, known_to__isnull=True)
        if kind.code == "billing_product":
            rules = rules.exclude(value="create")
        found += [(rule, _problem(rule, connection)) for rule in rules.order_by("key", "id")]
    return found


def _of_its_entities(kind: Kind, connection: Connection) -> Q:
    """Rules of the entities for which the connection holds the kind's list; those of all entities are read in the list
    of the one that plays the role for whoever has none of their own, and where there's no such one in the list of each
    that plays it for any, as a proposed rule is checked."""
    holders = suggestions.Holders()
    own = holders.players(kind)
    mine, others = (
        {entity for entity, code in own.items() if entity and (code == connection.code) is is_mine}
        for is_mine in (True, False)
    )

    def entity_in(field: str, of_all: Q) -> Q:
        if own.get("") == connection.code:
            return ~Q(**{f"{field}__in": others})
        found = Q(**{f"{field}__in": mine})
        is_read_here = "" not in own and connection.code in holders.of(kind, "", "")
        return found | of_all if is_read_here else found

    named = Q(legal_entity_code="")
    if not suggestions.names_entity(kind):
        return entity_in("legal_entity_code", named)
    return (named & entity_in("key", Q(key__endswith="*"))) | (~named & entity_in("legal_entity_code", Q()))


def _problem(rule: MappingRule, connection: Connection) -> Problem:
    noun = BY_CODE[rule.kind].target.replace("_", " ").removesuffix("s")
    place: dict[str, Any] = {
        "legal_entity": rule.legal_entity_code, "currency": rule.currency, "region": rule.region,
        "product_line": rule.product_line,
    }  # fmt: skip
    name = f"{rule.value} {rule.value_label}".strip()
    return Problem(
        CODE,
        Category.MAPPING,
        f"{connection.name} has no active {noun} {name} any more, which {rule.key} becomes",
        connection=connection.code,
        kind=rule.kind,
        key=rule.key,
        value=rule.value,
        **{dimension: text for dimension, text in place.items() if text},
    )


def _print(subject: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(subject.get(name) or "") for name in _PLACE)
