"""A sheet that came back: what each row would do, and why not; nothing is changed here.

A row is taken only as it went out: its seal holds, and the document hasn't moved since. What moved is named.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.utils import timezone

from exceptions.duty import Duty
from exceptions.freezing import ASSIGN, NO_DOCUMENT, WAYS
from exceptions.kind_words import EDIT_FIELDS, SEND_BACK, SNOOZE, WAIVE, WAIVE_REASONS
from exceptions.kinds import kind_of
from exceptions.resolutions import OTHER_ENTITY, UNDECIDED, WORK, why_not_solved
from exceptions.resolving import edits, rules, sendbacks
from exceptions.resolving.held import never_waived
from exceptions.resolving.snoozes import DAYS_MAX
from exceptions.sheets.columns import (
    ACTS,
    DATES,
    EDITS,
    LOCKED,
    OF_CASE,
    OPEN,
    SEAL,
    is_header,
    is_whole,
    plain_cell,
    read_act,
    read_header,
)
from exceptions.sheets.documents import Document, known_documents
from exceptions.sheets.exporting import ROWS_MAX
from mappings.columns import read_date, why_not_text
from mappings.tables import read_table
from mappings.workbooks import Formula, Unreadable
from q2c.core import access
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import WHY_NOT

SINGLY_MAX = 200  # rows whose act is done one by one: an edit, a snooze, a case that is sent back
SINGLY = (EDIT_FIELDS, SNOOZE, SEND_BACK)
UNSEEN = "it isn’t a document that you see"
_BY_REASON = {words.casefold(): code for code, words in WAIVE_REASONS.items()} | {code: code for code in WAIVE_REASONS}


@dataclass
class Line:
    """One row that says something: what it wishes, or why that can't be."""

    row: int
    cells: dict[str, str]
    document: Document | None = None
    act: str = ""
    code: str = ""
    until: dt.date | None = None
    to: str = ""
    why: str = ""
    edits: dict[str, str] = field(default_factory=dict)  # field name: its new text
    refused: str = ""

    @property
    def wish(self) -> tuple[str, str, str, str, str]:
        """What is the same for rows that are done together."""
        return (self.act, self.code, str(self.until or ""), self.to, self.why)

    @property
    def words(self) -> str:
        """What would be done, for the screen."""
        if self.act == WAIVE:
            return f"Waive: {WAIVE_REASONS[self.code].lower()}"
        if self.act == SNOOZE:
            return f"Snooze the case until {self.until}"
        if self.act in (ASSIGN, SEND_BACK):
            return f"{ACTS[self.act]} the case to {sendbacks.TO.get(self.to, self.to)}"
        if self.act == EDIT_FIELDS:
            changes = ", ".join(f"{EDITS[name].lower()} “{text}”" for name, text in self.edits.items())
            return f"{ACTS[self.act]}: {changes}"
        return ACTS[self.act]


@dataclass
class Checked:
    """All rows: what was read, what says nothing, what is good and what is refused."""

    total: int = 0
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> list[Line]:
        """What can be done."""
        return [line for line in self.lines if not line.refused]

    @property
    def refused(self) -> list[Line]:
        """What can't, each with its reason."""
        return [line for line in self.lines if line.refused]


def check_sheet(content: bytes, *, by: Person) -> Checked:
    """What a sheet would do, for this person, as of now. Raises Unreadable for what is none of our exports."""
    table = read_table(content, None, is_header=is_header)
    places = read_header(table.header)
    checked = Checked(notes=table.notes)
    rows: list[tuple[int, dict[str, str]]] = []
    for number, cells in table.rows:
        own = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        checked.total += 1
        if checked.total > ROWS_MAX:
            raise Unreadable(f"The sheet has more than {ROWS_MAX:,} rows. Split it.")
        if any(own.get(name, "").strip() for name in OPEN):
            rows.append((number, own))
    found = known_documents(by, [i for _, own in rows if (i := _id_of(own)) is not None])
    seen: dict[int, int] = {}
    for number, own in rows:
        line = Line(number, own)
        checked.lines.append(line)
        line.document = found.get(_id_of(own) or 0)
        line.refused = why_not_same(line)
        if not line.refused and line.document is not None:
            first = seen.setdefault(line.document.id, number)
            line.refused = _read_wish(line) if first == number else f"row {first} is the same document"
    _refuse_disallowed(checked.good, by)
    _refuse_disagreeing(checked.good)
    for extra in [line for line in checked.good if line.act in SINGLY][SINGLY_MAX:]:
        extra.refused = f"a sheet edits, snoozes and sends back up to {SINGLY_MAX} rows: send the rest in another"
    return checked


