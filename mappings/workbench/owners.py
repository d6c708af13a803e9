"""Survivorship: which system owns which field, as a matrix of record types and fields, with entities and dates;
and letting another system's value stand."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from mappings.kinds import PROPOSE
from mappings.models import MappingRule
from mappings.references import RECORD_TYPES
from mappings.selectors import life_of, rules_visible_to
from mappings.survivorship import DEFAULTS, Owner, words_of
from mappings.workbench.fields import fields_of
from mappings.workbench.identities import visible_record
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import dress
from q2c.core.htmx import page
from q2c.flows.field_owners import OWNER, REFUSAL, field_owners
from q2c.records import overrides

FAMILIES = ("crm", "billing", "erp")


class Row(NamedTuple):
    """A field: whose it is today for all entities, whether rules say so, and every rule about it, coming ones too."""

    record_type: str
    field: str
    key: str
    owner: Owner
    words: str
    is_default: bool
    rules: list[MappingRule]


@require_GET
@requires("mappings.view_rule")
def owner_list(request: HttpRequest) -> HttpResponse:
    """The matrix, by kind of record."""
    rules: dict[str, list[MappingRule]] = {}
    known = rules_visible_to(request.user).filter(kind__in=(OWNER, REFUSAL), known_to__isnull=True)
    for rule in known.order_by("key", "kind", "legal_entity_code", "effective_from"):
        rule.life = life_of(rule)  # type: ignore[attr-defined]
        rules.setdefault(rule.key, []).append(rule)
    find = field_owners()
    rows: dict[str, list[Row]] = {}
    for record_type, field in DEFAULTS:
        key = f"{record_type}|{field}"
        owner = find(record_type, field, "")
        is_default = owner == DEFAULTS[(record_type, field)]
        row = Row(record_type, field, key, owner, words_of(owner), is_default, rules.get(key, []))
        rows.setdefault(record_type, []).append(row)
    context: dict[str, Any] = {
        "groups": [(RECORD_TYPES[kind].title, sorted(found, key=lambda r: r.field)) for kind, found in rows.items()],
        "families": FAMILIES,
        "count": len(DEFAULTS),
        "own_count": sum(not row.is_default or bool(row.rules) for found in rows.values() for row in found),
        "may_propose": access.may(request.user, PROPOSE),
    }
    return page(request, "mappings/owner_list.html", "mappings/owner_list.html", context)


class OverrideForm(forms.Form):
    """Why another system's value shall stand, or not stand any more."""

    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))


@require_http_methods(["GET", "POST"])
@requires(PROPOSE)
def field_override(request: PersonRequest, record_type: str, record_key: str) -> HttpResponse:
    """Propose that what `?by=` says of `?field=` stands; without `by`, that the field follows its owner again."""
    record, _, _ = visible_record(request.user, record_type, record_key)
    field, said_by = request.GET.get("field", ""), request.GET.get("by", "")
    shown = next((f for f in fields_of(record) if f.name == field), None) if record else None
    lost = next((entry for entry in shown.refused if entry["by"] == said_by), None) if shown else None
    if record is None or shown is None or (lost is None if said_by else not shown.is_overridden):
        raise Http404
    if access.beyond_reach(request.user, PROPOSE, record.legal_entity_code):  # another role of theirs shows it
        return access.denied(request, PROPOSE)
    form = dress(OverrideForm(request.POST or None, label_suffix=""))
    if request.method == "POST" and form.is_valid():
        why = form.cleaned_data["why"]
        try:
            if said_by:
                overrides.propose_override(
                    record, field, refused_by=said_by, owner_of=field_owners(), by=request.user, why=why
                )
            else:
                overrides.propose_end(record, field, by=request.user, why=why)
        except (overrides.OverrideRefused, ApprovalRefused) as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, "Proposed. Nothing changes until someone else approves.", extra_tags="decide")
            return redirect("mappings:identity_detail", record_type, record.record_key)
    context = {"form": form, "record": record, "field": shown, "lost": lost}
    return render(request, "mappings/field_override.html", context, status=422 if request.method == "POST" else 200)
