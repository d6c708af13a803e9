"""Cases that fail alike become one alert, and it's over when nothing of it is left.

Alike is: the same kind, connection and flow, each within an hour of the one before. So 10,000 cases of one outage are
one alert, as 10,000 documents of one case are.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from django.db import connection as database
from django.db.models import Exists, OuterRef
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.alerts.parts import add_parts
from exceptions.models import AlertGroup, ExceptionCase

WINDOW = dt.timedelta(hours=1)  # so long after its last case another one is of the same alert
CALM = dt.timedelta(minutes=2)  # so long after its last case it may be over
BATCH = 5000
_LOCK = 0x51326305  # whoever adds to alerts takes it first
About = AlertGroup.About


class _Key(NamedTuple):
    about: str
    level: int
    kind: str
    connection_code: str
    flow: str


def take_opened(now: dt.datetime | None = None) -> int:
    """Put cases that opened since into their alerts. Returns how many were put."""
    now, taken = now or timezone.now(), 0
    while True:
        with atomic():
            rows = ExceptionCase.objects.filter(is_told=False, closed_at__isnull=True)
            cases = list(rows.select_for_update(skip_locked=True, no_key=True).order_by("pk")[:BATCH])
            if cases:
                add(cases, About.OPENED, now=now)
                ExceptionCase.objects.filter(pk__in=[case.pk for case in cases]).update(is_told=True)
        taken += len(cases)
        if len(cases) < BATCH:
            return taken


def add(cases: Iterable[ExceptionCase], about: str, *, now: dt.datetime, level: int = 0) -> None:
    """Put cases into their alerts. Call it inside a transaction."""
    found: dict[_Key, list[ExceptionCase]] = defaultdict(list)
    for case in cases:
        found[_Key(about, level, case.kind, case.connection_code, case.flow)].append(case)
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    for key, own in sorted(found.items()):
        group = AlertGroup.objects.filter(**key._asdict(), over_at=None).first()
        if group is not None and group.grew_at < now - WINDOW:
            # It runs on, but what comes now is told anew; its own end is told with the new one's.
            group.over_at = now
            group.save(update_fields=["over_at"])
            group = AlertGroup(**key._asdict(), first_at=group.first_at, case_count=0)
            group.severity, group.queues, group.entities, group.parts = own[0].severity, [], [], []
        elif group is None:
            group = AlertGroup(**key._asdict(), first_at=own[0].opened_at, severity=own[0].severity)
            group.queues, group.entities, group.parts = [], [], []
        add_parts(group, own)
        group.severity = min(group.severity, *(case.severity for case in own))
        group.queues = sorted({*group.queues, *(case.queue for case in own)})
        group.entities = sorted({*group.entities, *(case.legal_entity_code for case in own)})
        group.case_count += len(own)
        group.first_at = min(group.first_at, *(case.opened_at for case in own))
        group.last_at = max(case.opened_at for case in own)
        group.grew_at, group.is_planned = now, False
        group.save()


def end_over(now: dt.datetime | None = None) -> list[AlertGroup]:
    """The alerts of which no case is open any more, marked as over."""
    now = now or timezone.now()
    left = ExceptionCase.objects.filter(
        kind=OuterRef("kind"), connection_code=OuterRef("connection_code"), flow=OuterRef("flow"),
        closed_at__isnull=True, opened_at__gte=OuterRef("first_at"),
    )  # fmt: skip
    running = AlertGroup.objects.filter(over_at=None, grew_at__lte=now - CALM)
    ended = list(running.filter(~Exists(left)).order_by("pk"))
    AlertGroup.objects.filter(pk__in=[group.pk for group in ended]).update(over_at=now)
    for group in ended:
        group.over_at = now
    return ended
