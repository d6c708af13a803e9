"""Cross-references: any record's ids in every system on one screen, and what people propose to change of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NamedTuple

import django_filters
from django import forms
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from connectors import links_out
from connectors.models import Connection
from mappings import identities
from mappings.kinds import PROPOSE
from mappings.models import CrossReference
from mappings.references import RECORD_TYPES
from mappings.workbench.fields import fields_of
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import ListFilter, dress
from q2c.core.htmx import page, paginate
from q2c.records import overrides
from q2c.records.models import GoldenRecord
from q2c.records.selectors import find_record

PROPOSALS_SHOWN = 30


class RecordFilter(ListFilter):
    """Kind of record, the beginning of its name, its number, its entity."""

    kind = django_filters.ChoiceFilter(
        label="Kind", field_name="record_type", choices=[(code, facts.title) for code, facts in RECORD_TYPES.items()]
    )
    name = django_filters.CharFilter(label="Name begins with", lookup_expr="startswith")
    number = django_filters.CharFilter(label="Number")
    entity = django_filters.CharFilter(label="Entity", field_name="legal_entity_code")

    class Meta:
        model = GoldenRecord
        fields: list[str] = []


class Known(NamedTuple):
    """One of a record's ids: where, what it's called there, and since when. `reference` is the stored row, None for a
    source that told us of itself; `others` are our other records that have the same id."""

    system: str
    kind: str
    external_id: str
    number: str
    link: str
    of: str
    entity: str
    at: Any
    reference: CrossReference | None
    others: list[CrossReference]


def records_visible_to(user: Any) -> QuerySet[GoldenRecord]:
    """Golden records of the person's entities; those without one are for people of all."""
    return access.visible_to(user, GoldenRecord.objects.filter(merged_into=""))


@require_GET
@requires("mappings.view_rule")
def identity_list(request: HttpRequest) -> HttpResponse:
    """Golden records, newest first: each opens with all its ids."""
    found = RecordFilter(request.GET, records_visible_to(request.user), request=request)
    listed = paginate(request, found.qs)
    names = dict(Connection.objects.values_list("code", "name"))
    for row in listed.rows:
        row.kind_title = _title_of(row.record_type)
        row.systems = sorted({names.get(alias.split(":", 1)[0], alias.split(":", 1)[0]) for alias in row.aliases})
    context = {"filter": found, "page": listed}
    return page(request, "mappings/identity_list.html", "mappings/_identity_table.html", context)


@require_GET
@requires("mappings.view_rule")
def identity_find(request: HttpRequest) -> HttpResponse:
    """The record that an id of a system stands for (`?system=&type=&id=`), wherever it was asked from."""
    system, kind, identifier = (request.GET.get(name, "").replace("\x00", "") for name in ("system", "type", "id"))
    rows = CrossReference.objects.filter(
        connection__code=system, external_type=kind, external_id=identifier, record_type__in=RECORD_TYPES
    )
    own = f"{system}:{kind}:{identifier}"
    of_own = CrossReference.objects.filter(record_key=own, record_type__in=RECORD_TYPES)
    row = rows.order_by("is_shared").first() or of_own.first()
    place = (row.record_type, row.record_key) if row else find_record(system, identifier)
    if place is None:
        raise Http404
    return redirect("mappings:identity_detail", *place)


@require_GET
@requires("mappings.view_rule")
def identity_detail(request: HttpRequest, record_type: str, record_key: str) -> HttpResponse:
    """One record: its ids everywhere, and how they came to be."""
    record, keys, references = visible_record(request.user, record_type, record_key)
    known = _known(request.user, record, record_key, references)
    beyond = access.beyond_reach(request.user, PROPOSE, entity_of(record, references))
    proposals = identities.proposals_about(record_type, keys)
    if record is not None:
        proposals = proposals | overrides.proposals_about(record)
    proposals = proposals.select_related("proposed_by").prefetch_related("signatures__signed_by")
    visible = proposals.order_by("-proposed_at")[:PROPOSALS_SHOWN]
    context = {
        "record": record,
        "record_type": record_type,
        "record_key": record.record_key if record else record_key,
        "kind_title": _title_of(record_type),
        "known": known,
        "system_count": len({row.system for row in known}),
        "proposals": list(visible),
        "fields": fields_of(record) if record else [],
        "may_propose": record_type in RECORD_TYPES and not beyond,
    }
    return page(request, "mappings/identity_detail.html", "mappings/identity_detail.html", context)


