"""Taking a suggestion into one's own draft, by one press; it holds once somebody else has approved the draft."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from mappings import building, choices, suggestions
from mappings.days import rules_today
from mappings.drafts import DraftRefused, Line, line_for
from mappings.hints import find_hints
from mappings.kinds import BY_CODE, Kind
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import refuse
from q2c.records.models import GoldenRecord

TEXT_MAX = 250


@require_GET
@requires("mappings.propose_rule")
def hints(request: PersonRequest) -> HttpResponse:
    """What a key probably becomes, to take one into the field that is named."""
    kind = _kind(request.GET)
    key, entity, system, field = (_text(request.GET, name) for name in ("key", "legal_entity", "connection", "for"))
    connection = suggestions.target_connection(kind, system, entity, key)
    names = names_of(kind, [key])
    found = find_hints(kind, [key], connection=connection, legal_entity=entity, names=names).get(key, [])
    return render(request, "mappings/_hints.html", {"hints": found, "for": field, "asked": key})


@require_POST
@requires("mappings.propose_rule")
def take(request: PersonRequest) -> HttpResponse:
    """Take the suggestion for one hole of the matrix into the person's draft, and show the matrix again."""
    sent = QueryDict(request.POST.get("take", "")[:2000])
    kind, key = _kind(sent), _text(sent, "key")
    found = find_hints(kind, [key], connection=_text(sent, "system"), names=names_of(kind, [key])).get(key, [])
    hint = next((hint for hint in found if hint.target.id == _text(sent, "value")), None)
    back = f"{reverse('mappings:matrix')}?{QueryDict(request.POST.get('here', '')[:2000]).urlencode()}"
    if hint is None:
        return refuse(request, f"Nothing is suggested for {key} any more.", back)
    place: dict[str, Any] = {name: _text(sent, name) for name in ("connection", "legal_entity", "currency")}
    line = line_for(Line(kind=kind.code, key=key, value=hint.target.id, label=hint.target.name,
                         effective_from=rules_today(place["legal_entity"]), **place))  # fmt: skip
    try:
        title, why = f"Suggested: {kind.title}", f"Suggested: {hint.says}"
        draft = building.add_to_draft(title, why, lines=[line], by=request.user)
    except DraftRefused as refused:
        return refuse(request, f"Not possible: {refused.faults[0].text}.", back)
    choices.note_choice(line, offered=found[0].target.id, reason=found[0].reason, by=request.user)
    said = f"{key} becomes {hint.target.text} in your draft CS-{draft.pk}. Propose it when it’s complete."
    messages.success(request, said, extra_tags="done")
    return redirect(back)


def names_of(kind: Kind, keys: Collection[str]) -> dict[str, str]:
    """What is sold under these keys, where they are SKUs."""
    if kind.key_fields != ("sku",) or not keys:
        return {}
    rows = GoldenRecord.objects.filter(record_type="product", content__sku__in=list(keys))
    return {sku: name for sku, name in rows.values_list("content__sku", "content__name") if name}


def drafted_in(user: Any, kind: Kind, keys: Collection[str]) -> dict[tuple[str, ...], int]:
    """What the person's open draft answers already: key, system, entity and currency, with the draft's number."""
    draft = building.drafts_of(user).first() if keys else None
    if draft is None:
        return {}
    lines = draft.lines.filter(kind=kind.code, key__in=list(keys))
    columns = ("key", "connection_code", "legal_entity_code", "currency")
    return dict.fromkeys(lines.values_list(*columns), draft.pk)


def _kind(sent: QueryDict) -> Kind:
    kind = BY_CODE.get(sent.get("kind", ""))
    if kind is None:
        raise Http404
    return kind


def _text(sent: QueryDict, name: str) -> str:
    return sent.get(name, "").replace("\x00", "")[:TEXT_MAX]
