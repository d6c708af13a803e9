"""The duplicate radar's screens: suspected pairs, one pair side by side, and what people decide about it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError

from exceptions import doubles
from mappings.references import RECORD_TYPES
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate, refuse
from q2c.core.templatetags.words import spoken
from q2c.flows.tasks import find_duplicates
from q2c.records import duplicates
from q2c.records.models import DuplicatePair, GoldenRecord

DECIDE = "mappings.propose_rule"
SUSPECTED, DISTINCT, MERGED = DuplicatePair.State.values
RADAR = "q2c.flows.tasks.find_duplicates"
MERGE_ONE, MERGE_OTHER, SAY_DISTINCT, UNDO = "one", "other", "distinct", "undo"


def pairs_visible_to(user: Any) -> QuerySet[DuplicatePair]:
    """Pairs of the person's entities; those of several entities, or of none, are for people of all."""
    return access.visible_to(user, DuplicatePair.objects.select_related("decided_by"))


@require_GET
@requires("mappings.view_rule")
def duplicate_list(request: HttpRequest) -> HttpResponse:
    """Suspected pairs, the surest first; with `?state=` what was decided."""
    state = request.GET.get("state", SUSPECTED)
    rows = pairs_visible_to(request.user)
    open_count = rows.filter(state=SUSPECTED).count()
    rows = rows.filter(state=state if state in (DISTINCT, MERGED) else SUSPECTED)
    listed = paginate(request, rows, order=("-score", "-id"))
    for row in listed.rows:
        row.kind_title = RECORD_TYPES[row.record_type].title
        row.systems = list(dict.fromkeys(spoken(key.partition(":")[0]) for key in (row.one_key, row.other_key)))
    context = {
        "page": listed, "state": state, "states": [DISTINCT, MERGED], "open_count": open_count,
        "looked_at": PeriodicTask.objects.filter(task=RADAR).values_list("last_run_at", flat=True).first(),
        "may_decide": access.may(request.user, DECIDE),
    }  # fmt: skip
    return page(request, "mappings/duplicate_list.html", "mappings/_duplicate_table.html", context)


@require_POST
@requires(DECIDE)
def duplicate_look(request: HttpRequest) -> HttpResponse:
    """Have the radar look now instead of within the hour."""
    try:
        find_duplicates.apply_async(retry=False, expires=600)
    except (OperationalError, OSError):
        said = "Not possible just now: no worker can be told. Try again later."
        return refuse(request, said, "mappings:duplicate_list")
    messages.success(request, "Records are being compared. New pairs appear here.", extra_tags="done")
    return redirect("mappings:duplicate_list")


@require_GET
@requires("mappings.view_rule")
def duplicate_detail(request: HttpRequest, pair_id: int) -> HttpResponse:
    """One pair, field by field."""
    return _show(request, _visible(request, pair_id))


class DecideForm(forms.Form):
    """What a person says of a pair, and why."""

    verdict = forms.ChoiceField(choices=[(v, v) for v in (MERGE_ONE, MERGE_OTHER, SAY_DISTINCT, UNDO)])
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))


@require_POST
@requires(DECIDE)
def duplicate_decide(request: PersonRequest, pair_id: int) -> HttpResponse:
    """Propose a merge or its undoing, or say that they are two."""
    pair = _visible(request, pair_id)
    if not access.sees_entity(request.user, pair.legal_entity_code, DECIDE):  # another role of theirs shows it
        return access.denied(request, DECIDE)
    form = dress(DecideForm(request.POST, label_suffix=""))
    if not form.is_valid():
        return _show(request, pair, status=422, form=form)
    verdict, why = form.cleaned_data["verdict"], form.cleaned_data["why"]
    try:
        if verdict == SAY_DISTINCT:
            duplicates.say_distinct(pair, by=request.user, why=why)
            count = sum(row.is_restarted for row in doubles.go_on_decided(by=request.user, why=why))
            said = "They stay two, and aren’t suspected again."
            if count:
                said += f" {count:,} held {'customer goes' if count == 1 else 'customers go'} on."
        elif verdict == UNDO:
            duplicates.propose_undo(pair, by=request.user, why=why)
            said = "Proposed. They stay one until someone else approves."
        else:
            survivor = pair.one_key if verdict == MERGE_ONE else pair.other_key
            duplicates.propose_merge(pair, survivor=survivor, by=request.user, why=why)
            said = "Proposed. They stay two until someone else approves."
    except (duplicates.MergeRefused, ApprovalRefused) as refused:
        form.add_error(None, str(refused))
        return _show(request, pair, status=422, form=form)
    messages.success(request, said, extra_tags="done" if verdict == SAY_DISTINCT else "decide")
    return redirect("mappings:duplicate_detail", pair.pk)


def _show(request: HttpRequest, pair: DuplicatePair, *, status: int = 200, form: Any = None) -> HttpResponse:
    rows = GoldenRecord.objects.filter(record_type=pair.record_type, record_key__in=(pair.one_key, pair.other_key))
    records = {row.record_key: row for row in rows}
    one, other = records.get(pair.one_key), records.get(pair.other_key)
    proposals = list(duplicates.proposals_about(pair).select_related("proposed_by").order_by("-proposed_at")[:20])
    waiting = next((p for p in proposals if p.state == "proposed"), None)
    context = {
        "pair": pair,
        "kind_title": RECORD_TYPES[pair.record_type].title,
        "fields": _side_by_side(one, other),
        "proposals": proposals,
        "waiting": waiting,
        "form": form or dress(DecideForm(label_suffix="")),
        "may_merge": pair.record_type in duplicates.MERGEABLE,
        "may_decide": access.sees_entity(request.user, pair.legal_entity_code, DECIDE),
    }
    return page(request, "mappings/duplicate_detail.html", "mappings/duplicate_detail.html", context, status=status)


def _side_by_side(one: GoldenRecord | None, other: GoldenRecord | None) -> list[tuple[str, Any, Any, bool]]:
    """Field, both values, and whether they are the same; the same ones first."""
    mine, theirs = (record.content if record else {} for record in (one, other))
    rows = [(name, mine.get(name), theirs.get(name), mine.get(name) == theirs.get(name)) for name in {*mine, *theirs}]
    return sorted(rows, key=lambda row: (not row[3], row[0]))


def _visible(request: HttpRequest, pair_id: int) -> DuplicatePair:
    found = pairs_visible_to(request.user).filter(pk=pair_id).first()
    if found is None:
        raise Http404
    return found
