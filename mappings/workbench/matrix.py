"""The matrix of a kind: which keys have an answer in which entity and currency, before a document asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from connectors.families import Family
from connectors.models import RoleAssignment
from mappings import suggestions
from mappings.conditions import say
from mappings.days import rules_today
from mappings.hints import Hint, find_hints
from mappings.kinds import BY_CODE, CONNECTIONS, FREE, KINDS, Kind
from mappings.models import MappingRule
from mappings.resolve import Resolved, Snapshot
from mappings.workbench.taking import drafted_in, names_of
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.problems import Problem
from q2c.records.models import BilledDocument, GoldenRecord

KEYS_SHOWN = 50
PLACES_MAX = 24
ASKED_AT_ONCE = 6000  # answers looked for in one page: where few are missing, the search goes on with the next one
# Where a system goes without saying (by its role), what has no rule is no hole.
MATRIX_KINDS = tuple(k for k in KINDS if k.target not in (FREE, CONNECTIONS) and "legal_entity" in k.scope)
# Where the keys of a kind are named before a document asks: record type and field.
_NAMED_BY = {
    "item": (("product", "sku"),),
    "billing_product": (("product", "sku"),),
    "department": (("product", "family"),),
    "class": (("product", "family"),),
    "payment_terms": (("customer", "payment_terms"), ("order", "payment_terms")),
}


@dataclass(frozen=True)
class Place:
    """Where documents are posted: the entity, its currency where that matters, and the system that holds the list."""

    entity: str
    currency: str
    system: str


@dataclass(frozen=True)
class Answer:
    """What a key becomes in one place; a hole has the address where it's filled."""

    value: str = ""
    label: str = ""
    note: str = ""
    fill: str = ""
    hint: Hint | None = None
    take: str = ""  # what is sent to take the hint
    draft: int = 0  # the person's own draft in which it's answered
    others: tuple[str, ...] = ()  # what it becomes for some documents only, in words


Row = tuple[str, list[Answer]]


@require_GET
@requires("mappings.view_rule")
def matrix(request: PersonRequest) -> HttpResponse:
    """One page of keys: those that lack an answer somewhere, or all with `?show=all`. `?system=` asks for one system
    instead of each entity's own."""
    kind = BY_CODE.get(request.GET.get("kind", ""), MATRIX_KINDS[0])
    if kind not in MATRIX_KINDS:
        kind = MATRIX_KINDS[0]
    roles = _roles(kind)
    systems = {code: name for _, code, name in roles}
    system = request.GET.get("system", "") if request.GET.get("system") in systems else ""
    places = _places(request.user, kind, system, {entity: code for entity, code, _ in roles})
    keys, after, is_all = _keys(kind), request.GET.get("after", ""), request.GET.get("show") == "all"
    rows, last = _page([key for key in keys if key > after], kind, places, is_all=is_all)
    if may_propose := access.may(request.user, kind.propose):
        rows = _with_hints(kind, rows, places, request.user)
    query = request.GET.copy()
    query["after"] = last
    context = {
        "kind": kind, "kinds": MATRIX_KINDS, "places": places, "rows": rows, "total": len(keys), "is_all": is_all,
        "holes": sum(1 for _, answers in rows for answer in answers if answer.fill),
        "is_whole": not after and not last, "next": f"?{query.urlencode()}" if last else "", "after": after,
        "systems": systems, "system": system,
        "may_propose": may_propose, "here": request.GET.urlencode(),
    }  # fmt: skip
    return render(request, "mappings/matrix.html", context)


def _roles(kind: Kind) -> list[tuple[str | None, str, str]]:
    """Who holds a kind's values: entity (None: each other one), system, its name."""
    rows = RoleAssignment.objects.filter(family=suggestions.FAMILY_OF.get(kind.target, Family.ERP))
    names = ("legal_entity__code", "connection__code", "connection__name")
    return list(rows.order_by("connection__name").values_list(*names))


def _places(user: Any, kind: Kind, system: str, own: dict[str | None, str]) -> list[Place]:
    """The entities that the person sees, each with the currencies that it has really billed in, if they matter, and
    with the system that it posts to unless one is asked for."""
    codes = [entity.code for entity in access.visible_entities(user, "mappings.view_rule")]
    pairs = [(code, "") for code in codes]
    if "currency" in kind.scope:
        billed = BilledDocument.objects.filter(legal_entity_code__in=codes).order_by("legal_entity_code", "currency")
        known = list(billed.values_list("legal_entity_code", "currency").distinct())
        pairs = [*known, *((code, "") for code in codes if code not in {entity for entity, _ in known})]
    return [Place(code, currency, system or own.get(code) or own.get(None, "")) for code, currency in sorted(pairs)][
        :PLACES_MAX
    ]


