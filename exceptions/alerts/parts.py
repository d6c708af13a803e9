"""An alert's cases by queue and entity, counted apart: whoever sees some of them is told of those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from exceptions.models import AlertGroup, ExceptionCase


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