class ChangeForm(forms.Form):
    """What the id shall be, and why."""

    record_key = forms.ChoiceField(label="Of which of its ids")
    connection = forms.ChoiceField(label="System")
    external_type = forms.RegexField(label="What it is there", regex=r"^[A-Za-z_]{1,60}$")
    external_id = forms.CharField(label="Id there", max_length=120)
    number = forms.CharField(label="Number there", max_length=80, required=False)
    is_shared = forms.BooleanField(label="It’s another record’s id too, and rightly so", required=False)
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, data: Any, *, act: str, record_type: str, keys: list[str], names: dict[str, str]) -> None:
        super().__init__(data, initial={"external_type": record_type, "record_key": keys[0]}, label_suffix="")
        self.fields["record_key"].choices = [(key, _spoken_key(key, names)) for key in keys]  # type: ignore[attr-defined]
        self.fields["connection"].choices = list(names.items())  # type: ignore[attr-defined]
        dropped = {
            identities.LINK: (),
            identities.REPOINT: ("record_key", "connection", "external_type"),
            identities.UNLINK: ("record_key", "connection", "external_type", "external_id", "number", "is_shared"),
        }
        for name in dropped[act]:
            del self.fields[name]
        facts = RECORD_TYPES[record_type]
        if not facts.may_share:
            self.fields.pop("is_shared", None)
        dress(self)


@require_http_methods(["GET", "POST"])
@requires(PROPOSE)
def identity_change(request: PersonRequest, record_type: str, record_key: str) -> HttpResponse:
    """Propose to link a record, or with `?act=repoint|unlink&reference=` to change what is stored."""
    record, keys, references = visible_record(request.user, record_type, record_key)
    if access.beyond_reach(request.user, PROPOSE, entity_of(record, references)):  # another role of theirs shows it
        return access.denied(request, PROPOSE)
    act = request.GET.get("act", identities.LINK)
    row = next((r for r in references if str(r.pk) == request.GET.get("reference", "")), None)
    if record_type not in RECORD_TYPES or act not in identities.WORDS or (row is None) != (act == identities.LINK):
        raise Http404
    names = dict(Connection.objects.values_list("code", "name"))
    form = ChangeForm(request.POST or None, act=act, record_type=record_type, keys=keys, names=names)
    if request.method == "POST" and form.is_valid():
        change = _wanted(form.cleaned_data, row, record, record_type)
        try:
            with atomic():
                identities.propose_change(change, by=request.user, why=form.cleaned_data["why"])
        except (identities.IdentityRefused, ApprovalRefused) as refused:
            form.add_error(None, str(refused))
        else:
            messages.success(request, "Proposed. Nothing moves until someone else approves.", extra_tags="decide")
            return redirect("mappings:identity_detail", record_type, record_key)
    context = {"form": form, "act": act, "row": row, "record": record, "record_type": record_type,
               "record_key": record_key, "title": (record.name if record else "") or record_key}  # fmt: skip
    return render(request, "mappings/identity_change.html", context, status=422 if request.method == "POST" else 200)


def _wanted(
    data: dict[str, Any], row: CrossReference | None, record: GoldenRecord | None, record_type: str
) -> identities.Change:
    new = {"external_id": data.get("external_id", ""), "number": data.get("number", "")}
    if row is not None:
        return identities.change_of(row, is_shared=data.get("is_shared", False), **new)
    return identities.Change(
        record_type=record_type, record_key=data["record_key"], connection=data["connection"],
        external_type=data["external_type"], is_shared=data.get("is_shared", False),
        legal_entity=record.legal_entity_code if record else "", **new,
    )  # fmt: skip


