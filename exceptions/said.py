"""What people wrote about cases, as one person may read it: without the right to see masked values, mail addresses,
phone numbers, bank accounts and the names of the case's own customers are covered; what one wrote oneself isn't."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exceptions.models import CaseFile, CaseFix, CaseNote, Occurrence
from q2c.core import access
from q2c.core.masking import mask_said
from q2c.core.reveals import PERMISSION
from q2c.records.persons import persons_among
from q2c.transactions.models import BusinessTransaction

CUSTOMERS_MAX = 500  # of the newest documents of these cases


def cover_notes(user: Any, notes: Iterable[CaseNote]) -> list[CaseNote]:
    """These notes (with their cases), each with what this person is shown of it as `shown`, and whether they may take
    its files as `gives_files`."""
    notes = list(notes)
    covered = [note for note in notes if note.text and not _reads_plain(user, note)]
    people = _people(sorted({note.case_id for note in covered})) if covered else ()
    ids = {note.pk for note in covered}
    for note in notes:
        note.shown = mask_said(note.text, people) if note.pk in ids else note.text  # type: ignore[attr-defined]
        note.gives_files = _reads_plain(user, note)  # type: ignore[attr-defined]
    return notes


def cover_why(user: Any, fix: CaseFix) -> str:
    """Why somebody fixed a case as they did, as this person may read it."""
    is_plain = not fix.why or _sees(user, fix.legal_entity_code)
    return fix.why if is_plain else mask_said(fix.why, _people([fix.case_id]))


def may_take(user: Any, file: CaseFile) -> bool:
    """Whether a person may have a file of a case that they see: nothing in it is covered, so it takes the right to see
    masked values, or that they gave it themselves."""
    return _reads_plain(user, file.note)


def _reads_plain(user: Any, note: CaseNote) -> bool:
    return note.by_id == user.pk or _sees(user, note.case.legal_entity_code)


def _sees(user: Any, entity: str) -> bool:
    return access.sees_entity(user, entity, PERMISSION)


def _people(cases: list[int]) -> tuple[str, ...]:
    documents = Occurrence.objects.filter(case__in=cases, transaction_id__isnull=False).order_by("-id")
    rows = BusinessTransaction.objects.filter(pk__in=documents.values("transaction_id")[:CUSTOMERS_MAX])
    return persons_among(rows.order_by().values_list("customer_name", flat=True).distinct())
