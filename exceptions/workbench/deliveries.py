"""What channels were sent: a log with what came of each attempt, and what was given up is sent again."""

from __future__ import annotations

import json

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from exceptions.alerts import again, reach
from exceptions.alerts import messages as told
from exceptions.models import AlertChannel, AlertDelivery
from exceptions.workbench.alerts import MANAGE
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import page, paginate, refuse

STATES = {"failed": "Given up", "waiting": "Waiting", "sent": "Taken"}


@require_GET
@requires(MANAGE, everywhere=True)
def channel_log(request: HttpRequest, channel_id: int) -> HttpResponse:
    """The messages to a channel, the newest first; with `?state=` those that stand so."""
    channel = _channel(channel_id)
    state = request.GET.get("state", "")
    messages_of_it = AlertDelivery.objects.filter(channel=channel)
    rows = messages_of_it.filter(state=state) if state in STATES else messages_of_it
    listed = paginate(request, rows.defer("body").select_related("group"), order=("-id",), size=50)
    for row in listed.rows:
        row.title = told.name_of(row.group, row.what)
    context = {
        "page": listed,
        "channel": channel,
        "state": state if state in STATES else "",
        "states": STATES,
        "failed_count": again.given_up(channel).count(),
        "has_any": messages_of_it.exists(),  # whatever the state that is shown
    }
    return page(request, "exceptions/channel_log.html", "exceptions/_delivery_table.html", context)


@require_GET
@requires(MANAGE, everywhere=True)
def delivery_detail(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """One message to a channel: each attempt with its answer, and of a webhook what is sent."""
    delivery = _delivery(delivery_id)
    parts = reach.of_readers([delivery])[delivery.pk]
    context = {
        "delivery": delivery,
        "title": told.name_of(delivery.group, delivery.what),
        "place": told.place_of(delivery.group, parts) if parts else "",
        "channel": delivery.channel,
        "tries": list(delivery.tries.order_by("-pk")),
        "body": json.dumps(json.loads(delivery.body), indent=2, ensure_ascii=False) if delivery.body else "",
        "cant": again.why_not(delivery),
    }
    return render(request, "exceptions/delivery_detail.html", context)


@require_POST
@requires(MANAGE, everywhere=True)
def delivery_again(request: PersonRequest, delivery_id: int) -> HttpResponse:
    """Send one message again."""
    delivery = _delivery(delivery_id)
    if cant := again.why_not(delivery):
        return refuse(request, f"Not possible: {cant}", "exceptions:delivery_detail", delivery.pk)
    own = AlertDelivery.objects.filter(pk=delivery.pk)
    said = _said(*again.send_again(_channel(delivery.channel_id or 0), own, by=request.user))
    messages.success(request, said, extra_tags="done")
    return redirect("exceptions:delivery_detail", delivery.pk)


@require_POST
@requires(MANAGE, everywhere=True)
def channel_again(request: PersonRequest, channel_id: int) -> HttpResponse:
    """Send again all that was given up."""
    channel = _channel(channel_id)
    if cant := again.why_not_all(channel):
        return refuse(request, f"Not possible: {cant}", "exceptions:channel_log", channel.pk)
    said = _said(*again.send_again(channel, again.given_up(channel), by=request.user))
    messages.success(request, said, extra_tags="done")
    return redirect("exceptions:channel_log", channel.pk)


def _said(count: int, over: int) -> str:
    """What came of sending again, in a sentence or two."""
    again_ = f"{count:,} message{'s are' if count != 1 else ' is'} sent again within a minute."
    aside = f"{over:,} {'were' if over != 1 else 'was'} about what is over by now, and put aside."
    return " ".join(said for said, n in ((again_, count), (aside, over)) if n) or again_


def _channel(channel_id: int) -> AlertChannel:
    channel = AlertChannel.objects.filter(pk=channel_id).first()
    if channel is None:
        raise Http404
    return channel


def _delivery(delivery_id: int) -> AlertDelivery:
    rows = AlertDelivery.objects.select_related("group", "channel__alerts")
    delivery = rows.filter(pk=delivery_id, channel__isnull=False).first()
    if delivery is None:
        raise Http404
    return delivery