def _keys(kind: Kind) -> list[str]:
    """What records name, and what another place has a rule for already."""
    ruled = MappingRule.objects.filter(kind=kind.code, known_to__isnull=True, is_pattern=False)
    keys = set(ruled.values_list("key", flat=True).distinct()) | set(kind.keys)
    for record_type, field in _NAMED_BY.get(kind.code, ()):
        named = GoldenRecord.objects.filter(record_type=record_type).values_list(f"content__{field}", flat=True)
        keys |= {key for key in named.distinct() if isinstance(key, str) and key}
    return sorted(keys)


def _page(keys: list[str], kind: Kind, places: list[Place], *, is_all: bool) -> tuple[list[Row], str]:
    """The first rows of these keys, and the last key that was looked at; empty where that was the last of all."""
    at_once = KEYS_SHOWN if is_all else max(KEYS_SHOWN, ASKED_AT_ONCE // max(1, len(places)))
    looked_at = keys[:at_once]
    rows = []
    for key, answers in _answers(kind, looked_at, places):
        if is_all or any(answer.fill for answer in answers):
            rows.append((key, answers))
        if len(rows) == KEYS_SHOWN:
            return rows, key if key != keys[-1] else ""
    return rows, looked_at[-1] if len(keys) > at_once else ""


def _answers(kind: Kind, keys: list[str], places: list[Place]) -> Iterator[Row]:
    """Every key in every place, from memory: two statements for the page."""
    snapshot, today = Snapshot.load([(kind.code, key, {}) for key in keys]), rules_today()
    for key in keys:
        answers = []
        for place in places:
            asked: dict[str, Any] = {
                "legal_entity": place.entity,
                "currency": place.currency,
                "connection": place.system,
            }
            try:
                found = snapshot.find(kind.code, key, on=today, **asked)
            except Problem as problem:
                answers.append(Answer(note=problem.summary))
                continue
            answer = _shown(found) if found else Answer(fill=_fill(kind, key, place))
            others = [f"{r.label or r.value} {say(r.conditions)}"
                      for r in snapshot.conditional(kind.code, key, on=today, **asked)]  # fmt: skip
            answers.append(replace(answer, others=tuple(others)) if others else answer)
        yield key, answers


def _with_hints(kind: Kind, rows: list[Row], places: list[Place], user: Any) -> list[Row]:
    """The likeliest answer beside each hole, or the person's own draft where it's filled."""
    keys = [key for key, answers in rows if any(answer.fill for answer in answers)]
    names, drafted = names_of(kind, keys), drafted_in(user, kind, keys)
    found = {
        system: find_hints(kind, keys, connection=system, names=names, limit=1)
        for system in sorted({place.system for place in places if keys})
    }

    def suggest(key: str, answer: Answer, place: Place) -> Answer:
        given = _given(kind, place)
        known = drafted.get((key, *(given.get(name, "") for name in ("connection", "legal_entity", "currency"))))
        if not answer.fill or known:
            return replace(answer, draft=known or 0) if answer.fill else answer
        hint = next(iter(found[place.system].get(key, ())), None)
        if hint is None:
            return answer
        sent = {"kind": kind.code, "key": key, "value": hint.target.id, "system": place.system, **given}
        return replace(answer, hint=hint, take=urlencode(sent))

    return [(key, [suggest(key, answer, place) for answer, place in zip(answers, places, strict=True)])
            for key, answers in rows]  # fmt: skip


def _shown(found: Resolved) -> Answer:
    return Answer(found.value, found.label, "fallback" if found.is_fallback else "")


def _fill(kind: Kind, key: str, place: Place) -> str:
    return (
        f"{reverse('mappings:grid')}?{urlencode({'kind': kind.code, 'key': key, **_given(kind, place), 'new': 'yes'})}"
    )


def _given(kind: Kind, place: Place) -> dict[str, str]:
    where = {"legal_entity": place.entity, "currency": place.currency, "connection": place.system}
    return {name: value for name, value in where.items() if value and name in kind.scope}
