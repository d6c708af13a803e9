"""Rules: the list by kind, one rule with its earlier versions; change sets: list and one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import django_filters
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from connectors.models import Connection
from exceptions import tallies
from mappings.kinds import BY_CODE
from mappings.models import ChangeSet, MappingRule
from mappings.selectors import change_sets_visible_to, life_of, rules_visible_to, with_use_count
from q2c.core import access, approvals
from q2c.core.access import requires
from q2c.core.filters import ListFilter
from q2c.core.htmx import page, paginate
from q2c.core.models import Proposal
from q2c.transactions.selectors import transactions_visible_to

RELEASES_SHOWN = 20
LIVES = [("now", "In force today"), ("future", "Start later"), ("ended", "Ended"), ("replaced", "Replaced versions")]


class RuleFilter(ListFilter):
    """Kind, key, entity, connection, value, and when it is in force."""

    kind = django_filters.CharFilter(label="Kind")
    key = django_filters.CharFilter(label="Key", lookup_expr="istartswith")
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
        """The filtered rows; replaced versions only when asked for."""
        rows = super().qs
        return rows if self.form.cleaned_data.get("life") == "replaced" else rows.filter(known_to__isnull=True)

    def filter_life(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """By today's date."""
        today = timezone.localdate()
        if value == "now":
            return rows.filter(Q(effective_to__isnull=True) | Q(effective_to__gt=today), effective_from__lte=today)
        if value == "future":
            return rows.filter(effective_from__gt=today)
        if value == "ended":
            return rows.filter(effective_to__lte=today)
        return rows.filter(known_to__isnull=False)


@require_GET
@requires("mappings.view_rule")
def rule_list(request: HttpRequest) -> HttpResponse:
    """The rules of one kind, or of all."""
    visible = rules_visible_to(request.user)
    found = RuleFilter(request.GET, visible, request=request)
    listed = paginate(request, with_use_count(found.qs), order=("kind", "key", "id"))
    for rule in listed:
        rule.life = life_of(rule)
    kinds = visible.filter(known_to__isnull=True).order_by("kind").values_list("kind").annotate(n=Count("pk"))
    missing = missing_rules(request.user)
    context = {
        "filter": found,
        "page": listed,
        "kinds": [*kinds, *((code, 0) for code in sorted(missing) if code not in dict(kinds))],
        "missing": missing,
        "missing_count": sum(missing.values()),
        "kind": request.GET.get("kind", ""),
        "names": dict(Connection.objects.values_list("code", "name")),
        "open_count": change_sets_visible_to(request.user).filter(state="proposed").count(),
        "may_propose": access.may(request.user, "mappings.propose_rule"),
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
        "names": dict(Connection.objects.values_list("code", "name")),
        "versions": list(same.exclude(pk=rule.pk).order_by("-known_from", "-effective_from")[:30]),
        "may_propose": access.may(request.user, "mappings.propose_rule", rule.legal_entity_code or None),
    }
    return page(request, "mappings/rule_detail.html", "mappings/rule_detail.html", context)


@require_GET
@requires("mappings.view_rule")
def change_set_list(request: HttpRequest) -> HttpResponse:
    """Change sets, newest first."""
    rows = change_sets_visible_to(request.user)
    open_count = rows.filter(state="proposed").count()
    state = request.GET.get("state", "")
    if state in ChangeSet.State.values:
        rows = rows.filter(state=state)
    context = {"page": paginate(request, rows), "state": state, "open_count": open_count}
    return page(request, "mappings/change_set_list.html", "mappings/_change_set_table.html", context)


@require_GET
@requires("mappings.view_rule")
def change_set_detail(request: HttpRequest, change_set_id: int) -> HttpResponse:
    """One change set: what changes, who agreed."""
    return show_change_set(request, visible_change_set(request, change_set_id))


def visible_change_set(request: HttpRequest, change_set_id: int) -> ChangeSet:
    """The change set, or 404 for a foreign one too."""
    found = change_sets_visible_to(request.user).filter(pk=change_set_id).first()
    if found is None:
        raise Http404
    return found


def show_change_set(request: HttpRequest, change_set: ChangeSet, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a change set, also after a form that couldn't be used."""
    proposal = change_set.proposal
    context = {
        "change_set": change_set,
        "proposal": proposal,
        "lines": list(change_set.lines.select_related("rule").order_by("kind", "key")),
        "releases": _releases(request.user, proposal),
        "names": dict(Connection.objects.values_list("code", "name")),
        "cant": _why_not(request.user, proposal),
        "signers": access.who_may(proposal.signer_permission) if proposal else [],
        "signatures": list(proposal.signatures.select_related("signed_by").order_by("signed_at")) if proposal else [],
        **forms,
    }
    return page(request, "mappings/change_set_detail.html", "mappings/_sign.html", context, status=status)


def _why_not(user: Any, proposal: Proposal | None) -> str:
    """Why this person can't sign, or "" if they can."""
    if proposal is None:
        return "It isn’t proposed yet."
    refused = approvals.why_not(proposal, user)
    return refused.why if refused else ""


def _releases(user: Any, proposal: Proposal | None) -> dict[str, Any]:
    """The held documents that are signed for release: how many, how much in each currency, and where they
    stand now. Own entities only."""
    facts = proposal.content.get("affected", []) if proposal else []
    mine = [f for f in facts if access.sees_entity(user, f.get("legal_entity", ""))]
    amounts: dict[str, Decimal] = {}
    for fact in mine:
        if fact.get("amount"):
            amounts[fact["currency"]] = amounts.get(fact["currency"], Decimal(0)) + Decimal(fact["amount"])
    shown = mine[:RELEASES_SHOWN]
    rows = transactions_visible_to(user).filter(pk__in=[f["transaction"] for f in shown]) if shown else None
    return {
        "count": len(mine),
        "amounts": sorted(amounts.items()),
        "documents": shown,
        "states": {str(pk): state for pk, state in rows.values_list("pk", "state")} if rows is not None else {},
    }
