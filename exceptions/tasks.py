"""House-keeping of cases, on a schedule: each task may run at any time and twice."""

import datetime as dt

from celery import shared_task
from django.utils import timezone

from exceptions import cases, resolutions, sla
from exceptions.models import CaseNote, ExceptionCase


@shared_task(ignore_result=True)
def sweep_cases() -> None:
    """Resolve what is empty, let corrected documents pass, bring `last_at` up to date, note who is at risk or late."""
    resolutions.make_way()
    cases.resolve_emptied()
    cases.roll_up()
    note_standing()


def note_standing() -> int:
    """Note once, in its timeline, that a case is at risk or breached. Returns how many notes were made."""
    now = timezone.now()
    open_cases = ExceptionCase.objects.filter(closed_at__isnull=True)
    noted = set(
        CaseNote.objects.filter(case__in=open_cases, verb__in=("at_risk", "breached")).values_list("case", "verb", "at")
    )
    last: dict[int, tuple[str, dt.datetime]] = {}
    for case_id, verb, at in sorted(noted, key=lambda row: row[2]):
        last[case_id] = (verb, at)
    notes = []
    for case in open_cases.only("id", "opened_at", "due_at").iterator(chunk_size=2000):
        standing = sla.standing(case.due_at, now, opened=case.opened_at)
        verb, told_at = last.get(case.pk, ("", None))
        is_told = told_at is not None and told_at >= case.opened_at and verb in (standing, "breached")
        if standing != "on_time" and not is_told:
            notes.append(CaseNote(case=case, at=now, verb=standing, text=f"due {case.due_at:%Y-%m-%d %H:%M} UTC"))
    CaseNote.objects.bulk_create(notes, batch_size=1000)
    return len(notes)
