"""An alert's cases by queue and entity, counted apart: whoever sees some of them is told of those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Count, Exists, Min, OuterRef, Q

from exceptions.models import AlertDelivery, AlertGroup, ExceptionCase


class Part(NamedTuple):
    """Cases of one queue and entity; `cases` is None of an alert from before they were kept apart."""

    queue: str
    entity: str
    severity: int
    cases: int | None


def parts_of(group: AlertGroup) -> list[Part]:
    """All of an alert, by queue and entity."""
    if _is_whole(group):
        return [Part(p["queue"], p["entity"], p["severity"], p["count"]) for p in group.parts or ()]
    count = group.case_count if len(group.queues) == len(group.entities) == 1 else None
    return [Part(queue, entity, group.severity, count) for queue in group.queues for entity in group.entities]


def same_trouble(group: AlertGroup) -> list[AlertGroup]:
    """The alert, and those before it that ended only because what came an hour later was told anew: what they told is
    over when this one is."""
    before = AlertGroup.objects.filter(
        ~Exists(AlertDelivery.objects.filter(group=OuterRef("pk"), what=AlertDelivery.What.ALL_CLEAR)),
        about=group.about, level=group.level, kind=group.kind, connection_code=group.connection_code, flow=group.flow,
        pk__lt=group.pk, over_at__gte=group.first_at,
    )  # fmt: skip
    return [*before.order_by("pk"), group]


def all_parts(group: AlertGroup) -> list[Part]:
    """What an alert and those before it had, by queue and entity."""
    sums: dict[tuple[str, str], Part] = {}
    for each in same_trouble(group):
        for part in parts_of(each):
            was = sums.get((part.queue, part.entity))
            if was is not None:
                cases = None if was.cases is None or part.cases is None else was.cases + part.cases
                part = part._replace(severity=min(was.severity, part.severity), cases=cases)
            sums[part.queue, part.entity] = part
    return [sums[place] for place in sorted(sums)]


def parts_of_key(group: AlertGroup) -> list[Part]:
    """What a program may have been told of by the time that an alert is over, by queue and entity: its own parts, and
    places that only alerts about the promises of the same cases had, by then in another queue."""
    found = {(part.queue, part.entity): part for part in all_parts(group)}
    others = AlertGroup.objects.filter(key_q(group), first_at__lte=group.over_at or group.grew_at)
    for other in others.filter(Q(over_at=None) | Q(over_at__gte=group.first_at)).exclude(pk=group.pk).order_by("pk"):
        for part in parts_of(other):
            found.setdefault((part.queue, part.entity), part)
    return [found[place] for place in sorted(found)]


def key_q(group: AlertGroup, prefix: str = "") -> Q:
    """The alerts of one kind, connection and flow, whatever happened to their cases: one incident of a program."""
    names = ("kind", "connection_code", "flow")
    return Q(**{f"{prefix}{name}": getattr(group, name) for name in names})


def open_parts(group: AlertGroup) -> list[Part]:
    """What of an alert is open now and wasn't set aside, by queue and entity."""
    rows = ExceptionCase.objects.filter(
        kind=group.kind, connection_code=group.connection_code, flow=group.flow, opened_at__gte=group.first_at,
        closed_at__isnull=True, snoozed_at__isnull=True,
    )  # fmt: skip
    counted = rows.values_list("queue", "legal_entity_code").annotate(severity=Min("severity"), cases=Count("pk"))
    return [Part(*row) for row in counted.order_by("queue", "legal_entity_code")]


def add_parts(group: AlertGroup, cases: Iterable[ExceptionCase]) -> None:
    """Put these cases into its parts, before they are counted in it."""
    if not _is_whole(group):
        group.parts = None  # the last release began it, or added to it
        return
    sums = {(part.queue, part.entity): (part.severity, part.cases or 0) for part in parts_of(group)}
    for case in cases:
        place = (case.queue, case.legal_entity_code)
        severity, count = sums.get(place, (case.severity, 0))
        sums[place] = (min(severity, case.severity), count + 1)
    group.parts = [
        {"queue": queue, "entity": entity, "severity": severity, "count": count}
        for (queue, entity), (severity, count) in sorted(sums.items())
    ]


def _is_whole(group: AlertGroup) -> bool:
    return group.parts is not None and sum(part["count"] for part in group.parts) == group.case_count
