"""What others changed while somebody had a rule open: who, in which change set, and what it says now."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from mappings.days import rules_today
from mappings.drafts import identity_of, rules_by_identity
from mappings.known import KnownRule, rules_by_id
from mappings.models import ChangeSet, MappingRule

AnyRule = MappingRule | KnownRule


def successor_of(rule: AnyRule) -> KnownRule | None:
    """What is known now of the same kind, key, scope and conditions: what holds today, else what holds next or last."""
    found = rules_by_identity([(rule.kind, rule.key, rule.legal_entity_code)]).get(identity_of(rule), [])
    today = rules_today(rule.legal_entity_code)
    later = sorted(found, key=lambda r: r.effective_from)
    holds = [r for r in later if r.effective_from <= today and (r.effective_to is None or today < r.effective_to)]
    return next(iter([*holds, *(r for r in later if r.effective_from > today), *reversed(later)]), None)


def tell_change(rule: AnyRule) -> str:
    """Who changed a rule that is known no more, and what it says now: "CS-5 of Mira changed it meanwhile: A is 3"."""
    if rule.known_to is None:
        return ""
    by = ChangeSet.objects.filter(number=rule.known_to).select_related("proposed_by").first()
    who = f"CS-{by.pk} of {by.proposed_by}" if by else "Another change set"
    now = successor_of(rule)
    if now is None:
        return f"{who} retired it meanwhile"
    said = now.value if now.value != rule.value else f"{now.value} still"
    since = f" from {now.effective_from} on" if now.effective_from > rules_today(now.legal_entity_code) else ""
    return f"{who} changed it meanwhile: {now.key} is {said}{since}"


def tell_changes(rule_ids: Iterable[int]) -> list[str]:
    """As `tell_change`, of those that are known no more; a few of many."""
    gone = [rule for rule in rules_by_id(rule_ids).values() if rule.known_to is not None]
    return [tell_change(rule) for rule in gone[:10]]


def waiting_for(rule: AnyRule) -> QuerySet[ChangeSet]:
    """The change sets that wait for a signature and would change this rule."""
    rows = ChangeSet.objects.filter(state=ChangeSet.State.PROPOSED, lines__rule_id=rule.pk)
    return rows.select_related("proposed_by").order_by("pk").distinct()
