"""Tells again what is still open: an alert isn't silent for good while a case of it waits.

After four hours of what is urgent, a day of what is high, a week of the rest; in each digest for whoever gets one. It
reaches whom any message reaches, not in their quiet hours; and but for what the platform's people answer for, in
working hours of an entity that it's about. Cases that somebody set aside (snoozed) aren't reminded of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import clocks, kinds
from exceptions.alerts import planning, reach
from exceptions.alerts.parts import Part, open_parts, same_trouble
from exceptions.kind_words import HIGH, LOW, URGENT
from exceptions.models import AlertDelivery, AlertGroup, AlertSubscription
from q2c.core import people

BATCH = 200
AFTER = {URGENT: dt.timedelta(hours=4), HIGH: dt.timedelta(hours=24)}
AFTER_LESS = dt.timedelta(days=7)
DAYS_OFF_MOST = 14  # in a row: then a digest goes out, whatever the calendar says
LOOK = dt.timedelta(minutes=30)  # so often it's looked whether somebody else is concerned, or it's more pressing by now
What, State = AlertDelivery.What, AlertDelivery.State


class _Last(NamedTuple):
    """The last message of a trouble to one receiver."""

    round: int
    at: dt.datetime
    is_coming: bool


def plan_reminders(now: dt.datetime | None = None) -> int:
    """Note the reminders that are due. Returns how many; nobody gets one while another message of it is on its way."""
    now = now or timezone.now()
    due = Q(remind_at=None) | Q(remind_at__lte=now)
    running = AlertGroup.objects.filter(due, about=AlertGroup.About.OPENED, over_at=None, is_planned=True)
    with atomic():
        groups = list(running.select_for_update().order_by("pk")[:BATCH])
        if not groups:
            return 0
        subscriptions = planning.subscriptions_in_use()
        held = reach.held_by({s.person_id for s in subscriptions if s.person_id})
        planned = 0
        for group in groups:
            messages = list(_reminders(group, subscriptions, held, now))
            planned += len(AlertDelivery.objects.bulk_create(messages, ignore_conflicts=True))
        AlertGroup.objects.bulk_update(groups, ["remind_at"])
    return planned


def _reminders(
    group: AlertGroup, subscriptions: list[AlertSubscription], held: planning.Everybodys, now: dt.datetime
) -> Iterator[AlertDelivery]:
    """Those of one alert that are due; `remind_at` becomes when the next may be."""
    group.remind_at = now + LOOK
    parts = open_parts(group)
    told = _last_told(group) if parts else {}
    for subscription in subscriptions if parts else ():
        own = _own(subscription, group, held, parts)
        if not own:
            continue
        last = told.get((subscription.person_id, subscription.channel_id))
        if last is not None and last.is_coming:
            continue
        due = (last.at if last else group.first_at) + _after(subscription, own)
        if due > now:
            group.remind_at = min(group.remind_at, due)
            continue
        row = _at_work(group, subscription, {part.entity for part in own}, now)
        row.round = last.round + 1 if last else 1
        yield row


def _at_work(
    group: AlertGroup, subscription: AlertSubscription, entities: set[str], now: dt.datetime
) -> AlertDelivery:  # fmt: skip
    """The reminder, in working hours of one of these entities; in a digest, at its hour of the next working day, which
    may lie before the hours that are worked."""
    kind = kinds.kind_of(group.kind)
    if not planning.is_digest(subscription):
        at = clocks.next_working(kind, now, entities)
        return planning.message(group.pk, What.REMINDER, subscription, at)
    row = planning.message(group.pk, What.REMINDER, subscription, now)
    for _ in range(DAYS_OFF_MOST):
        day = row.due_at.astimezone(people.zone_of(row.person)).replace(hour=0, minute=0, second=0, microsecond=0)
        if clocks.next_working(kind, day, entities) < day + dt.timedelta(days=1):
            break
        row = planning.message(group.pk, What.REMINDER, subscription, row.due_at)
    return row


def _own(
    subscription: AlertSubscription, group: AlertGroup, held: planning.Everybodys, parts: list[Part]
) -> list[Part]:  # fmt: skip
    """What of it is asked for, pressing enough, and of a person's seen by one role of theirs."""
    person = subscription.person_id
    seen = reach.shown(group, held.get(person, []), parts) if person else parts
    return [part for part in reach.wanted(subscription, seen) if part.severity <= min(subscription.severity, LOW)]


def _after(subscription: AlertSubscription, own: list[Part]) -> dt.timedelta:
    if planning.is_digest(subscription):
        return dt.timedelta()  # in the next one
    return AFTER.get(min(part.severity for part in own), AFTER_LESS)


def _last_told(group: AlertGroup) -> dict[tuple[Any, Any], _Last]:
    """By receiver (person, channel), over all alerts of the same trouble."""
    rows = AlertDelivery.objects.filter(group__in=same_trouble(group), what__in=(What.ALERT, What.REMINDER)).order_by(
        "person", "channel", "-group", "-round", "-pk"
    )
    newest = rows.distinct("person", "channel")
    return {
        (row.person_id, row.channel_id): _Last(row.round, row.sent_at or row.due_at, row.state == State.WAITING)
        for row in newest
    }
