"""A draft that a person builds: rows added and taken out again, its title and reason, until it is proposed.

Only its author changes it, and only while it is a draft. What was decided against can be begun anew from its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db.models import QuerySet
from django.db.transaction import atomic

from mappings.drafts import (
    RETIRE,
    DraftRefused,
    Fault,
    Line,
    check_lines,
    line_of,
    lines_for,
    lines_of,
    rows_beside,
    rows_for,
    save_draft,
)
from mappings.models import ChangeLine, ChangeSet
from q2c.core.approvals import ApprovalRefused
from q2c.core.history import save_with_reason
from q2c.core.models import Person

State = ChangeSet.State
ENDED = (State.VOID, State.WITHDRAWN, State.REJECTED)


def drafts_of(person: Person) -> QuerySet[ChangeSet]:
    """The drafts that a person has open, newest first. One for a case isn't among them: its case proposes it."""
    return ChangeSet.objects.filter(proposed_by=person, state=State.DRAFT, case=None).order_by("-pk")


def add_to_draft(title: str, why: str, *, lines: Sequence[Line], by: Person) -> ChangeSet:
    """Add rows to the person's newest draft, or to a new one of this title and reason.

    Raises DraftRefused with the faults of these rows, those with rows of the draft included.
    """
    with atomic():
        draft = drafts_of(by).select_for_update().first()
        if draft is None:
            return save_draft(title, why, lines=lines, by=by)
        beside, count = list(rows_beside(draft, lines)), draft.lines.count()

        def row_of(place: int) -> int:
            is_new = place >= len(beside)
            return count + place + 1 - len(beside) if is_new else draft.lines.filter(pk__lte=beside[place].pk).count()

        before = [line_of(row) for row in beside]
        faults = [f for f in check_lines([*before, *lines], by=by, row_of=row_of) if f.line >= len(before)]
        if faults:
            raise DraftRefused([replace(fault, line=fault.line - len(before)) for fault in faults])
        ChangeLine.objects.bulk_create(rows_for(draft, lines), batch_size=2000)
    return draft


def remove_line(change_set: ChangeSet, line_id: int, *, by: Person) -> None:
    """Take a row out of a draft. Raises ApprovalRefused for somebody else's or a proposed one."""
    with atomic():
        locked = _own_draft(change_set, by)
        locked.lines.filter(pk=line_id).delete()


def name_draft(change_set: ChangeSet, title: str, why: str, *, by: Person) -> None:
    """Give a draft its title and its one reason. Raises DraftRefused without either, ApprovalRefused as
    `remove_line`."""
    faults = [Fault(0, name, "say why" if name == "why" else "give it a title")
              for name, text in (("title", title), ("why", why)) if not text.strip()]  # fmt: skip
    if faults:
        raise DraftRefused(faults)
    with atomic():
        locked = _own_draft(change_set, by)
        if (locked.title, locked.why) != (title[:200], why):
            locked.title, locked.why = title[:200], why
            save_with_reason(locked, why=why, by=by)
    change_set.refresh_from_db()


def begin_anew(change_set: ChangeSet, *, by: Person) -> ChangeSet:
    """A new draft with the rows of one that is void, withdrawn or rejected, on the rules as they are known now.

    Raises ApprovalRefused while it isn't decided, DraftRefused with what doesn't fit any more.
    """
    if change_set.state not in ENDED:
        raise ApprovalRefused("decided", f"It is {change_set.state}; only what was ended is begun anew.")
    return save_draft(change_set.title, change_set.why, lines=_on_rules_of_now(lines_of(change_set)), by=by,
                      case_id=change_set.case_id)  # fmt: skip


def _on_rules_of_now(lines: list[Line]) -> list[Line]:
    """The same wishes, naming the rules that are known now."""
    found = zip(lines, lines_for(lines), strict=True)
    return [replace(line, rule_id=now.rule_id) if line.act == RETIRE else now for line, now in found]


def _own_draft(change_set: ChangeSet, by: Person) -> ChangeSet:
    locked = ChangeSet.objects.select_for_update().get(pk=change_set.pk)
    if locked.state != State.DRAFT:
        raise ApprovalRefused("decided", f"It was {locked.state} already.")
    if locked.proposed_by_id != by.pk:
        raise ApprovalRefused("not_own", "Only its author changes a draft.")
    return locked
