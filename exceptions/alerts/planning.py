"""Who is told of an alert, and when: by their subscription, within what they may see, not in their quiet hours.

A promise that is broken also reaches the role that it's escalated to, by mail, whether somebody subscribed or not.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.db.models import Max, Q
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.alerts import reach
from exceptions.alerts.parts import key_q, parts_of, same_trouble
from exceptions.alerts.times import after_quiet, next_digest
from exceptions.clocks import role_at
from exceptions.kind_words import LOW
from exceptions.models import AlertChannel, AlertDelivery, AlertGroup, AlertSubscription
from q2c.core import people
from q2c.core.access import in_force
from q2c.core.models import Membership, Person
from q2c.core.roles import Role

What, About = AlertDelivery.What, AlertGroup.About
# Taken over, or perhaps: a sender died with it, or a program was sent it and didn't say.
_MAY_HAVE_COME = (
    Q(state=AlertDelivery.State.SENT) | Q(taken_until__isnull=False)
    | Q(channel__sort=AlertChannel.Sort.WEBHOOK) & (Q(attempts__gt=0) | ~Q(body=""))
)  # fmt: skip
_ON_ITS_WAY = Q(state__in=(AlertDelivery.State.WAITING, AlertDelivery.State.SENT))
Everybodys = dict[int, list[tuple[Role, str | None]]]  # of a person: their roles, each with its entity (None: all)


def plan(now: dt.datetime | None = None) -> int:
    """Note the messages of alerts that grew since. Returns how many; nobody gets two of one alert."""
    now, planned = now or timezone.now(), 0
    with atomic():
        grown = list(AlertGroup.objects.filter(is_planned=False).select_for_update().order_by("pk"))
        if not grown:
            return 0
        subscriptions = subscriptions_in_use()
        held = reach.held_by({s.person_id for s in subscriptions if s.person_id})
        for group in grown:
            messages = list(_messages(group, subscriptions, held, now))
            planned += len(AlertDelivery.objects.bulk_create(messages, ignore_conflicts=True))
        AlertGroup.objects.filter(pk__in=[group.pk for group in grown]).update(is_planned=True)
    return planned


def plan_all_clear(groups: Iterable[AlertGroup], now: dt.datetime | None = None) -> int:
    """Whoever was told that it began is told that it's over; who wasn't told yet needn't be. People and rooms by the
    alert, programs by its key. Returns how many are."""
    now, planned = now or timezone.now(), 0
    with atomic():
        in_use = subscriptions_in_use()
        programs = {s.channel_id: s for s in in_use if s.channel and s.channel.is_webhook}
        others = {(s.person_id, s.channel_id): s for s in in_use if s.channel_id not in programs}
        for group in sorted(groups, key=lambda group: (group.about != About.OPENED, group.pk)):
            if group.about == About.OPENED:
                told = sorted(_told_it_began(group, now) & others.keys(), key=str)
                messages = [message(group.pk, What.ALL_CLEAR, others[who], now) for who in told]
                planned += len(AlertDelivery.objects.bulk_create(messages, ignore_conflicts=True))
            planned += end_for_programs(group, programs, now)
    return planned


def end_for_programs(group: AlertGroup, programs: dict[int | None, AlertSubscription], now: dt.datetime) -> int:
    """Tell these programs that an alert's key is over, where nothing of it runs and they may have been told of it since
    its last all-clear, by whatever message. What they weren't sent yet they needn't be. Returns how many are told."""
    if AlertGroup.objects.filter(key_q(group), about=About.OPENED, over_at=None).exists():
        return 0
    of_key = AlertDelivery.objects.filter(key_q(group, "group__"), channel__in=list(programs))
    began = of_key.exclude(what=What.ALL_CLEAR)
    last = of_key.order_by().values_list("channel").annotate(
        began=Max("pk", filter=_MAY_HAVE_COME & ~Q(what=What.ALL_CLEAR)),
        over=Max("pk", filter=_ON_ITS_WAY & Q(what=What.ALL_CLEAR)),
    )  # fmt: skip
    told = sorted(channel for channel, begun, over in last if begun and begun > (over or 0))
    began.filter(_unsent(now), state=AlertDelivery.State.WAITING).update(state=AlertDelivery.State.DROPPED)
    for channel in told:
        row = message(group.pk, What.ALL_CLEAR, programs[channel], now)
        same = AlertDelivery.objects.filter(group=group, what=What.ALL_CLEAR, channel=channel)
        anew = {"state": row.state, "due_at": row.due_at, "attempts": 0, "error": "", "taken_until": None}
        if not same.update(**anew, message_id="", body=""):  # one that was dropped, or came too early
            row.save()
    return len(told)


def end_for_program(subscription: AlertSubscription, now: dt.datetime) -> int:
    """A program is switched on: it's told of what ended while it was off. Returns of how much."""
    of = AlertDelivery.objects.filter(_MAY_HAVE_COME, channel=subscription.channel_id).exclude(what=What.ALL_CLEAR)
    last = of.order_by("group__kind", "group__connection_code", "group__flow", "-pk").select_related("group")
    groups = [row.group for row in last.distinct("group__kind", "group__connection_code", "group__flow")]
    return sum(end_for_programs(group, {subscription.channel_id: subscription}, now) for group in groups)


