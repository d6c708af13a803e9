"""Notes that name people: "@cora, is this yours?" waits on Cora's home page, or on that of whoever stands in for her.

Only those are named who may see the case: a note never leads anybody to what isn't theirs.
"""

from __future__ import annotations

import re
from typing import Any

from django.db.models import QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, files, tallies
from exceptions.models import CaseNote, ExceptionCase, Mention
from q2c.core import absences
from q2c.core.models import Person

MOST = 10  # people in one note
_NAMED = re.compile(r"(?<![\w@.])@([\w.+-]{1,150})")


def comment(
    case: ExceptionCase, *, text: str, by: Person, file: files.Given | None = None
) -> tuple[CaseNote, list[str]]:
    """Add a note, with a file if there is one, and tell those whom it names. Returns the note and a
    sentence for each name that nobody was told of or that somebody stands in for. Raises FileRefused."""
    said: list[str] = []
    with atomic():
        note = cases.note(case, text=text, by=by)
        if file is not None:
            files.attach(note, file, by=by)
        told: dict[int, int] = {}
        for name, person in _named(text).items():
            if person is None or not _sees(person, case):
                said.append(f"@{name} wasn’t told: nobody of that name sees this case.")
                continue
            reached, instead = absences.reached(person)
            if not _sees(reached, case):
                said.append(f"{instead}, but doesn’t see this case: nobody was told.")
                continue
            if instead:
                said.append(f"{instead}, and was told.")
            if reached.pk != by.pk:
                told.setdefault(reached.pk, person.pk)
        Mention.objects.bulk_create(
            Mention(note=note, person_id=person, meant_id=meant) for person, meant in sorted(told.items())
        )
    return note, said


def unread(person: Any) -> QuerySet[Mention]:
    """The notes that name this person and that they haven't read, of cases that they still see, the newest first."""
    visible = tallies.cases_visible_to(person).order_by().values("pk")
    rows = Mention.objects.filter(person=person.pk, seen_at__isnull=True, note__case__in=visible)
    return rows.select_related("note__case", "note__by", "meant").order_by("-id")


def mark_read(person: Person, mention_id: int) -> bool:
    """This person has read it. Returns whether there was one of theirs."""
    own = Mention.objects.filter(pk=mention_id, person=person)
    own.filter(seen_at__isnull=True).update(seen_at=timezone.now())
    return own.exists()


def _named(text: str) -> dict[str, Person | None]:
    names = list(dict.fromkeys(name.rstrip(".+-") for name in _NAMED.findall(text)))[:MOST]
    people = {p.username.lower(): p for p in Person.objects.filter(username__in=names, is_active=True)}
    return {name: people.get(name.lower()) for name in names if name}


def _sees(person: Person, case: ExceptionCase) -> bool:
    return tallies.cases_visible_to(person).filter(pk=case.pk).exists()
