"""A sheet of rules becomes wishes: every row is checked first, every fault names its row, its column and what is right.

Rows that were exported carry their rule and version: what others changed meanwhile is named and never overwritten. No
query per row.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mappings import columns, conditions, drafts
from mappings.drafts import CHANGE, CREATE, END_OF_TIME, RETIRE, Line
from mappings.kinds import BY_CODE, Kind
from mappings.known import KnownRule, rules_by_id
from mappings.lists import ValueReader
from mappings.models import ChangeSet, MappingRule
from mappings.rows import TOLD_EVERY, RowFault, RowReader, SheetRow, Tell
from mappings.tables import Table
from q2c.core.models import Person

DIFFERENCES_SHOWN = 500
_OWN = ("kind", "key", "connection", "legal_entity", "currency", "region", "product_line", "is_fallback")


@dataclass(frozen=True)
class Difference:
    """What one row does: create, change or retire, and from what to what."""

    row: int
    act: str
    kind: str
    key: str
    place: str
    old: str
    new: str
    effective_from: dt.date


@dataclass
class Report:
    """What was found. `lines` are the right rows that change something, `rows` their numbers in the sheet."""

    total: int = 0
    same: int = 0
    lines: list[Line] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    faults: list[RowFault] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def wrong_rows(self) -> int:
        """How many rows have a fault. The heading is row 0 here, and no row."""
        return len({fault.row for fault in self.faults if fault.row})

    @property
    def acts(self) -> Counter[str]:
        """How many rows create, change and retire."""
        return Counter(str(line.act) for line in self.lines)


def no_word(_stage: str, _done: int, _total: int) -> None:
    """For who needn't be told how far it is."""


def check_table(
    table: Table,
    *,
    by: Person,
    default_from: dt.date,
    kind: str = "",
    sealed: Mapping[int, int] | None = None,
    tell: Tell = no_word,
) -> Report:
    """Read and check a whole table. `default_from` is the day from which rows hold that say none; `kind` holds for rows
    without one; `sealed` are the rules (with their versions) that a signed sheet was given.

    Raises Unreadable where there are no rows to speak of, and whatever `tell` raises to end it.
    """
    return _Check(by, default_from, BY_CODE.get(kind), sealed, tell).run(table)


