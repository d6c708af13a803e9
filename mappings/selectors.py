"""Which rules and change sets a person sees, how a rule stands today and what it became, and how often it was used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, Collate, Upper

from mappings.days import rules_today
from mappings.models import ChangeLine, ChangeSet, MappingRule, RuleUse
from q2c.core import access

RULE_ORDER = ("kind", "sorted_key", "id")  # of `by_key`


def rules_visible_to(user: Any) -> QuerySet[MappingRule]:
    """Rules of the person's entities, and those that hold for all entities."""
    codes = access.entities_of(user, "mappings.view_rule")
    rows = MappingRule.objects.select_related("proposed_by", "approved_by")
    return rows if codes is None else rows.filter(legal_entity_code__in=["", *sorted(codes)])


def by_key(rules: QuerySet[MappingRule]) -> QuerySet[Any]:
    """The rules with their key as lists sort and seek it (`sorted_key`), whatever its letters' case: as it stands in
    the index `rule_listed`."""
    return rules.annotate(sorted_key=Collate(Upper("key"), "C"))


def with_use_count(rules: QuerySet[MappingRule]) -> QuerySet[MappingRule]:
    """The rules with how many documents used each (`use_count`): the workers' tallies together."""
    tallies = RuleUse.objects.filter(rule=OuterRef("pk")).order_by().values("rule").annotate(total=Sum("count"))
    return rules.annotate(
        use_count=Coalesce(Subquery(tallies.values("total")), Value(0), output_field=BigIntegerField())
    )


def life_of(rule: MappingRule) -> str:
    """A state of `core.states`: active, future, retired, or replaced by a version that is known since."""
    today = rules_today()
    if rule.known_to is not None:
        return "replaced"
    if rule.effective_from > today:
        return "future"
    return "retired" if rule.effective_to is not None and rule.effective_to <= today else "active"


def change_sets_visible_to(user: Any) -> QuerySet[ChangeSet]:
    """Change sets none of whose lines names an entity that the person doesn't see."""
    rows = ChangeSet.objects.select_related("proposed_by", "proposal", "case")
    codes = access.entities_of(user, "mappings.view_rule")
    if codes is None:
        return rows
    foreign = ChangeLine.objects.filter(change_set=OuterRef("pk")).exclude(legal_entity_code__in=["", *sorted(codes)])
    return rows.exclude(Exists(foreign))


def rules_by_id(ids: Iterable[int]) -> dict[int, MappingRule]:
    """Rules with the people who agreed on them, by id; also such as are known no more."""
    return MappingRule.objects.select_related("proposed_by", "approved_by").in_bulk(list(ids))


def rules_of_today(rules: Iterable[MappingRule]) -> dict[int, MappingRule]:
    """What each of these rules has become: the one of the same kind, key, scope and conditions that is in force today,
    by the id of the one that was asked about. Absent where there's none any more. One query."""
    asked = list(rules)
    today = rules_today()
    rows = MappingRule.objects.filter(
        Q(effective_to__isnull=True) | Q(effective_to__gt=today), kind__in={r.kind for r in asked},
        key__in={r.key for r in asked}, known_to__isnull=True, effective_from__lte=today,
    )  # fmt: skip
    known = {_identity(rule): rule for rule in (rows if asked else ())}
    return {rule.pk: known[_identity(rule)] for rule in asked if _identity(rule) in known}


def _identity(rule: MappingRule) -> tuple[str, ...]:
    return (
        rule.kind, rule.key, rule.connection_code, rule.legal_entity_code, rule.currency, rule.region,
        rule.product_line, rule.conditions_key,
    )  # fmt: skip