def visible_record(
    user: Any, record_type: str, record_key: str
) -> tuple[GoldenRecord | None, list[str], list[CrossReference]]:
    """The golden record if the person sees it, its keys, and the references that they see. 404 without either."""
    place = find_record(*_split(record_key), record_type=record_type)
    record = None
    if place is not None:
        record = records_visible_to(user).filter(record_type=record_type, record_key=place[1]).first()
    keys = list(dict.fromkeys([record.record_key, *record.sources] if record else [record_key]))
    rows = CrossReference.objects.filter(record_type=record_type, record_key__in=keys).select_related("connection")
    references = list(access.visible_to(user, rows).order_by("connection__code", "external_type", "scope"))
    if record is None and not references:
        raise Http404
    return record, keys, references


def entity_of(record: GoldenRecord | None, references: list[CrossReference]) -> str:
    """Whose record it is; "" for one of every entity."""
    return record.legal_entity_code if record else references[0].legal_entity_code


def _known(user: Any, record: GoldenRecord | None, record_key: str, references: list[CrossReference]) -> list[Known]:
    connections = {c.code: c for c in Connection.objects.all()}
    sources = dict(record.sources) if record else {}
    found = []
    for key in dict.fromkeys([record.record_key if record else record_key, *sources]):
        system, kind, identifier = _parts(key)
        said_at = sources.get(key, {}).get("at")
        found.append(
            _as_known(
                connections, system, kind, identifier, of="", at=dt.datetime.fromisoformat(said_at) if said_at else None
            )
        )
    told = {(row.system, row.external_id) for row in found}
    others = _others(user, references)
    for row in references:
        name = connections[row.connection.code].name
        if (name, row.external_id) in told and not row.is_shared:
            continue  # a source that we made ourselves: it stands above with what it says
        found.append(
            _as_known(connections, row.connection.code, row.external_type, row.external_id, number=row.number,
                      of=row.record_key, entity=row.legal_entity_code, at=row.at, reference=row,
                      others=[o for o in others if _same(o, row) and o.pk != row.pk])
        )  # fmt: skip
    return found


def _as_known(
    connections: dict[str, Connection], system: str, kind: str, identifier: str, *, number: str = "", of: str = "",
    entity: str = "", at: Any = None, reference: CrossReference | None = None,
    others: Iterable[CrossReference] = (),
) -> Known:  # fmt: skip
    connection = connections.get(system)
    link = links_out.record_url(connection, kind, identifier)
    name = connection.name if connection else system
    return Known(name, kind, identifier, number, link, of, entity, at, reference, list(others))


def _others(user: Any, references: list[CrossReference]) -> list[CrossReference]:
    """Our other records that have one of these ids, as far as the person sees them."""
    shared = Q(pk__in=[])
    for row in references:
        shared |= Q(connection_id=row.connection_id, external_type=row.external_type, external_id=row.external_id)
    return list(access.visible_to(user, CrossReference.objects.filter(shared)))


def _same(a: CrossReference, b: CrossReference) -> bool:
    return (a.connection_id, a.external_type, a.external_id) == (b.connection_id, b.external_type, b.external_id)


def _parts(key: str) -> tuple[str, str, str]:
    system, _, rest = key.partition(":")
    kind, _, identifier = rest.partition(":")
    return system, kind, identifier


def _split(key: str) -> tuple[str, str]:
    system, _, identifier = _parts(key)
    return system, identifier


def _spoken_key(key: str, names: dict[str, str]) -> str:
    system, kind, identifier = _parts(key)
    return f"{names.get(system, system)} {kind} {identifier}"


def _title_of(record_type: str) -> str:
    return (
        RECORD_TYPES[record_type].title if record_type in RECORD_TYPES else record_type.replace("_", " ").capitalize()
    )
