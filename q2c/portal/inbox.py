"""The inbox: what arrived, as it came, with its verdict; and running it again, with a reason."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from exceptions import cases
from q2c.core import access, reveals
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import page, paginate, refuse
from q2c.core.models import AuditEntry
from q2c.core.redact import redact
from q2c.core.roles import ROLES
from q2c.core.templatetags.technical import pretty
from q2c.core.vault import Unsealable
from q2c.inbox import bodies, replay, selectors
from q2c.inbox.models import InboundKey, Refusal
from q2c.portal import told
from q2c.portal.audit import tell_entries
from q2c.portal.filters import EventFilter
from q2c.records.persons import persons_among
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

REPLAY = "inbox.replay_event"


@require_GET
@requires("inbox.view_event")
def event_list(request: HttpRequest) -> HttpResponse:
    """Messages of my entities, newest first."""
    found = EventFilter(request.GET, selectors.messages_visible_to(request.user), request=request)
    listed = paginate(request, found.qs)
    visible = access.visible_to(request.user, InboundKey.objects.all())
    context = {
        "filter": found,
        "page": listed,
        "refused_count": visible.filter(verdict="refused").count(),
        "waiting_count": visible.filter(verdict="received").count(),
        "refusals": list(Refusal.objects.order_by("-last_at")[:5])
        if access.entities_of(request.user, "inbox.view_event") is None
        else [],
    }
    return page(request, "portal/event_list.html", "portal/_event_table.html", context)


@require_GET
@requires("inbox.view_event")
def event_detail(request: HttpRequest, event_id: Any) -> HttpResponse:
    """One message: verdict, headers, body as it came, and the transactions it led to."""
    return show_event(request, event_id)


@require_POST
@requires(reveals.PERMISSION)
def event_reveal(request: PersonRequest, event_id: Any) -> HttpResponse:
    """The same with what is masked, this once and with a reason."""
    return show_event(request, event_id, reveal=reveals.RevealForm(request.POST))


@require_POST
@requires(REPLAY)
def event_replay(request: PersonRequest, event_id: Any) -> HttpResponse:
    """Run a stored message again, with a reason. What it became already is found again, not made twice."""
    form = dress(ReplayForm(request.POST))
    if not form.is_valid():
        return show_event(request, event_id, status=422, form=form)
    try:
        key = selectors.message_visible_to(request.user, event_id)
    except InboundKey.DoesNotExist:
        raise Http404 from None
    if not access.sees_entity(request.user, key.legal_entity_code, REPLAY):  # another role of theirs shows it
        return access.denied(request, REPLAY)
    try:
        with atomic():
            is_new = replay.replay_event(event_id, by=request.user, reason=form.cleaned_data["why"])
            if is_new:
                cases.close_for_events([event_id], "replayed")  # if it's refused again, its case comes back
    except replay.ReplayRefused as refused:
        form.add_error(None, f"Not possible: {refused}")
        return show_event(request, event_id, status=422, form=form)
    if not is_new:
        return refuse(request, "It waits to be read anyway; nothing was changed.", "portal:event_detail", event_id)
    messages.success(request, "It runs again. What it became already is found, not made twice.", extra_tags="done")
    return redirect("portal:event_detail", event_id)


def read_message(key: InboundKey) -> dict[str, Any]:
    """Body and headers with secrets replaced; or why they can't be read any more."""
    try:
        body = bodies.read_body(key.event, key)
        headers = bodies.read_headers(key.event, key)
    except Unsealable as error:
        return {"unreadable": f"It can’t be opened: {error}."}
    return {"body": pretty(shown_body(body)), "headers": pretty(redact(headers)) if headers else ""}


def shown_body(body: bytes) -> Any:
    """JSON as values, anything else as text; secrets replaced."""
    text = body.decode("utf-8", "replace")
    try:
        return redact(json.loads(text, parse_float=Decimal))
    except ValueError:
        return redact(text)


def _led_to(request: HttpRequest, event_id: Any) -> list[Any]:
    """The transactions that a message started, each with the title of its flow."""
    found = list(transactions_visible_to(request.user).filter(event_id=event_id)[:20])
    for txn in found:
        txn.flow_title = told.flow_title(txn.flow)  # type: ignore[attr-defined]
    return found


class ReplayForm(forms.Form):
    """Why a message runs again."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500)


def show_event(
    request: HttpRequest, event_id: Any, *, status: int = 200, reveal: reveals.RevealForm | None = None, **forms: Any
) -> HttpResponse:
    """The page of a message, also after a form that couldn't be used."""
    try:
        key = selectors.message_visible_to(request.user, event_id)
    except InboundKey.DoesNotExist:
        raise Http404 from None
    read = read_message(key)
    plain = {name: text for name, text in read.items() if name != "unreadable"}
    people = persons_among(
        BusinessTransaction.objects.filter(event_id=event_id).values_list("customer_name", flat=True)
    )
    shown = reveals.show_masked(
        request.user, ("event", key.event_id), plain, entity=key.legal_entity_code, form=reveal, people=people
    )
    runs = AuditEntry.objects.filter(subject_type="event", subject_id=str(key.event_id), verb="replay")
    replays = list(runs.order_by("sequence"))
    if replays:
        tell_entries(replays)
    context = {
        "key": key,
        "event": key.event,
        "replays": replays,
        **read,
        **shown,
        "reveal_url": reverse("portal:event_reveal", args=[key.event_id]),
        "transactions": _led_to(request, event_id),
        "replayers": [role.title for role in ROLES if REPLAY in role.may],
        "may_replay": access.sees_entity(request.user, key.legal_entity_code, REPLAY),
        "cant_replay": replay.ERASED if replay.is_of_no_use(key) else "",
        "is_erased": bodies.is_erased(key.customer_key_id),
        **forms,
    }
    return page(
        request,
        "portal/event_detail.html",
        "portal/event_detail.html",
        context,
        status=max(status, reveals.status_of(shown)),
    )
