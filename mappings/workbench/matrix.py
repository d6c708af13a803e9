"""The matrix of a kind: which keys have an answer in which entity and currency, before a document asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from mappings import suggestions
from mappings.kinds import BY_CODE, FREE, KINDS, Kind
from mappings.models import MappingRule
from mappings.resolve import Resolved, Snapshot
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.problems import Problem
from q2c.records.models import BilledDocument, GoldenRecord

KEYS_SHOWN = 50
PLACES_MAX = 24
MATRIX_KINDS = tuple(kind for kind in KINDS if kind.target != FREE and "legal_entity" in kind.scope)
# Which field of a product names the keys of a kind: what is sold is asked for, whether or not a rule is there yet.
_OF_PRODUCTS = {"item": "sku", "billing_product": "sku", "department": "family", "class": "family"}


@dataclass(frozen=True)
class Answer:
    """What a key becomes in one place; a hole has the address where it's filled."""

    value: str = ""
    label: str = ""
    note: str = ""
    fill: str = ""


@require_GET
@requires("mappings.view_rule")
def matrix(request: PersonRequest) -> HttpResponse:
    """One page of keys; only those with holes unless all are asked for."""
    kind = BY_CODE.get(request.GET.get("kind", ""), MATRIX_KINDS[0])
    if kind not in MATRIX_KINDS:
        kind = MATRIX_KINDS[0]
    places = _places(request.user, kind)
    keys = _keys(kind)
    after = request.GET.get("after", "")
    page = [key for key in keys if key > after][: KEYS_SHOWN + 1]
    rows = _answers(kind, page[:KEYS_SHOWN], places)
    holes = sum(1 for _, answers in rows for answer in answers if answer.fill)
    context = {
        "kind": kind, "kinds": MATRIX_KINDS, "places": places, "rows": rows, "holes": holes, "total": len(keys),
        "next": page[KEYS_SHOWN - 1] if len(page) > KEYS_SHOWN else "",
        "may_propose": access.may(request.user, kind.propose),
    }  # fmt: skip
    return render(request, "mappings/matrix.html", context)


def _places(user: Any, kind: Kind) -> list[tuple[str, str]]:
    """The entities that the person sees, each with the currencies that it has really billed in, if they matter."""
    codes = [entity.code for entity in access.visible_entities(user)]
    if "currency" not in kind.scope:
        return [(code, "") for code in codes][:PLACES_MAX]
    billed = BilledDocument.objects.filter(legal_entity_code__in=codes).order_by("legal_entity_code", "currency")
    pairs = list(billed.values_list("legal_entity_code", "currency").distinct())
    quiet = [(code, "") for code in codes if code not in {entity for entity, _ in pairs}]
    return sorted([*pairs, *quiet])[:PLACES_MAX]


def _keys(kind: Kind) -> list[str]:
    """What is sold, and what another place has a rule for already."""
    ruled = MappingRule.objects.filter(kind=kind.code, known_to__isnull=True, is_pattern=False)
    keys = set(ruled.values_list("key", flat=True).distinct())
    if field := _OF_PRODUCTS.get(kind.code):
        sold = GoldenRecord.objects.filter(record_type="product").values_list(f"content__{field}", flat=True).distinct()
        keys |= {key for key in sold if isinstance(key, str) and key}
    return sorted(keys | set(kind.keys))


def _answers(kind: Kind, keys: list[str], places: list[tuple[str, str]]) -> list[tuple[str, list[Answer]]]:
    """Every key in every place, from memory: two statements for the page."""
    snapshot = Snapshot.load([(kind.code, key, {}) for key in keys])
    connection, today = suggestions.target_connection(kind, ""), timezone.localdate()
    rows = []
    for key in keys:
        answers = []
        for entity, currency in places:
            try:
                found = snapshot.find(
                    kind.code, key, on=today, legal_entity=entity, currency=currency, connection=connection
                )
            except Problem as problem:
                answers.append(Answer(note=problem.summary))
                continue
            answers.append(_shown(found) if found else Answer(fill=_fill(kind, key, entity, currency, connection)))
        rows.append((key, answers))
    return rows


def _shown(found: Resolved) -> Answer:
    return Answer(found.value, found.label, "fallback" if found.is_fallback else "")


def _fill(kind: Kind, key: str, entity: str, currency: str, connection: str) -> str:
    place = {"legal_entity": entity, "currency": currency, "connection": connection}
    given = {name: value for name, value in place.items() if value and name in kind.scope}
    return f"{reverse('mappings:grid')}?{urlencode({'kind': kind.code, 'key': key, **given})}"