class _Check:
    def __init__(
        self, by: Person, default_from: dt.date, kind: Kind | None, sealed: Mapping[int, int] | None, tell: Tell
    ) -> None:
        self.by, self.default_from, self.sealed, self.tell = by, default_from, sealed, tell
        self.reader = RowReader(kind)
        self.fault = self.reader.fault
        self.report = Report()
        self.values = ValueReader()
        self.zeros: dict[str, dict[str, str]] = {}

    def run(self, table: Table) -> Report:
        rows = self.reader.read(table, tell=self.tell)
        self.report.notes = list(table.notes)
        self.report.total = len(rows)
        self._resolve([row for row in rows if not row.is_wrong])
        self._check_lines()
        self.report.faults = sorted(self.reader.faults, key=lambda fault: fault.row)
        return self.report

    def _resolve(self, rows: list[SheetRow]) -> None:
        named = self._named_rules(rows)
        fresh = [row for row in rows if row.kind and not row.text("rule")]
        known = drafts.rules_by_identity(
            (row.kind.code, row.key, row.place["legal_entity"]) for row in fresh if row.kind
        )
        self.zeros = _keys_with_zeros({row.kind.code for row in fresh if row.kind})
        seen: dict[tuple[Any, ...], int] = {}
        for done, row in enumerate(rows, 1):
            if done % TOLD_EVERY == 0:
                self.tell("checked", done, len(rows))
            line, rule = self._wish(row), named.get(row.number)
            if row.text("rule"):
                if rule is None:
                    continue
            else:
                rule = drafts.in_force(known.get(drafts.identity(line), ()), line.effective_from)
                if rule is None and self._lost_zeros(row):
                    continue
            twin = seen.setdefault((*drafts.identity(line), line.effective_from), row.number)
            if twin != row.number:
                self.fault(row.number, "key", line.key, f"says the same as row {twin}. Leave one of them out.")
            else:
                self._take(row, line, rule)

    def _wish(self, row: SheetRow) -> Line:
        assert row.kind is not None
        start = row.start or row.changes or self.default_from
        return Line(
            kind=row.kind.code, key=row.key, effective_from=start, effective_to=row.end, conditions=row.conditions,
            is_fallback=row.is_fallback, **row.place,
        )  # fmt: skip

    def _take(self, row: SheetRow, line: Line, rule: KnownRule | None) -> None:
        """The line of one row, or nothing where it says what holds already."""
        act = row.text("act").casefold()
        if act in columns.RETIRE_WORDS:
            if rule is None:
                self.fault(row.number, "act", act, f"no rule for {line.key} is in force on {line.effective_from}.")
            else:
                self._add(row, drafts.retirement_of(rule, row.changes or self.default_from), rule)
            return
        if act not in ("", "create", "change", "new"):
            self.fault(row.number, "act", act, "is none of create, change and retire.")
            return
        assert row.kind is not None
        text = row.text("value")
        if rule is not None and text == rule.value:
            line = replace(line, value=rule.value, label=rule.value_label)
        else:
            if rule is not None and (wrong := columns.why_not_text(text)):
                self.fault(row.number, "value", text, wrong)
                return
            try:
                where = {"connection": line.connection, "legal_entity": line.legal_entity, "key": line.key}
                value, label = self.values.read(row.kind, text, **where)
            except ValueError as error:
                self.fault(row.number, "value", text, str(error))
                return
            line = replace(line, value=value, label=label[:300])
        if rule is None:
            self._add(row, line, None)
        elif row.text("rule"):
            self._take_back(row, line, rule)
        elif line.value == rule.value and line.effective_to in (None, rule.effective_to):
            self.report.same += 1
        elif line.value == rule.value and line.effective_to and line.effective_to < (rule.effective_to or END_OF_TIME):
            self._add(row, drafts.retirement_of(rule, line.effective_to), rule)
        else:
            end = line.effective_to or rule.effective_to  # a row that says no end speaks of the value alone
            self._add(row, replace(line, act=CHANGE, rule_id=rule.pk, effective_to=end), rule)

    def _take_back(self, row: SheetRow, line: Line, rule: KnownRule) -> None:
        """A row that was exported: its value or its end may have changed, never its key, scope and beginning."""
        if fault := _moved(row, line, rule):
            self.fault(row.number, *fault)
            return
        has_other_end = "effective_to" in row.cells and row.end != rule.effective_to
        if not has_other_end:
            if line.value == rule.value:
                self.report.same += 1
                return
            start = max(row.changes or self.default_from, rule.effective_from)
            line = replace(line, act=CHANGE, rule_id=rule.pk, effective_from=start, effective_to=rule.effective_to)
        elif line.value != rule.value:
            said = "changes together with what it becomes. Do one of them first: an end is a retirement."
            self.fault(row.number, "effective_to", row.text("effective_to"), said)
            return
        elif row.end is not None and (rule.effective_to is None or row.end < rule.effective_to):
            line = drafts.retirement_of(rule, row.end)
        else:
            line = replace(line, act=CHANGE, rule_id=rule.pk, effective_from=rule.effective_from)
        self._add(row, line, rule)

    def _add(self, row: SheetRow, line: Line, rule: KnownRule | None) -> None:
        self.report.lines.append(line)
        self.report.rows.append(row.number)
        if len(self.report.differences) < DIFFERENCES_SHOWN:
            self.report.differences.append(difference_of(row.number, line, rule))

    def _named_rules(self, rows: list[SheetRow]) -> dict[int, KnownRule]:
        """The rules that exported rows name, by row; what can't be theirs any more is a fault."""
        asked: dict[int, tuple[str, int, int]] = {}
        for row in rows:
            text = row.text("rule")
            pk, _, version = text.partition(".")
            if pk.isdecimal() and len(pk) < 18 and version.isdecimal() and len(version) < 9:
                asked[row.number] = (text, int(pk), int(version))
            elif text:
                self.fault(row.number, "rule", text, "is no rule’s number. Leave it as it was exported, or empty.")
        rules = rules_by_id(pk for _, pk, _ in asked.values())
        ended = {rule.known_to for rule in rules.values() if rule.known_to is not None}
        sets = {s.number: s for s in ChangeSet.objects.filter(number__in=ended).select_related("proposed_by")}
        found: dict[int, KnownRule] = {}
        first: dict[int, int] = {}
        for place, (text, asked_for, given) in asked.items():
            rule = rules.get(asked_for)
            is_given = self.sealed is None or self.sealed.get(asked_for) == given
            if rule is None or rule.version != given or not is_given:
                said = "isn’t among the rules that this sheet was given. Leave it empty for a new rule."
                self.fault(place, "rule", text, said)
            elif rule.known_to is not None:
                self.fault(place, "rule", text, _changed_meanwhile(sets.get(rule.known_to)))
            elif first.setdefault(asked_for, place) != place:
                self.fault(place, "rule", text, f"stands in row {first[asked_for]} already.")
            else:
                found[place] = rule
        return found

    def _lost_zeros(self, row: SheetRow) -> bool:
        assert row.kind is not None
        full = columns.lost_zeros(row.key, self.zeros.get(row.kind.code, {}))
        if full:
            said = f"has lost its leading zeros in the spreadsheet. Write {full}, in a column of text."
            self.fault(row.number, "key", row.key, said)
        return bool(full)

    def _check_lines(self) -> None:
        """What a draft would refuse, named by the sheet's own rows; the right rows stay."""
        report = self.report
        parts = iter(range(1, 5))
        found = drafts.check_lines(
            report.lines,
            by=self.by,
            tell=lambda: self.tell("compared", next(parts), 4),
            row_of=lambda place: report.rows[place],
        )
        for fault in found:
            cell = getattr(report.lines[fault.line], fault.field, "") if fault.field else report.lines[fault.line].key
            self.fault(report.rows[fault.line], fault.field, cell or "", f"{fault.text.rstrip('.')}.")
        wrong = {fault.line for fault in found}
        if wrong:
            numbers = {report.rows[place] for place in wrong}
            kept = [place for place in range(len(report.lines)) if place not in wrong]
            report.lines = [report.lines[place] for place in kept]
            report.rows = [report.rows[place] for place in kept]
            report.differences = [d for d in report.differences if d.row not in numbers]


