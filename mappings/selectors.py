"""Which rules and change sets a person sees, how a rule stands today, and how often it was used."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, Exists, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from mappings.models import ChangeLine, ChangeSet, MappingRule, RuleUse
from q2c.core import access


def rules_visible_to(user: Any) -> QuerySet[MappingRule]:
    """Rules of the person's entities, and those that hold for all entities."""
    codes = access.entities_of(user)
    rows = MappingRule.objects.select_related("proposed_by", "approved_by")
    return rows if codes is None else rows.filter(legal_entity_code__in=["", *sorted(codes)])


def with_use_count(rules: QuerySet[MappingRule]) -> QuerySet[MappingRule]:
    """The rules with how many documents used each (`use_count`): the workers' tallies together."""
    tallies = RuleUse.objects.filter(rule=OuterRef("pk")).order_by().values("rule").annotate(total=Sum("count"))
    return rules.annotate(
        use_count=Coalesce(Subquery(tallies.values("total")), Value(0), output_field=BigIntegerField())
    )


def life_of(rule: MappingRule) -> str:
    """A state of `core.states`: active, future, ended or retired."""
    today = timezone.localdate()
    if rule.known_to is not None:
        return "retired"
    if rule.effective_from > today:
        return "future"
    return "ended" if rule.effective_to is not None and rule.effective_to <= today else "active"


def change_sets_visible_to(user: Any) -> QuerySet[ChangeSet]:
    """Change sets none of whose lines names an entity that the person doesn't see."""
    rows = ChangeSet.objects.select_related("proposed_by", "proposal", "case")
    codes = access.entities_of(user)
    if codes is None:
        return rows
    foreign = ChangeLine.objects.filter(change_set=OuterRef("pk")).exclude(legal_entity_code__in=["", *sorted(codes)])
    return rows.exclude(Exists(foreign))
