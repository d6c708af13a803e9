"""Sending again what a channel was sent: what was given up, and to a program also what it took. What is over
isn't: it's put aside, and a program is told that it's over."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.alerts import planning
from exceptions.alerts.parts import key_q
from exceptions.models import AlertChannel, AlertDelivery, AlertGroup, AlertSubscription
from q2c.core import audit
from q2c.core.models import Person

State, What = AlertDelivery.State, AlertDelivery.What
MOST = 1000  # at once


def given_up(channel: AlertChannel) -> QuerySet[AlertDelivery]:
    """Its messages that it didn't take in the end, the oldest first."""
    return AlertDelivery.objects.filter(channel=channel, state=State.FAILED).order_by("pk")


def why_not(delivery: AlertDelivery) -> str:
    """Why it can't be sent again, or "" if it can."""
    channel = delivery.channel
    if channel is None or not channel.is_active:
        return "nothing is sent to this channel. Propose first that it’s told."
    if delivery.state == State.SENT and channel.is_webhook:
        return "it’s about what is over by now, or began anew." if is_over(delivery) else ""
    if delivery.state == State.FAILED:
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


def is_over(delivery: AlertDelivery) -> bool:
    """Whether nobody should be told of it any more: of an alert or a reminder once its trouble is over, of a program's
    all-clear once the same trouble began anew, for it would end the new incident."""
    group = delivery.group
    running = AlertGroup.objects.filter(key_q(group), over_at=None)
    if delivery.what == What.ALL_CLEAR:
        is_program = delivery.channel is not None and delivery.channel.is_webhook
        return is_program and running.filter(about=AlertGroup.About.OPENED).exists()
    follows = running.filter(about=group.about, level=group.level, first_at__lte=group.over_at or group.grew_at)
    return group.over_at is not None and not follows.exists()


@atomic
def send_again(channel: AlertChannel, rows: QuerySet[AlertDelivery], *, by: Person) -> tuple[int, int]:
    """Have them sent from the beginning of their schedule, with the id and the body that they had. What is over is put
    aside, and a program that may have been told of it is told that it's over. Returns how many of either."""
    now = timezone.now()
    found = list(rows.filter(channel=channel).exclude(state=State.WAITING).select_related("group", "channel")[:MOST])
    over = [row for row in found if is_over(row)]
    ids, over_ids = [[row.pk for row in some] for some in ([row for row in found if row not in over], over)]
    AlertDelivery.objects.filter(pk__in=over_ids, state=State.FAILED).update(state=State.DROPPED)
    again = AlertDelivery.objects.filter(pk__in=ids)
    again.update(state=State.WAITING, attempts=0, due_at=now, taken_until=None, error="")
    subscription = AlertSubscription.objects.select_related("channel").filter(channel=channel).first()
    if over and channel.is_webhook and subscription is not None:
        for group in {row.group_id: row.group for row in over}.values():
            planning.end_for_programs(group, {channel.pk: subscription}, now)
    data = {"messages": ids} | ({"over": over_ids} if over else {})
    audit.record(by, "send_again", "alert_channel", channel.pk, data=data)
    return len(ids), len(over)