def why_not_same(line: Line) -> str:
    """Why the row isn't as it went out: altered, or its document moved; empty where neither."""
    locked = {name: line.cells.get(name, "") for name in LOCKED}
    if formula := next((n for n in line.cells if isinstance(line.cells[n], Formula)), ""):
        return f"“{(LOCKED | OPEN).get(formula, 'Seal')}” is a formula. Copy the cells and paste them as values"
    own = line.document
    differing = [] if own is None else [
        (name, plain_cell(name, locked[name]), plain_cell(name, own.locked[name]))
        for name in LOCKED if plain_cell(name, locked[name]) != plain_cell(name, own.locked[name])
    ]  # fmt: skip
    if not is_whole(locked, line.cells.get(SEAL, "")):
        said = "; ".join(f"{LOCKED[n]} says “{was[:60]}”, it is “{now[:60]}”" for n, was, now in differing[:3])
        return f"a locked cell was changed{': ' + said if said else ''}. Export it again"
    if own is None:
        return UNSEEN
    if differing:
        return f"it moved since: {'; '.join(_moved(*what) for what in differing[:3])}. Export it again"
    return ""


def _id_of(cells: Mapping[str, str]) -> int | None:
    number = cells.get("row", "").rpartition("/")[2]
    return int(number) if number.isdecimal() and len(number) < 19 else None


def _moved(name: str, was: str, now: str) -> str:
    if name == "state" and now == "completed":
        return "it has posted"
    if name == "state":
        return WHY_NOT.get(now, f"its case is {now}" if now in ("closed", "snoozed") else f"it is {now} now")
    if name == "owner":
        return f"{now or 'nobody'} has it now" + (f", not {was}" if was else "")
    if name == "hash":
        return "its content changed"
    return f"{LOCKED[name].lower()} was {was or 'empty'}, is {now or 'empty'} now"


def _read_wish(line: Line) -> str:
    """Reads what the row wishes into it. Returns what is wrong with that."""
    cells = {name: line.cells.get(name, "").strip() for name in OPEN}
    for name, text in cells.items():
        if said := why_not_text(text):
            return f"“{OPEN[name]}” {said.rstrip('.')}"
    line.edits = {name: cells[name] for name in EDITS if cells[name]}
    if not cells["act"]:
        return f"“{OPEN['act']}” is empty: say what to do"
    line.act, line.why = read_act(cells["act"]), cells["why"][:1000]
    if not line.act:
        return f"“{cells['act']}” is nothing that can be done. Choose one of: {', '.join(ACTS.values())}"
    if line.edits and line.act != EDIT_FIELDS:
        return f"new words are only for “{ACTS[EDIT_FIELDS]}”"
    if not line.why and line.act != ASSIGN:
        return f"“{OPEN['why']}” is empty: say why"
    if line.act == WAIVE:
        line.code = _BY_REASON.get(cells["code"].casefold(), "")
        return "" if line.code else f"“{cells['code']}” is no reason code. Choose one of: {', '.join(WAIVE_REASONS)}"
    if line.act == SNOOZE:
        return _read_until(line, cells["until"])
    if line.act in (SEND_BACK, ASSIGN):
        line.to = cells["to"]
        if line.act == SEND_BACK and line.to not in sendbacks.TO:
            return f"“{line.to}” is no queue to send it to. Choose one of: {', '.join(sendbacks.TO)}"
        return "" if line.to else f"“{OPEN['to']}” is empty: say who gets it"
    return "" if line.act != EDIT_FIELDS else _read_edits(line)


def _read_edits(line: Line) -> str:
    for name in DATES & line.edits.keys():
        try:
            day = read_date(line.edits[name])
        except ValueError as fault:
            return f"“{line.edits[name]}” {str(fault).rstrip('.')}"
        line.edits[name] = day.isoformat() if day else ""
    return "" if line.edits else "no new words stand in it"


def _read_until(line: Line, text: str) -> str:
    try:
        line.until = read_date(text)
    except ValueError as fault:
        return f"“{text}” {str(fault).rstrip('.')}"
    today = timezone.localdate()
    if line.until is None or not today < line.until <= today + dt.timedelta(days=DAYS_MAX):
        return f"“{OPEN['until']}” has to be after today, and within {DAYS_MAX} days"
    return ""


