"""Alerts: what is told and to whom, what a person wants to be told of, and the channels of the whole house."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from exceptions.alerts import channels, reach, sending
from exceptions.alerts.messages import place_of, title_of
from exceptions.models import AlertChannel, AlertDelivery, AlertGroup, AlertSubscription
from exceptions.workbench.alert_forms import ChannelForm, SubscriptionForm
from q2c.core import access, audit, people
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import page, paginate, refuse

VIEW, MANAGE = "exceptions.view_case", "exceptions.manage_alerts"


def alerts_visible_to(user: Any) -> QuerySet[AlertGroup]:
    """Alerts about the person's queues and entities."""
    return AlertGroup.objects.filter(reach.shown_q(access.memberships(user)))


@require_GET
@requires(VIEW)
def alert_list(request: HttpRequest) -> HttpResponse:
    """Alerts, the newest first, each with how many were told."""
    sent, failed = (Count("deliveries", filter=Q(deliveries__state=state)) for state in ("sent", "failed"))
    waiting = Count("deliveries", filter=Q(deliveries__state="waiting"))
    rows = alerts_visible_to(request.user)
    listed = paginate(request, rows.annotate(sent=sent, failed=failed, waiting=waiting), order=("-id",), size=50)
    for group in listed.rows:
        own = reach.shown(group, access.memberships(request.user))
        group.title, group.place = title_of(group, AlertDelivery.What.ALERT, own), place_of(group, own)
    context = {
        "page": listed,
        "alerts": listed.rows,
        "running_count": rows.filter(over_at=None).count(),
        "may_manage": access.reach(request.user, MANAGE).is_everywhere,
    }
    return page(request, "exceptions/alert_list.html", "exceptions/_alert_table.html", context)


@require_http_methods(["GET", "POST"])
@requires(VIEW)
def alert_mine(request: PersonRequest) -> HttpResponse:
    """What I am told of, and when."""
    own = AlertSubscription.objects.filter(person=request.user).first()
    subscription = own or AlertSubscription(person=request.user, is_active=False)
    form = SubscriptionForm(request.POST or None, instance=subscription, person=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, form.said(), extra_tags="done")
        return redirect("exceptions:alert_mine")
    context = {"form": form, "zone": people.zone_of(request.user).key, "is_on": bool(own and own.is_active)}
    return render(request, "exceptions/alert_mine.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@requires(MANAGE, everywhere=True)
def channel_list(request: PersonRequest) -> HttpResponse:
    """Every channel, and the form for another one."""
    return _channel_form(request, AlertChannel())


@require_http_methods(["GET", "POST"])
@requires(MANAGE, everywhere=True)
def channel_edit(request: PersonRequest, channel_id: int) -> HttpResponse:
    """Change a channel and what it's told of."""
    return _channel_form(request, _channel(channel_id))


@require_POST
@requires(MANAGE, everywhere=True)
def channel_test(request: PersonRequest, channel_id: int) -> HttpResponse:
    """Send a message that says that it's a test."""
    channel = _channel(channel_id)
    if not channel.is_agreed:
        said = f"Nobody has agreed to the address of {channel} yet."
        return refuse(request, said, "exceptions:channel_edit", channel.pk)
    error = sending.try_channel(channel)
    audit.record(request.user, "test", "alert_channel", channel.pk, data={"error": error})
    if error:
        messages.warning(request, f"{channel} didn’t take it: {error}.", extra_tags="act")
    else:
        messages.success(request, f"{channel} took the test message.", extra_tags="done")
    return redirect("exceptions:channel_edit", channel.pk)


def _channel(channel_id: int) -> AlertChannel:
    channel = AlertChannel.objects.filter(pk=channel_id).first()
    if channel is None:
        raise Http404
    return channel


def _channel_form(request: PersonRequest, channel: AlertChannel) -> HttpResponse:
    subscription = getattr(channel, "alerts", None) if channel.pk else None
    form = ChannelForm(request.POST or None, channel=channel)
    filters = SubscriptionForm(request.POST or None, instance=subscription or AlertSubscription(), prefix="told")
    if request.method == "POST" and form.is_valid() and filters.is_valid():
        try:
            proposal = channels.propose_channel(
                channel, by=request.user, told=filters.cleaned_data, **form.cleaned_data
            )
        except channels.ChannelRefused as refused:
            form.add_error(None, str(refused))
        else:
            if proposal is None:
                messages.success(request, f"{channel} is told nothing any more.", extra_tags="done")
                return redirect("exceptions:channel_edit", channel.pk)
            said = "Proposed. Nothing is told otherwise until somebody else approves it."
            messages.success(request, said, extra_tags="decide")
            return redirect("exceptions:channel_edit", proposal.content["channel"])
    context = {
        "form": form,
        "filters": filters,
        "channel": channel if channel.pk else None,
        "proposal": channels.open_proposal(channel) if channel.pk else None,
        "signers": [person for person in access.who_may(channels.APPROVE) if person.pk != request.user.pk],
        "channels": list(AlertChannel.objects.select_related("alerts").order_by("name")),
    }
    is_wrong = bool(form.errors or filters.errors) and request.method == "POST"
    return render(request, "exceptions/channel_list.html", context, status=422 if is_wrong else 200)
