"""Closing cases: what is empty resolves itself, hundreds at once in a few statements, each with history, fix and note.

Openers lock cases by cause, people one at a time. Whoever closes many takes only what is free at this moment and waits
for the rest one by one, so nobody ever waits in a circle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from django.db import connection as database
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.fixes import MERGED, WHY_EMPTY, Ending, record_fixes
from exceptions.models import CaseAlias, CaseNote, CasePause, ExceptionCase, Occurrence
from exceptions.opening import keep_history
from q2c.core import stats
from q2c.core.models import Person

RESOLVED, IN_TIME, LATE = "resolved", "in_time", "late"  # what is counted: cases, by whether the promise was kept
AT_ONCE = 500  # cases that one transaction closes


def resolve_emptied(case_ids: Collection[int] | None = None) -> list[int]:
    """Resolve open cases that have no open document left; None looks at all of them. Returns those.

    Looked at without a lock first: while thousands of a case's documents complete, most groups leave some behind.
    """
    emptied = _emptied()
    if case_ids is not None:
        emptied = emptied.filter(pk__in=case_ids)
    ids = list(emptied.order_by("pk").values_list("pk", flat=True))
    resolved: list[int] = []
    busy: list[int] = []
    for start in range(0, len(ids), AT_ONCE):
        chunk = ids[start : start + AT_ONCE]
        done, locked = _resolve(chunk, waits=False)
        resolved += done
        busy += [pk for pk in chunk if pk not in locked]
    for pk in busy:
        resolved += _resolve([pk], waits=True)[0]
    return sorted(resolved)


def close_cases(endings: Collection[Ending], *, by: Person | None) -> None:
    """Close these cases, locked by the caller: in a few statements, each with its history, what fixed it and a note;
    `by` is None where the portal itself does."""
    if not endings:
        return
    now = timezone.now()
    columns = zip(*((e.case.pk, e.state, e.last[:40], e.why) for e in endings), strict=True)
    with database.cursor() as cursor:
        cursor.execute(_CLOSE, [now, *map(list, columns)])
        for why in sorted({e.why for e in endings}):
            keep_history(cursor, [e.case.pk for e in endings if e.why == why], why=why, by=by)
    fixed = [e for e in endings if e.last != MERGED]  # a merged one's work goes on elsewhere, so nothing is fixed
    stops = _stops([ending.case for ending in fixed])
    with stats.gathering():
        for case in (ending.case for ending in fixed):
            is_late = stops.get(case.pk, now) > case.due_at
            stats.note(
                RESOLVED, flow=case.flow, connection_code=case.connection_code, entity=case.legal_entity_code,
                about=LATE if is_late else IN_TIME, seconds=max(0.0, (now - case.opened_at).total_seconds()),
            )  # fmt: skip
    fixes = record_fixes(fixed, at=now, by=by)
    CaseNote.objects.bulk_create(
        CaseNote(case=e.case, at=now, by=by, verb=str(e.state), text=e.why, data=_facts(e, fixes)) for e in endings
    )


def _stops(cases: Collection[ExceptionCase]) -> dict[int, dt.datetime]:
    """When the clocks of those that wait for somebody outside were stopped: until then their promise counts."""
    paused = [case.pk for case in cases if case.paused_for]
    if not paused:
        return {}
    rows = CasePause.objects.filter(case__in=paused, is_stop=True).order_by("pk")
    return dict(rows.values_list("case", "at"))  # the last one of each


def _resolve(ids: list[int], *, waits: bool) -> tuple[list[int], set[int]]:
    """Of these cases those that were resolved, and those that could be locked."""
    with atomic():
        rows = ExceptionCase.objects.select_for_update(skip_locked=not waits).filter(pk__in=ids).order_by("pk")
        locked = set(rows.values_list("pk", flat=True))
        aliases = CaseAlias.objects.filter(came_from=OuterRef("pk"), ended_at__isnull=True)
        newest = Occurrence.objects.filter(case=OuterRef("pk")).order_by("-closed_at").values("closed_how")[:1]
        emptied = _emptied().filter(pk__in=locked).annotate(is_merged=Exists(aliases), last=Subquery(newest))
        endings = [_ending(case) for case in emptied.order_by("pk")]
        close_cases(endings, by=None)
    return [ending.case.pk for ending in endings], locked


def _emptied() -> QuerySet[ExceptionCase]:
    left = Occurrence.objects.filter(case=OuterRef("pk"), closed_at__isnull=True)
    return ExceptionCase.objects.filter(~Exists(left), closed_at__isnull=True)


def _ending(case: Any) -> Ending:
    """How its last document left the case; `merged` where they were moved into another."""
    last = MERGED if case.is_merged else case.last or "completed"
    state = ExceptionCase.State.WAIVED if last == "waived" else ExceptionCase.State.RESOLVED
    return Ending(case, state, last, WHY_EMPTY.get(last, "No document is left in it."))


def _facts(ending: Ending, fixes: dict[int, int]) -> dict[str, Any]:
    facts: dict[str, Any] = {"resolution": ending.last}
    return facts | ({"fix": fixes[ending.case.pk]} if ending.case.pk in fixes else {})


_CLOSE = """
    UPDATE exceptions_exceptioncase c
       SET state = x.state, resolution = x.resolution, close_reason = x.why, closed_at = %s, snoozed_at = NULL
      FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS x (id, state, resolution, why)
     WHERE c.id = x.id
"""