def _refuse_disallowed(lines: list[Line], by: Person) -> None:
    """Refuses what the kind doesn't allow, and what this person may not do to this document."""
    people = {p.username: p for p in Person.objects.filter(username__in={i.to for i in lines if i.act == ASSIGN})}
    duty = Duty(ids=[person.pk for person in people.values()])
    may = {act: access.reach(by, WAYS[act].permission if act in WAYS else WORK) for act in ACTS}
    given_up = [i.document.transaction_id for i in lines if i.act == WAIVE and i.document is not None]
    kept = never_waived(i for i in given_up if i is not None)
    for line in lines:
        own = line.document
        assert own is not None  # a row without one is refused already
        entity = own.case_entity if line.act in OF_CASE else own.entity
        allowed = may[line.act]
        solves = (EDIT_FIELDS,) if line.act == EDIT_FIELDS else WAYS[line.act].solves if line.act in WAYS else ()
        if allowed.is_nowhere:
            line.refused = f"your role doesn’t allow it: {access.roles_with(_right(line.act))} may"
        elif (entity or line.act not in OF_CASE) and not allowed.covers(entity, own.kind):
            line.refused = OTHER_ENTITY
        elif solves and (said := why_not_solved(kind_of(own.kind), *solves)):
            line.refused = said
        elif line.act == ASSIGN:
            person = people.get(line.to)
            if person is None or not duty.works(person.pk, own.queue, own.case_entity, own.kind):
                line.refused = f"“{line.to}” is nobody who works its queue"
        elif line.act not in OF_CASE:
            line.refused = _why_not_document(line, own)
            if not line.refused and line.act == WAIVE and own.transaction_id is not None:
                line.refused = kept.get(own.transaction_id, "")


def _right(act: str) -> str:
    return WAYS[act].permission if act in WAYS else WORK


def _why_not_document(line: Line, own: Document) -> str:
    if own.transaction_id is None:
        return NO_DOCUMENT
    if own.state != "held":
        return WHY_NOT.get(own.state, f"it is {own.state}")
    if own.is_undecided and line.act in (WAIVE, EDIT_FIELDS):
        return UNDECIDED
    if line.act == EDIT_FIELDS:
        txn = BusinessTransaction.objects.get(pk=own.transaction_id)
        places = {place.path for place in edits.places_for(txn)}
        strange = [EDITS[name] for name in line.edits if name not in places]
        return f"a {txn.fact_type} has no “{strange[0].removesuffix(' becomes')}” to edit" if strange else ""
    return ""


def _refuse_disagreeing(lines: Iterable[Line]) -> None:
    """Rows of one case that wish different things for the case as a whole: none of them is done."""
    by_case: dict[tuple[int, str], list[Line]] = defaultdict(list)
    for line in lines:
        if line.act in OF_CASE and line.document is not None:
            by_case[line.document.case_id, line.act].append(line)
    for (case_id, _), own in by_case.items():
        if len({line.wish for line in own}) > 1:
            rows = " and ".join(str(line.row) for line in own[:2])
            for line in own:
                line.refused = f"rows {rows} wish different things for EX-{case_id}"


def as_report(checked: Checked) -> Mapping[str, object]:
    """What the screen shows, to be kept: each good row, each refused one, and what is done together with whom it
    asks."""
    parts: dict[tuple[str, ...], list[Line]] = {}
    for line in checked.good:
        parts.setdefault(line.wish, []).append(line)
    return {
        "parts": [
            {"says": ACTS[own[0].act] if own[0].act == EDIT_FIELDS else own[0].words, "why": own[0].why,
             "count": len(own), "asks": _asks(own)}
            for own in parts.values()
        ],
        "total": checked.total, "untouched": checked.total - len(checked.lines), "notes": checked.notes,
        "good": [_told(line, line.words) for line in checked.good],
        "refused": [_told(line, line.refused) for line in checked.refused],
    }  # fmt: skip


def _asks(lines: list[Line]) -> str:
    """Whom the rules ask about these rows, in their own words; "" for nobody."""
    act = lines[0].act
    if act not in rules.DEFAULTS:
        return ""
    facts = [
        {"legal_entity": own.entity, "amount": own.amount, "currency": own.currency}
        for line in lines if (own := line.document) is not None
    ]  # fmt: skip
    asked = rules.asked_for(act, facts, sorted({name for line in lines for name in line.edits}))
    return asked.level if asked.approval is not None else ""


def _told(line: Line, says: str) -> dict[str, object]:
    own = line.document
    return {
        "row": line.row, "case": own.case_id if own else None,
        "number": own.number if own else line.cells.get("number", ""), "says": says, "why": line.why,
        "currency": own.currency if own else "", "amount": str(own.amount) if own and own.amount is not None else "",
    }  # fmt: skip
