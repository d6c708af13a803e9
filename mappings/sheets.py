"""The life of a sheet: stored, checked by a worker with its progress told, cancelled, made a draft. Nothing half done.

The database says what waits; a nudge only says it sooner. A worker that died is followed by another one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Any

import structlog
from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from mappings import drafts, exports
from mappings.imports import Report, check_table
from mappings.kinds import BY_CODE
from mappings.models import ChangeSet, Sheet
from mappings.rows import FAULTS_SHOWN
from mappings.tables import Table, read_table, read_text
from mappings.workbooks import Unreadable
from q2c.core import access, audit
from q2c.core.databases import is_away
from q2c.core.models import Person

log = structlog.get_logger(__name__)
State = Sheet.State
SILENT = dt.timedelta(minutes=2)  # a worker that says nothing for so long is taken for dead
KEPT = dt.timedelta(days=7)
AT_ONCE = 150_000  # bytes: a sheet of this size is checked while the person waits


class Cancelled(Exception):
    """Its maker, or time, took the sheet away."""


def store_sheet(
    content: bytes, *, by: Person, name: str, kind: str, default_from: dt.date, is_pasted: bool = False
) -> Sheet:
    """Keep what was sent, to be checked."""
    return Sheet.objects.create(
        made_by=by, made_at=timezone.now(), name=name[:200], kind=kind, default_from=default_from, content=content,
        is_pasted=is_pasted,
    )  # fmt: skip


def sheets_of(user: Person) -> Any:
    """A person's own sheets, newest first."""
    return Sheet.objects.filter(made_by=user).order_by("-id")


def carry_sheet(sheet_id: int) -> str:
    """Check a sheet that waits, and make its draft where one is wanted. Returns its state; "" if it isn't our turn."""
    now = timezone.now()
    waits = Q(state=State.WAITING) | Q(state=State.CHECKING, told_at__lt=now - SILENT)
    if not Sheet.objects.filter(waits, pk=sheet_id).update(
        state=State.CHECKING, told_at=now, stage="read", done_rows=0
    ):
        return ""
    sheet = Sheet.objects.select_related("made_by").get(pk=sheet_id)
    try:
        report = check_sheet(sheet)
        _finish(sheet, report)
    except Cancelled:
        return State.CANCELLED
    except Unreadable as refused:
        _end(sheet, State.REFUSED, says=str(refused))
    except drafts.DraftRefused as refused:
        _end(sheet, State.CHECKED, says=str(refused), wish={})
    except Exception as error:  # or those behind it would wait for as long as it's kept
        if is_away(error):
            raise  # nothing is wrong with the sheet: it's checked again
        log.exception("sheet_failed", sheet=sheet.pk)
        _end(sheet, State.REFUSED, says=f"The portal failed over it ({type(error).__name__}). Send it as CSV UTF-8, or "
                                        "tell whoever runs the portal.")  # fmt: skip
    return sheet.state


def carry_waiting() -> list[int]:
    """Carry whatever waits, and let go of what nobody came back to. Returns the sheets carried."""
    now = timezone.now()
    Sheet.objects.filter(made_at__lt=now - KEPT).exclude(content=b"").update(state=State.CANCELLED, content=b"")
    waits = Q(state=State.WAITING) | Q(state=State.CHECKING, told_at__lt=now - SILENT)
    waiting = list(Sheet.objects.filter(waits).order_by("pk").values_list("pk", flat=True))
    return [sheet_id for sheet_id in waiting if carry_sheet(sheet_id)]


def check_sheet(sheet: Sheet) -> Report:
    """Everything that can be said about a sheet. Raises Unreadable, and Cancelled when its maker cancels meanwhile."""
    table = table_of(sheet)
    sealed = exports.read_seal(table.seal) if table.seal else None
    report = check_table(
        table, by=sheet.made_by, default_from=sheet.default_from, kind=sheet.kind, sealed=sealed,
        tell=lambda stage, done, total: _tell(sheet, stage, done, total),
    )  # fmt: skip
    if sealed is not None:
        report.notes.append(f"It’s an export of ours of {len(sealed):,} rules; its signature holds.")
    return report


def table_of(sheet: Sheet) -> Table:
    """The rows of what was sent. Raises Unreadable."""
    kind = BY_CODE.get(sheet.kind)
    content = bytes(sheet.content)
    if sheet.is_pasted:
        return read_text(content.decode(), kind)
    return read_table(content, kind, seal_sheet=exports.SEAL_SHEET)


def cancel_sheet(sheet: Sheet) -> bool:
    """Let go of a sheet: its worker stops at its next word. Returns whether there was something to let go of."""
    open_ = (State.WAITING, State.CHECKING, State.CHECKED, State.REFUSED)
    return bool(Sheet.objects.filter(pk=sheet.pk, state__in=open_).update(state=State.CANCELLED, content=b""))


def want_draft(sheet: Sheet, *, title: str, why: str) -> bool:
    """Ask for a draft of the right rows. Returns whether the sheet was ready for that."""
    wish = {"title": title, "why": why}
    return bool(Sheet.objects.filter(pk=sheet.pk, state=State.CHECKED).update(state=State.WAITING, wish=wish))


def _tell(sheet: Sheet, stage: str, done: int, total: int) -> None:
    said = Sheet.objects.filter(pk=sheet.pk, state=State.CHECKING).update(
        stage=stage, done_rows=done, total_rows=total, told_at=timezone.now()
    )
    if not said:
        raise Cancelled


def _finish(sheet: Sheet, report: Report) -> None:
    """Store the report; with a wish, the draft too, in one transaction."""
    facts = {
        "total": report.total, "same": report.same, "wrong": report.wrong_rows, "acts": dict(report.acts),
        "faults": [asdict(fault) for fault in report.faults[:FAULTS_SHOWN]], "fault_count": len(report.faults),
        "differences": [asdict(d) | {"effective_from": d.effective_from.isoformat()} for d in report.differences],
        "line_count": len(report.lines), "notes": report.notes,
    }  # fmt: skip
    if not sheet.wish:
        _end(sheet, State.CHECKED, report=facts, says="")
        return
    with atomic():
        change_set = _draft(sheet, report)
        _end(sheet, State.DRAFTED, report=facts, change_set=change_set, content=b"", says="")


def _draft(sheet: Sheet, report: Report) -> ChangeSet:
    by = sheet.made_by
    if not access.may(by, "mappings.propose_rule"):  # it may have been taken away while the sheet waited
        raise drafts.DraftRefused([drafts.Fault(0, "", "your role proposes no rules any more")])
    change_set = drafts.save_draft(sheet.wish["title"], sheet.wish["why"], lines=report.lines, by=by, is_checked=True)
    facts = {"sheet": sheet.name, "rows": report.total, "lines": len(report.lines), "left_out": report.wrong_rows}
    audit.record(by, "draft", "change_set", change_set.pk, why=sheet.wish["why"], data=facts)
    return change_set


def _end(sheet: Sheet, state: str, **facts: Any) -> None:
    """The last word about a sheet, unless it was cancelled meanwhile."""
    if not Sheet.objects.filter(pk=sheet.pk, state=State.CHECKING).update(state=state, told_at=timezone.now(), **facts):
        raise Cancelled
    sheet.refresh_from_db()
