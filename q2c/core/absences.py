"""Out of office: who is away until when, and who stands in.

New assignments and mentions go to whoever stands in. Nothing that a person may do goes with it: whoever stands in
signs, approves and works only what their own roles let them.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import audit
from q2c.core.models import Absence, Person

LONGEST = dt.timedelta(days=366)


class AbsenceRefused(Exception):
    """An absence that can't be noted; the text says why."""


class StandIn(NamedTuple):
    """Who stands in for somebody who is away, and until when."""

    person: int
    until: dt.datetime


def current(at: dt.datetime | None = None) -> QuerySet[Absence]:
    """Who is away at an instant (now)."""
    at = at or timezone.now()
    return Absence.objects.filter(starts_at__lte=at, ends_at__gt=at, ended_at=None)


def note_absence(
    person: Person, *, first_day: dt.date, back_on: dt.date, deputy: Person, why: str, zone: zoneinfo.ZoneInfo
) -> Absence:
    """Somebody is away from that day on until the day they are back, in their own zone. Raises AbsenceRefused."""
    if not first_day < back_on:
        raise AbsenceRefused("The day you’re back comes after the first day away.")
    starts, ends = (dt.datetime.combine(day, dt.time(), zone) for day in (first_day, back_on))
    if ends <= timezone.now() or ends - starts > LONGEST:
        raise AbsenceRefused("It ends in the future, a year after it begins at the latest.")
    if deputy.pk == person.pk or not deputy.is_active:
        raise AbsenceRefused("Somebody else who may sign in stands in.")
    with atomic():
        Person.objects.select_for_update().get(pk=person.pk)
        other = person.absences.filter(ended_at=None, starts_at__lt=ends, ends_at__gt=starts).first()
        if other is not None:
            raise AbsenceRefused(f"You said already that you’re away {other}. End that first.")
        absence = Absence.objects.create(person=person, deputy=deputy, starts_at=starts, ends_at=ends, why=why)
        data = {"from": starts.isoformat(), "until": ends.isoformat(), "deputy": deputy.username}
        audit.record(person, "away", "person", person.pk, why=why, data=data)
    return absence


def end_absence(absence: Absence, *, by: Person) -> None:
    """They are back, or won't go."""
    changed = Absence.objects.filter(pk=absence.pk, ended_at=None).update(ended_at=timezone.now())
    if changed:
        audit.record(by, "back", "person", absence.person_id, data={"absence": absence.pk})


def stand_ins() -> dict[int, StandIn]:
    """Who stands in now for each who is away, by one statement: the deputy, or, where that one is away too, the
    deputy's deputy. Nobody where they stand in for each other."""
    away = {row.person_id: StandIn(row.deputy_id, row.ends_at) for row in current().filter(deputy__is_active=True)}
    found: dict[int, StandIn] = {}
    for person, first in away.items():
        last, seen = first.person, {person}
        while last in away and last not in seen:
            seen.add(last)
            last = away[last].person
        if last not in away:
            found[person] = StandIn(last, first.until)
    return found


def reached(person: Person) -> tuple[Person, str]:
    """Whoever gets what is meant for this person now (an assignment, a mention), and a note that says so; the person
    and "" while they are here."""
    instead = stand_ins().get(person.pk)
    if instead is None:
        return person, ""
    deputy = Person.objects.get(pk=instead.person)
    return deputy, f"{deputy} stands in for {person} until {instead.until:%Y-%m-%d}"


def absences_of(person: Person) -> QuerySet[Absence]:
    """What a person said of themselves, and whom they stand in for: not over yet, the nearest first."""
    rows = Absence.objects.filter(Q(person=person) | Q(deputy=person), ended_at=None, ends_at__gt=timezone.now())
    return rows.select_related("person", "deputy").order_by("starts_at", "pk")
