"""Many documents at once: chosen, previewed, confirmed, a minute to undo, progress, a result per row, and again."""

from __future__ import annotations

import functools
import operator
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_POST

from exceptions import bulk, bulk_agreeing, bulk_results, tallies
from exceptions.bulk_results import BACK, DONE, LEFT, ON_WAY, PENDING, POSTED, Outcome
from exceptions.freezing import ASSIGN, WAYS, BulkRefused, freeze, freeze_again
from exceptions.kind_words import REPOST, WAIVE
from exceptions.models import BulkAction
from exceptions.workbench.bulk_words import headline, headline_of_counts
from exceptions.workbench.cases import visible_case
from exceptions.workbench.filters import CaseFilter
from exceptions.workbench.forms import ReasonForm, RepostForm
from exceptions.workbench.resolving_forms import WaiveForm
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate, refuse, wants_fragment
from q2c.core.models import Person

IDS_MAX = 500  # that one form can name; more are chosen by a filter
PLACES = (
    (POSTED, "Posted"), (ON_WAY, "On the way"), (BACK, "Came back"), (DONE, "Done"), (LEFT, "Left as they were"),
    (PENDING, "Not yet"),
)  # fmt: skip
POLLS = {"asked": "15s", "waiting": "1s", "running": "1s", "carrying": "2s"}