def difference_of(row: int, line: Line, rule: KnownRule | None) -> Difference:
    """What a line does, in words for a table."""
    place = " ".join(value for value in (*line.dimensions, conditions.say(line.conditions)) if value)
    old = f"{rule.value} {rule.value_label}".strip() if rule else ""
    new = "" if line.act == RETIRE else f"{line.value} {line.label}".strip()
    act = str(line.act) if rule else str(CREATE)
    return Difference(row, act, line.kind, line.key, place, old, new, line.effective_from)


def _moved(row: SheetRow, line: Line, rule: KnownRule) -> tuple[str, str, str] | None:
    """Column, cell and fault of an exported row that isn't its rule's any more."""
    own = drafts.retirement_of(rule, rule.effective_from)
    for name in _OWN:
        if getattr(line, name) != getattr(own, name):
            was = getattr(own, name) or "empty"
            said = f"was {was}. A rule keeps its key and scope: retire it, and add a row without a rule number."
            return name, str(getattr(line, name)), said
    said = "can’t change. Retire the rule, and add a row without a rule number."
    if drafts.identity(line) != drafts.identity(own):
        return "conditions", row.text("conditions"), said
    if row.start and row.start != rule.effective_from:
        return "effective_from", row.text("effective_from"), said
    return None


def _keys_with_zeros(kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    rows = MappingRule.objects.filter(kind__in=list(kinds), known_to__isnull=True, key__startswith="0")
    keys: dict[str, list[str]] = {}
    for kind, key in rows.values_list("kind", "key").distinct():
        keys.setdefault(kind, []).append(key)
    return {kind: columns.without_zeros(found) for kind, found in keys.items()}


def _changed_meanwhile(change_set: ChangeSet | None) -> str:
    if change_set is None or change_set.approved_at is None:
        return "was changed meanwhile. Nothing is overwritten: export it again."
    return (
        f"was changed meanwhile by {change_set.proposed_by} on {change_set.approved_at:%-d %b %Y} "
        f"(CS-{change_set.pk}, {change_set.title}). Nothing is overwritten: export it again."
    )
