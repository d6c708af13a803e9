"""Rules: the list by kind, and one rule with its earlier versions."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import Count, Q, QuerySet, Value
from django.db.models.functions import Upper
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from connectors.models import Connection
from exceptions import tallies
from mappings.days import rules_today
from mappings.kinds import BY_CODE, KINDS, PROPOSE, PROPOSE_RUNNING
from mappings.models import MappingRule
from mappings.selectors import (
    RULE_ORDER,
    by_key,
    change_sets_visible_to,
    life_of,
    rules_of_today,
    rules_visible_to,
    with_use_count,
)
from q2c.core import access
from q2c.core.access import requires
from q2c.core.filters import ListFilter
from q2c.core.htmx import page, paginate

LIVES = [
    ("now", "In force today"),
    ("future", "Start later"),
    ("retired", "Retired"),
    ("replaced", "Replaced versions"),
]


class RuleFilter(ListFilter):
    """Kind, key, entity, connection, value, and when it is in force."""

    kind = django_filters.ChoiceFilter(label="Kind", choices=[(kind.code, kind.title) for kind in KINDS])
    key = django_filters.CharFilter(label="Key", method="filter_key")
    entity = django_filters.CharFilter(label="Entity", field_name="legal_entity_code")
    connection = django_filters.CharFilter(label="System", field_name="connection_code")
    value = django_filters.CharFilter(label="Value")
    life = django_filters.ChoiceFilter(
        label="Life", choices=LIVES, empty_label="All current versions", method="filter_life"
    )

    class Meta:
        model = MappingRule
        fields: list[str] = []

    @property
    def qs(self) -> Any:
        """The filtered rows, for `RULE_ORDER`; replaced versions only when asked for."""
        rows = by_key(super().qs)
        return rows if self.form.cleaned_data.get("life") == "replaced" else rows.filter(known_to__isnull=True)

    def filter_key(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """Keys that begin so, in any case."""
        return by_key(rows).filter(sorted_key__startswith=Upper(Value(value)))

    def filter_life(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """By today's date."""
        today = rules_today()
        if value == "now":
            return rows.filter(Q(effective_to__isnull=True) | Q(effective_to__gt=today), effective_from__lte=today)
        if value == "future":
            return rows.filter(effective_from__gt=today)
        if value == "retired":
            return rows.filter(effective_to__lte=today)
        return rows.filter(known_to__isnull=False)


@require_GET
@requires("mappings.view_rule")
def rule_list(request: HttpRequest) -> HttpResponse:
    """The rules of one kind, or of all."""
    visible = rules_visible_to(request.user)
    found = RuleFilter(request.GET, visible, request=request)
    listed = paginate(request, with_use_count(found.qs), order=RULE_ORDER)
    for rule in listed:
        rule.life = life_of(rule)
    current = visible.filter(known_to__isnull=True).order_by("kind").values_list("kind")
    counts = dict(current.annotate(n=Count("pk")))
    missing = missing_rules(request.user)
    context = {
        "filter": found,
        "page": listed,
        "kinds": [(kind.code, kind.title, counts.get(kind.code, 0)) for kind in KINDS],
        "missing": missing,
        "missing_count": sum(missing.values()),
        "kind": BY_CODE.get(request.GET.get("kind", "")),
        "names": dict(Connection.objects.values_list("code", "name")),
        "open_count": change_sets_visible_to(request.user).filter(state="proposed").count(),
        "may_propose": access.may(request.user, PROPOSE),
        "may_propose_running": access.may(request.user, PROPOSE_RUNNING),
    }
    return page(request, "mappings/rule_list.html", "mappings/_rule_table.html", context)


def missing_rules(user: Any) -> dict[str, int]:
    """How many rules of each kind are missing: the open cases that ask for one, of those that the person sees."""
    asked = tallies.cases_visible_to(user).filter(closed_at__isnull=True, subject__kind__in=list(BY_CODE))
    return dict(asked.order_by().values_list("subject__kind").annotate(n=Count("pk")))


@require_GET
@requires("mappings.view_rule")
def rule_detail(request: HttpRequest, rule_id: int) -> HttpResponse:
    """One rule: who agreed on it, and what it said before."""
    rule = (
        with_use_count(rules_visible_to(request.user))
        .filter(pk=rule_id)
        .select_related("change_line__change_set")
        .first()
    )
    if rule is None:
        raise Http404
    rule.life = life_of(rule)  # type: ignore[attr-defined]
    same = rules_visible_to(request.user).filter(
        kind=rule.kind, key=rule.key, connection_code=rule.connection_code, legal_entity_code=rule.legal_entity_code,
        currency=rule.currency, region=rule.region, product_line=rule.product_line, conditions_key=rule.conditions_key,
    )  # fmt: skip
    context = {
        "rule": rule,
        "today": rules_of_today([rule]).get(rule.pk) if rule.known_to is not None else None,
        "verb": BY_CODE[rule.kind].verb if rule.kind in BY_CODE else "becomes",
        "names": dict(Connection.objects.values_list("code", "name")),
        "versions": list(same.exclude(pk=rule.pk).order_by("-known_from", "-effective_from")[:30]),
        "may_propose": rule.kind in BY_CODE
        and access.may(request.user, BY_CODE[rule.kind].propose, rule.legal_entity_code or None),
    }
    return page(request, "mappings/rule_detail.html", "mappings/rule_detail.html", context)
