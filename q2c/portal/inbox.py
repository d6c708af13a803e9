"""The inbox: what arrived, as it came, with its verdict; and running it again, with a reason."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from q2c.core import access
from q2c.core.access import requires
from q2c.core.htmx import page, paginate
from q2c.inbox import selectors
from q2c.inbox.models import InboundKey, Refusal
from q2c.portal.filters import EventFilter
from q2c.transactions.selectors import transactions_visible_to


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
        "refusals": list(Refusal.objects.order_by("-last_at")[:5]) if access.entities_of(request.user) is None else [],
    }
    return page(request, "portal/event_list.html", "portal/_event_table.html", context)


@require_GET
@requires("inbox.view_event")
def event_detail(request: HttpRequest, event_id: Any) -> HttpResponse:
    """One message: verdict, headers, body as it came, and the transactions it led to."""
    return show_event(request, event_id)


def show_event(request: HttpRequest, event_id: Any, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a message, also after a form that couldn't be used."""
    try:
        key = selectors.message_visible_to(request.user, event_id)
    except InboundKey.DoesNotExist:
        raise Http404 from None
    context = {
        "key": key,
        "event": key.event,
        "transactions": list(transactions_visible_to(request.user).filter(event_id=event_id)[:20]),
        "may_replay": access.may(request.user, "inbox.replay_event"),
        **forms,
    }
    return page(request, "portal/event_detail.html", "portal/event_detail.html", context, status=status)
