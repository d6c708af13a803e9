"""What a sheet wishes, done by the ways that a case has: bulk actions and proposals; no way of its own.

Each part is checked once more under the locks of its documents, in the transaction that does it, so what moved between
the look and the click is left out by name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from exceptions import bulk, cases
from exceptions.freezing import ASSIGN, WAYS, BulkRefused, freeze
from exceptions.kind_words import EDIT_FIELDS, SNOOZE
from exceptions.models import CaseSheet, ExceptionCase, Occurrence
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import edits, sendbacks, snoozes
from exceptions.sheets.checking import SINGLY, Line, as_report, check_sheet, why_not_same
from exceptions.sheets.documents import known_documents
from mappings.workbooks import Unreadable
from q2c.core import audit, leases
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction

State = CaseSheet.State
KEPT = dt.timedelta(days=7)
BATCH = 50  # rows that are done one by one, in one commit: it holds the audit chain meanwhile
LEASE_SECONDS = 300.0  # longer than any one part of it takes
INTERRUPTED = "It was interrupted; what was done is listed."


def take_sheet(content: bytes, *, by: Person, name: str) -> CaseSheet:
    """Keep what was sent, with what each of its rows would do."""
    facts: dict[str, Any] = {"made_by": by, "made_at": timezone.now(), "name": name[:200]}
    try:
        report = as_report(check_sheet(content, by=by))
    except Unreadable as refused:
        return CaseSheet.objects.create(**facts, state=State.REFUSED, says=str(refused)[:500])
    return CaseSheet.objects.create(**facts, content=content, report=report)


def carry_sheet(sheet: CaseSheet, *, by: Person) -> bool:
    """Do what its good rows wish, as of now. Returns whether it was still to be done: a second click does nothing. The
    audit trail says that it began, whatever becomes of this process, and at the end what was done."""
    if sheet.made_by_id != by.pk:
        return False
    with atomic():
        if not CaseSheet.objects.filter(pk=sheet.pk, state=State.CHECKED).update(state=State.CARRYING):
            return False
        _go_on(sheet)
        audit.record(by, "begin_sheet", "case_sheet", sheet.pk, data={"sheet": sheet.name})
    checked = check_sheet(bytes(sheet.content), by=by)
    result: list[dict[str, Any]] = []
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in checked.good:
        if line.act in SINGLY:
            continue
        groups.setdefault(line.wish, []).append(line)
    for lines in groups.values():
        result += _in_bulk(lines, sheet, by)
        _keep(sheet, result)
    done: set[tuple[int, str]] = set()
    singly: list[Line] = []
    for line in checked.good:
        assert line.document is not None  # good rows have one
        if line.act in SINGLY and (line.document.case_id, line.act) not in done:
            if line.act != EDIT_FIELDS:
                done.add((line.document.case_id, line.act))
            singly.append(line)
    for lines in _batches(singly):
        with atomic():
            result += _each(lines, by)
            _keep(sheet, result)
    result += [_left(line, line.refused) for line in checked.refused]
    with atomic():
        facts = {"sheet": sheet.name, "rows": checked.total, "done": sum(row["count"] for row in result)}
        audit.record(by, "carry_sheet", "case_sheet", sheet.pk, data=facts)
        CaseSheet.objects.filter(pk=sheet.pk).update(state=State.CARRIED, result=result, content=b"", says="")
    leases.release_lease(_lease(sheet.pk), holder=leases.this_process())
    sheet.refresh_from_db()
    return True


def forget_sheets() -> int:
    """Let go of what was sent and not carried for a week, and of what nobody carries any more: that keeps the list of
    what was done. Returns how many."""
    kept = CaseSheet.objects.exclude(content=b"")
    begun = kept.filter(state=State.CARRYING).values_list("pk", flat=True)
    left = [pk for pk in begun if not leases.living(_lease(pk))]
    ended = kept.filter(pk__in=left).update(content=b"", state=State.CARRIED, says=INTERRUPTED)
    old = kept.filter(made_at__lt=timezone.now() - KEPT, state=State.CHECKED)
    return ended + old.update(content=b"", state=State.REFUSED, says="It was let go of after a week. Nothing was done.")


def sheets_of(user: Person) -> Any:
    """A person's own sheets, newest first."""
    return CaseSheet.objects.filter(made_by=user).order_by("-id")


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    left = iter(lines)
    while batch := list(islice(left, BATCH)):
        yield batch