def _told_it_began(group: AlertGroup, now: dt.datetime) -> set[tuple[int | None, int | None]]:
    """Who was told of it (person, channel); who is still to be told isn't any more."""
    began = AlertDelivery.objects.filter(group__in=same_trouble(group), what__in=(What.ALERT, What.REMINDER))
    began = began.exclude(channel__sort=AlertChannel.Sort.WEBHOOK)
    told: set[tuple[int | None, int | None]] = set(began.filter(_MAY_HAVE_COME).values_list("person_id", "channel_id"))
    began.filter(_unsent(now), state=AlertDelivery.State.WAITING).update(state=AlertDelivery.State.DROPPED)
    return told


def _unsent(now: dt.datetime) -> Q:
    return Q(taken_until=None) | Q(taken_until__lt=now)


def subscriptions_in_use() -> list[AlertSubscription]:
    """Those of people and channels that aren't switched off."""
    rows = AlertSubscription.objects.filter(is_active=True).select_related("person", "channel").order_by("pk")
    return [s for s in rows if getattr(s.person or s.channel, "is_active", False)]


def _messages(
    group: AlertGroup, subscriptions: list[AlertSubscription], held: Everybodys, now: dt.datetime
) -> Iterator[AlertDelivery]:
    for subscription in subscriptions:
        if _concerns(subscription, group, held):
            yield message(group.pk, What.ALERT, subscription, now)
    if group.about == About.BREACHED:
        known = {s.person_id: s for s in subscriptions if s.person_id}
        for person in _told_higher(group):
            quiet = known.get(person.pk) or AlertSubscription(person=person)
            yield message(group.pk, What.ALERT, quiet, now)


def _concerns(subscription: AlertSubscription, group: AlertGroup, held: Everybodys) -> bool:
    """Whether some of it is asked for, and of a person's seen by one role of theirs as well."""
    if group.about != About.OPENED and not subscription.has_clocks:
        return False
    person = subscription.person_id
    parts = reach.shown(group, held.get(person, [])) if person else parts_of(group)
    return any(part.severity <= min(subscription.severity, LOW) for part in reach.wanted(subscription, parts))


def message(group: int, what: str, subscription: AlertSubscription, now: dt.datetime) -> AlertDelivery:
    """A message to one receiver, at the first moment from `now` on that isn't quiet, or in the next digest."""
    person = subscription.person
    zone = people.zone_of(person) if person else zoneinfo.ZoneInfo(settings.TIME_ZONE)
    if is_digest(subscription):
        due_at = next_digest(now, zone, subscription.digest_at)
    else:
        due_at = after_quiet(now, zone, subscription.quiet_from, subscription.quiet_until)
    return AlertDelivery(
        group_id=group,
        what=what,
        person=person,
        channel=subscription.channel,
        is_digest=is_digest(subscription),
        due_at=due_at,
    )


def is_digest(subscription: AlertSubscription) -> bool:
    """Whether somebody gets one mail a day; a channel is always told at once."""
    return subscription.person_id is not None and subscription.rhythm == AlertSubscription.Rhythm.DIGEST


def _told_higher(group: AlertGroup) -> list[Person]:
    """Who a broken promise is escalated to: people of the role that leads some of its queues, for that entity."""
    roles = {role_at(group.level, queue) for queue in group.queues} - {""}
    rows = Membership.objects.filter(in_force(), role__in=roles, person__is_active=True).select_related("person")
    people_by_id = {row.person_id: row.person for row in rows.order_by("person")}
    held = reach.held_by(people_by_id)
    return [person for pk, person in people_by_id.items() if reach.escalated(group, held[pk])]
