"""Sending again what a channel was sent: what was given up, and to a program also what it took."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.models import AlertChannel, AlertDelivery
from q2c.core import audit
from q2c.core.models import Person

State = AlertDelivery.State
MOST = 1000  # at once


def given_up(channel: AlertChannel) -> QuerySet[AlertDelivery]:
    """Its messages that it didn't take in the end, the oldest first."""
    return AlertDelivery.objects.filter(channel=channel, state=State.FAILED).order_by("pk")


def why_not(delivery: AlertDelivery) -> str:
    """Why it can't be sent again, or "" if it can."""
    channel = delivery.channel
    if channel is None or not channel.is_active:
        return "nothing is sent to this channel. Propose first that it’s told."
    if delivery.state == State.FAILED or (delivery.state == State.SENT and channel.is_webhook):
        return ""
    if delivery.state == State.SENT:
        return "the room has it; people would read it twice."
    return (
        "it’s on its way."
        if delivery.state == State.WAITING
        else "it was over before it was sent, or the channel was switched off."
    )


def why_not_all(channel: AlertChannel) -> str:
    """Why what was given up can't be sent again, or "" if it can."""
    if not channel.is_active:
        return "nothing is sent to this channel. Propose first that it’s told."
    return "" if given_up(channel).exists() else "nothing was given up."


@atomic
def send_again(channel: AlertChannel | None, rows: Iterable[AlertDelivery], *, by: Person) -> int:
    """Have them sent from the beginning of their schedule, with the id and the body that they had. Returns how many."""
    ids = [row.pk for row in rows][:MOST]
    free = AlertDelivery.objects.filter(pk__in=ids, channel=channel).exclude(state=State.WAITING)
    count = free.update(state=State.WAITING, attempts=0, due_at=timezone.now(), taken_until=None, error="")
    audit.record(by, "send_again", "alert_channel", channel.pk if channel else "", data={"messages": ids})
    return count
