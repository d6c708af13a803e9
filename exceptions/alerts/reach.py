"""What of an alert somebody may know: its cases by queue and entity, as far as one role of theirs shows both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from django.db.models import Q

from exceptions.alerts.parts import Part, all_parts, open_parts, parts_of, parts_of_key
from exceptions.clocks import role_at
from exceptions.models import AlertDelivery, AlertGroup, AlertSubscription
from q2c.core.access import VIEW_CASE, find_roles, in_force
from q2c.core.models import Membership
from q2c.core.roles import Role

What = AlertDelivery.What
_ABOUT = {What.REMINDER.value: open_parts, What.ALL_CLEAR.value: all_parts}  # what else but its own is told
Held = Sequence[tuple[Role, str | None]]  # somebody's roles, each with its entity (None: all)


def shown(group: AlertGroup, held: Held, parts: Iterable[Part] | None = None) -> list[Part]:
    """What these roles show of it, or of these parts of it."""
    parts = parts_of(group) if parts is None else parts
    return [part for part in parts if any(_shows(role, code, group, part) for role, code in held)]


def escalated(group: AlertGroup, held: Held) -> list[Part]:
    """Of a broken promise what is told to these roles, whether or not they work the queue."""
    if group.about != AlertGroup.About.BREACHED:
        return []
    return [
        part for part in parts_of(group)
        if any(role.code == role_at(group.level, part.queue) and code in (None, part.entity) for role, code in held)
    ]  # fmt: skip


def wanted(subscription: AlertSubscription, parts: Iterable[Part]) -> list[Part]:
    """Of these what the subscription asks for, severity aside."""
    return [
        part for part in parts
        if (not subscription.queues or part.queue in subscription.queues)
        and (not subscription.entities or part.entity in subscription.entities)
    ]  # fmt: skip


def shown_q(held: Held) -> Q:
    """The alerts of which these roles show something."""
    found = Q(pk__in=[])
    for role, code in held:
        if VIEW_CASE not in role.may:
            continue
        own = Q(kind__in=role.kinds) if role.kinds else Q()
        place = {} if code is None else {"entity": code}
        before = Q(parts__isnull=True)  # from before they were kept apart
        before &= Q(queues__overlap=list(role.queues)) if role.queues else Q()
        before &= Q(entities__contains=[code]) if code is not None else Q()
        apart = Q(pk__in=[])
        for queue in role.queues or ("",):
            apart |= Q(parts__contains=[place | ({"queue": queue} if queue else {})])
        found |= own & (before | apart)
    return found


def held_by(person_ids: Iterable[int]) -> dict[int, list[tuple[Role, str | None]]]:
    """The roles that each of these people holds now."""
    found: dict[int, list[tuple[Role, str | None]]] = defaultdict(list)
    rows = Membership.objects.filter(in_force(), person__in=list(person_ids))
    held = list(rows.values_list("person", "role", "legal_entity__code"))
    roles = find_roles(role for _, role, _ in held)
    for person, role, entity in held:
        if role in roles:
            found[person].append((roles[role], entity))
    return found


def of_readers(rows: Iterable[AlertDelivery]) -> dict[int, list[Part]]:
    """Of each message what its reader may know now, by the message's id: a person by their roles, a channel by what it
    was agreed to be told of."""
    rows = list(rows)
    held = held_by({row.person_id for row in rows if row.person_id})
    groups = {(row.group_id, row.what, _is_to_program(row)): row.group for row in rows}
    about = {key: _told_of(key[1], key[2])(group) for key, group in groups.items()}
    return {row.pk: _of_reader(row, held, about[row.group_id, row.what, _is_to_program(row)]) for row in rows}


def _is_to_program(row: AlertDelivery) -> bool:
    return row.channel is not None and row.channel.is_webhook


def _told_of(what: str, is_to_program: bool) -> Callable[[AlertGroup], list[Part]]:
    return parts_of_key if is_to_program and what == What.ALL_CLEAR else _ABOUT.get(what, parts_of)


def _of_reader(
    row: AlertDelivery, held: dict[int, list[tuple[Role, str | None]]], parts: list[Part]
) -> list[Part]:  # fmt: skip
    if row.person_id:
        roles = held.get(row.person_id, [])
        own = {*shown(row.group, roles, parts), *escalated(row.group, roles)}
        return [part for part in parts if part in own]
    subscription = getattr(row.channel, "alerts", None)
    return wanted(subscription, parts) if subscription is not None else parts


def _shows(role: Role, code: str | None, group: AlertGroup, part: Part) -> bool:
    sees_queue = not role.queues or part.queue in role.queues
    return sees_queue and role.holds(VIEW_CASE, group.kind) and code in (None, part.entity)