class AssignManyForm(forms.Form):
    """Who gets the cases, and why if that's worth saying."""

    to = forms.ModelChoiceField(Person.objects.none(), label="Owner", empty_label="Choose somebody")
    why = forms.CharField(
        label="Reason, if you like", required=False, max_length=1000, widget=forms.Textarea(attrs={"rows": 2})
    )

    def __init__(self, *args: Any, queues: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        works = [access.holders_q(WAYS[ASSIGN].permission, queue=queue) for queue in queues]
        people = Person.objects.filter(functools.reduce(operator.or_, works, access.NOBODY)).distinct()
        self.fields["to"].queryset = people.order_by("display_name", "username")  # type: ignore[attr-defined]
        dress(self)


@require_GET
@requires("exceptions.view_case")
def bulk_list(request: PersonRequest) -> HttpResponse:
    """What was done in bulk, newest first: one's own, or all that one sees."""
    rows = bulk_results.actions_visible_to(request.user)
    is_mine = request.GET.get("of") != "all"
    if is_mine:
        rows = rows.filter(made_by=request.user)
    listed = paginate(request, rows)
    for action in listed.rows:
        action.verb = WAYS[action.what].verb
        action.is_of_cases = bulk_results.is_of_cases(action)
    context = {"page": listed, "is_mine": is_mine}
    return page(request, "exceptions/bulk_list.html", "exceptions/_bulk_table.html", context)


@require_POST
@requires("exceptions.work_case")
def bulk_freeze(request: PersonRequest) -> HttpResponse:
    """Freeze what was ticked, all that match, or a whole case; the preview follows."""
    way = WAYS.get(request.POST.get("what", ""))
    if way is None:
        return refuse(request, "Choose cases and what to do with them.", "exceptions:case_list")
    if not access.may(request.user, way.permission):
        return access.denied(request, way.permission)
    back = _back(request)
    try:
        action = freeze(way.code, by=request.user, **_chosen(request))
    except BulkRefused as refused:
        return refuse(request, str(refused), back)
    return redirect("exceptions:bulk_detail", action.pk)


@require_GET
@requires("exceptions.view_case")
def bulk_detail(request: PersonRequest, action_id: int) -> HttpResponse:
    """A preview, then a countdown, then how far it is, then what became of each."""
    return _show(request, _visible(request, action_id))


@require_POST
@requires("exceptions.work_case")
def bulk_confirm(request: PersonRequest, action_id: int) -> HttpResponse:
    """Have one's draft done, a minute from now."""
    action = _own(request, action_id)
    form = _form(action, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            bulk.confirm(
                action, by=request.user, why=data["why"], as_then=data.get("as_then", False),
                assign_to=data.get("to"), code=data.get("code", ""),
            )  # fmt: skip
        except BulkRefused as refused:
            form.add_error(None, f"Not possible: {refused}")
        else:
            return redirect("exceptions:bulk_detail", action.pk)
    return _show(request, action, form=form, status=422)


@require_POST
@requires("exceptions.work_case")
def bulk_undo(request: PersonRequest, action_id: int) -> HttpResponse:
    """Let go of a draft, or stop what hasn't begun."""
    action = _own(request, action_id)
    if not bulk.undo(action, by=request.user):
        said = f"Not possible: {action.number} has begun already."
        return refuse(request, said, "exceptions:bulk_detail", action.pk)
    messages.success(request, f"{action.number} is undone. Nothing was done to any document.", extra_tags="done")
    return redirect("exceptions:bulk_detail", action.pk)


@require_POST
@requires("exceptions.work_case")
def bulk_stop(request: PersonRequest, action_id: int) -> HttpResponse:
    """End one's running action; what is done stays done."""
    action = _own(request, action_id)
    left = bulk.stop(action, by=request.user)
    if left is None:
        said = f"Not possible: {action.number} isn’t running any more."
        return refuse(request, said, "exceptions:bulk_detail", action.pk)
    said = f"{action.number} is stopped. {left:,} stay as they were; what was begun goes on."
    messages.success(request, said, extra_tags="done")
    return redirect("exceptions:bulk_detail", action.pk)


@require_POST
@requires("exceptions.work_case")
def bulk_again(request: PersonRequest, action_id: int) -> HttpResponse:
    """A new frozen set of what an action left or brought back."""
    former = _visible(request, action_id)
    way = WAYS[former.what]
    if not access.may(request.user, way.permission):
        return access.denied(request, way.permission)
    try:
        if former.state not in (BulkAction.State.DONE, BulkAction.State.UNDONE):
            raise BulkRefused(f"{former.number} hasn’t ended yet.")
        action = freeze_again(former, by=request.user)
    except BulkRefused as refused:
        return refuse(request, str(refused), "exceptions:bulk_detail", former.pk)
    return redirect("exceptions:bulk_detail", action.pk)


def _show(request: PersonRequest, action: BulkAction, *, form: Any = None, status: int = 200) -> HttpResponse:
    outcome = bulk_results.outcome_of(request.user, action)
    phase = bulk_results.phase_of(action, outcome)
    seen = request.GET.get("phase", "")
    if wants_fragment(request) and seen:
        if seen != phase:  # another form belongs below it now
            return HttpResponse(status=204, headers={"HX-Refresh": "true"})
        return render(request, "exceptions/_bulk_head.html", _head(action, outcome, phase))
    place = request.GET.get("show", "")
    rows = bulk_results.rows_at(action, bulk_results.items_visible_to(request.user, action), place)
    items = paginate(request, rows.select_related("case"), order=("id",))
    bulk_results.tell_rows(action, items.rows)
    is_own = action.made_by_id == request.user.pk
    context = {
        **_head(action, outcome, phase),
        "page": items,
        "place": place,
        "places": [(code, word, outcome.counts[code]) for code, word in PLACES if outcome.counts[code]],
        "totals": bulk_results.totals_for(request.user, action),
        "reasons": bulk_results.reasons_of(request.user, action),
        "is_own": is_own,
        "proposal": bulk_agreeing.proposal_of(action) if phase in ("asked", "undone") else None,
        "form": (form or _form(action)) if phase == "draft" and is_own and outcome.counts[PENDING] else None,
        "again_count": outcome.counts[BACK] + outcome.counts[LEFT] if phase in ("carrying", "settled") else 0,
        "may_again": access.may(request.user, WAYS[action.what].permission),
    }
    response = page(request, "exceptions/bulk_detail.html", "exceptions/_bulk_items.html", context, status=status)
    patch_vary_headers(response, ["HX-Target"])
    return response


def _head(action: BulkAction, outcome: Outcome, phase: str) -> dict[str, Any]:
    now = timezone.now()
    left = max(0, round((action.starts_at - now).total_seconds())) if action.starts_at else 0
    every = POLLS.get(phase, "")
    if phase == "carrying" and not outcome.running:
        every = "15s"  # what waits for a system or a look-up can take its time
    is_gone = not outcome.total and bulk_results.are_rows_gone(action)
    part = outcome.counts[POSTED] + outcome.counts[BACK] if phase == "carrying" else outcome.begun
    done = part + outcome.counts[LEFT]
    return {
        "action": action, "way": WAYS[action.what], "outcome": outcome, "phase": phase, "every": every,
        "headline": headline_of_counts(action) if is_gone else headline(action, outcome, phase, left),
        "is_gone": is_gone,
        "percent": 100 * done // outcome.total if outcome.total and phase in ("running", "carrying") else None,
        "is_of_cases": bulk_results.is_of_cases(action), "seconds_left": left,
    }  # fmt: skip


def _chosen(request: PersonRequest) -> dict[str, Any]:
    """What was ticked, as `freeze` takes it. Raises BulkRefused."""
    post = request.POST
    visible = tallies.cases_visible_to(request.user)
    if post.get("of_case"):
        case = visible_case(request, _whole([post["of_case"]])[0])
        one = tallies.cases_shown_to(request.user).filter(pk=case.pk)
        if post.get("all"):
            return {"cases": one, "chosen": {"case": case.pk}, "words": f"All documents of {case.number}"}
        ids = _whole(post.getlist("document"))
        words = f"{len(ids):,} {'document' if len(ids) == 1 else 'documents'} of {case.number}"
        return {"cases": one, "occurrences": ids, "chosen": {"case": case.pk, "documents": ids}, "words": words}
    if post.get("all"):
        asked = QueryDict(post.get("filter", ""))
        found = CaseFilter(asked, visible, request=request)
        if found.form.errors:
            raise BulkRefused("One of the filters can’t be read, so it isn’t clear which cases are meant.")
        chips = ", ".join(f"{chip.label}: {chip.value}" for chip in found.chips)
        words = f"All open cases with {chips}" if chips else "All open cases that you see"
        return {"cases": found.qs, "chosen": {"filter": asked.urlencode()}, "words": words}
    ids = _whole(post.getlist("case"))
    words = f"{len(ids):,} {'case' if len(ids) == 1 else 'cases'}"
    return {"cases": visible.filter(pk__in=ids), "chosen": {"cases": ids}, "words": words}


def _whole(texts: list[str]) -> list[int]:
    """Numbers of rows. Raises BulkRefused without any, and Http404 for what is no number."""
    if not texts:
        raise BulkRefused("Nothing is ticked.")
    if len(texts) > IDS_MAX or not all(text.isdecimal() and len(text) < 19 for text in texts):
        raise Http404
    return sorted({int(text) for text in texts})


def _back(request: HttpRequest) -> str:
    of_case = request.POST.get("of_case", "")
    if of_case.isdecimal() and len(of_case) < 19:
        return reverse("exceptions:case_detail", args=[int(of_case)])
    return f"{reverse('exceptions:case_list')}?{QueryDict(request.POST.get('filter', '')).urlencode()}"


def _visible(request: PersonRequest, action_id: int) -> BulkAction:
    found = bulk_results.actions_visible_to(request.user).filter(pk=action_id).first()
    if found is None:
        raise Http404
    return found


def _own(request: PersonRequest, action_id: int) -> BulkAction:
    found = _visible(request, action_id)
    if found.made_by_id != request.user.pk:
        raise Http404
    return found


def _form(action: BulkAction, data: Any = None) -> Any:
    if action.what == ASSIGN:
        return AssignManyForm(data, queues=action.queues)
    return {REPOST: RepostForm, WAIVE: WaiveForm}.get(action.what, ReasonForm)(data)
