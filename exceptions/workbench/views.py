"""The queue's saved views, and the word that new cases came: rows are never put in under the cursor."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.transaction import atomic
from django.db.utils import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from exceptions import mentions, tallies
from exceptions.case_columns import PARAM, columns_said
from exceptions.models import SavedView
from exceptions.workbench.filters import CaseFilter
from q2c.core import audit
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import count_rows, refuse

LONGEST = 500
MOST = 12  # of a person's own
MOST_SHARED = 24  # of all people's together: more tabs than that nobody reads
OTHERS = ("sort", "density", PARAM)  # what a view keeps besides the filters


class ViewForm(forms.Form):
    """What a view is called, who sees it, and what it asks."""

    name = forms.CharField(label="Name of this view", max_length=40)
    is_shared = forms.BooleanField(label="Everybody may open it", required=False)
    query = forms.CharField(max_length=2000, required=False, widget=forms.HiddenInput)


def query_of(given: QueryDict) -> str:
    """What a view keeps of an address: its filters and order, in a fixed sequence, without the place in the list."""
    names = [*CaseFilter.base_filters, *OTHERS]
    said = {name: str(given.get(name, "")).strip() for name in names}
    said[PARAM] = columns_said(said[PARAM].split(","))
    return urlencode({name: value for name, value in said.items() if value})


def views_for(request: HttpRequest) -> dict[str, Any]:
    """The tabs of the queue: shared views first, then one's own; which one is open, and the form to keep this one."""
    now = query_of(request.GET)
    is_mine, is_open = Q(owner=request.user.pk), Q(query=now)
    rows = SavedView.objects.filter(is_mine | Q(is_shared=True)).select_related("owner")
    rows = rows.annotate(
        is_mine=ExpressionWrapper(is_mine, BooleanField()), is_open=ExpressionWrapper(is_open, BooleanField())
    )
    first = rows.order_by("-is_mine", "-is_open", "name")[: MOST + MOST_SHARED]  # one's own and the open one, whatever
    found = sorted(first, key=lambda view: (not view.is_shared, view.name))
    current = next((view for view in first if view.is_open), None)
    form = dress(ViewForm(initial={"query": now}, label_suffix="", auto_id="id_view_%s"), small=True)
    is_own = current is not None and current.owner_id == request.user.pk
    return {"saved": found, "current": current, "is_own": is_own, "form": form, "can_keep": bool(now) and not current}


@require_POST
@requires("exceptions.view_case")
def view_keep(request: PersonRequest) -> HttpResponse:
    """Keep what the queue shows now under a name; one's own view of that name asks this from now on."""
    form = ViewForm(request.POST)
    query = query_of(QueryDict(request.POST.get("query", "")[:2000]))
    back = f"/exceptions/cases/?{query}"
    if not form.is_valid() or not query or len(query) > LONGEST:
        said = "Give it a name of up to 40 letters" if query else "Filter the list first: a view is a name for a filter"
        return refuse(request, f"{said}. Nothing was kept.", back)
    name, is_shared = form.cleaned_data["name"].strip(), form.cleaned_data["is_shared"]
    own = SavedView.objects.filter(owner=request.user)
    if own.exclude(name=name).count() >= MOST:
        return refuse(request, f"You keep {MOST} views already. Forget one first; nothing was kept.", back)
    others = SavedView.objects.filter(is_shared=True).exclude(owner=request.user, name=name)
    if is_shared and others.count() >= MOST_SHARED:
        said = f"{MOST_SHARED} views are shared already. Keep it for yourself, or have one forgotten first."
        return refuse(request, f"{said} Nothing was kept.", back)
    try:
        with atomic():
            values = {"query": query, "is_shared": is_shared, "made_at": timezone.now()}
            view, _ = SavedView.objects.update_or_create(owner=request.user, name=name, defaults=values)
            audit.record(request.user, "keep_view", "saved_view", view.pk, data={"name": name, "query": query,
                                                                               "is_shared": is_shared})  # fmt: skip
    except IntegrityError:
        return refuse(request, f"Somebody else shares a view called “{name}”. Choose another name.", back)
    who = "Everybody finds" if is_shared else "You find"
    messages.success(request, f"{who} “{name}” above the list.", extra_tags="done")
    return redirect(back)


@require_POST
@requires("exceptions.view_case")
def view_forget(request: PersonRequest, view_id: int) -> HttpResponse:
    """Forget a view of one's own; the cases stay as they are."""
    view = SavedView.objects.filter(pk=view_id, owner=request.user).first()
    if view is None:
        raise Http404
    with atomic():
        audit.record(request.user, "forget_view", "saved_view", view.pk, data={"name": view.name, "query": view.query})
        view.delete()
    messages.success(request, f"“{view.name}” is forgotten. No case changed.", extra_tags="done")
    return redirect(f"/exceptions/cases/?{view.query}")


@require_POST
@requires("exceptions.view_case")
def mention_read(request: PersonRequest, mention_id: int) -> HttpResponse:
    """A note that names this person has been read; it leaves their home page."""
    if not mentions.mark_read(request.user, mention_id):
        raise Http404
    return redirect("portal:home")


@require_GET
@requires("exceptions.view_case")
def case_news(request: HttpRequest) -> HttpResponse:
    """How many cases came into this list since it was read. 204 while the page says it already."""
    try:
        since = parse_datetime(request.GET.get("since", "").replace(" ", "+"))
    except ValueError:  # written as an instant, and none
        since = None
    if since is None or timezone.is_naive(since):
        raise Http404
    now = timezone.now()
    since = min(max(since, now - dt.timedelta(days=7)), now)
    found = CaseFilter(request.GET, tallies.cases_visible_to(request.user), request=request)
    fresh = count_rows(found.qs.filter(Q(opened_at__gt=since), closed_at__isnull=True))
    if str(fresh.number) == request.GET.get("said", "0"):
        return HttpResponse(status=204)
    query = request.GET.copy()
    for name in ("since", "said", "after", "before", "at"):
        query.pop(name, None)
    return render(request, "exceptions/_news.html", {"fresh": fresh, "since": since, "query": query.urlencode()})