def _lease(sheet_id: int) -> str:
    return f"sheet:{sheet_id}:"


def _go_on(sheet: CaseSheet) -> None:
    """This process is at it; a sheet that no process is at any more was interrupted."""
    leases.take_lease(_lease(sheet.pk), holder=leases.this_process(), seconds=LEASE_SECONDS)


def _keep(sheet: CaseSheet, result: list[dict[str, Any]]) -> None:
    """What was done so far, in case this process doesn't come to the end: the rest can be sent again."""
    _go_on(sheet)
    CaseSheet.objects.filter(pk=sheet.pk).update(result=result)


def _in_bulk(lines: list[Line], sheet: CaseSheet, by: Person) -> list[dict[str, Any]]:
    """One bulk action of these rows, confirmed: it begins in a minute, or after whom the rules ask."""
    act, code, _, to, why = lines[0].wish
    try:
        with atomic():
            lines, moved = _unmoved(lines, by)
            left = [_left(line, said) for line, said in moved]
            if not lines:
                return left
            documents = [line.document for line in lines if line.document is not None]
            action = freeze(
                act, by=by, cases=ExceptionCase.objects.filter(pk__in={d.case_id for d in documents}),
                chosen={"sheet": sheet.pk, "documents": [d.id for d in documents]},
                words=f"{len(lines):,} rows of the sheet {sheet.name}",
                occurrences=None if act == ASSIGN else [d.id for d in documents],
            )  # fmt: skip
            person = Person.objects.get(username=to) if act == ASSIGN else None
            action = bulk.confirm(action, by=by, why=why, assign_to=person, code=code)
    except BulkRefused as refused:
        return [_left(line, str(refused)) for line in lines]
    says = f"{WAYS[act].verb}: {action.item_count - action.refused_count:,} of {action.number}"
    return [*left, {"count": len(lines), "says": says, "bulk": action.pk, "is_asked": action.state == "asked"}]


def _each(lines: Iterable[Line], by: Person) -> list[dict[str, Any]]:
    """Rows of one batch, one after the other; their documents are locked and read together."""
    lines = list(lines)
    moved = {line.row: _left(line, said) for line, said in _unmoved(lines, by)[1]}
    return [moved.get(line.row) or _singly(line, by) for line in lines]


def _singly(line: Line, by: Person) -> dict[str, Any]:
    """An edit, a snooze, or a case that is sent back; proposed where the rules ask. What is refused leaves nothing."""
    assert line.document is not None
    try:
        with atomic():
            case = ExceptionCase.objects.get(pk=line.document.case_id)
            told = {"count": 1, "row": line.row, "case": case.pk, "says": line.words}
            if line.act == SNOOZE:
                snoozes.snooze(case, by=by, reason=line.why, until="date", date=line.until)
                return told
            if line.act != EDIT_FIELDS:
                sendbacks.send_back(case, by=by, to=line.to, message=line.why)
                return told
            assert line.document.transaction_id is not None  # a row without a document is refused
            proposal, _ = edits.edit_fields(
                case, by=by, reason=line.why, transaction_id=line.document.transaction_id, values=line.edits
            )
            return told | {"proposal": str(proposal.pk) if proposal else ""}
    except ResolutionRefused as refused:
        return _left(line, str(refused))


def _unmoved(lines: Iterable[Line], by: Person) -> tuple[list[Line], list[tuple[Line, str]]]:
    """Locks the rows' documents and cases. Returns those that are as they went out, and the others with what moved."""
    lines = list(lines)
    documents = [line.document for line in lines if line.document is not None]
    ids = sorted({d.transaction_id for d in documents if d.transaction_id is not None})
    list(BusinessTransaction.objects.select_for_update().filter(pk__in=ids).order_by("pk").values_list("pk"))
    for case_id in sorted({d.case_id for d in documents}):
        cases.lock_case(case_id)
    list(
        Occurrence.objects.select_for_update().filter(pk__in=[d.id for d in documents]).order_by("pk").values_list("pk")
    )
    present = known_documents(by, [d.id for d in documents])
    left, moved = [], []
    for line in lines:
        line.document = present.get(line.document.id) if line.document else None
        said = why_not_same(line)
        if said:
            moved.append((line, said))
        else:
            left.append(line)
    return left, moved


def _left(line: Line, says: str) -> dict[str, Any]:
    number = line.document.number if line.document else line.cells.get("number", "")
    return {"count": 0, "row": line.row, "number": number, "says": says}
