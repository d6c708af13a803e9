"""The rows of a sheet, cell by cell: what each cell means, what is wrong with it. What a row wishes is `imports`'."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rapidfuzz import fuzz, process

from connectors.models import Connection
from mappings import columns
from mappings.columns import HEADINGS, Header
from mappings.conditions import tidy
from mappings.kinds import BY_CODE, Kind
from mappings.tables import ROWS_MAX, Table
from mappings.workbooks import Formula, Unreadable
from q2c.core.models import LegalEntity

FAULTS_SHOWN = 500
TOLD_EVERY = 2000  # rows between two words about the progress
EVERYWHERE = frozenset({"", "all", "any", "all entities", "every entity", "every system", "*"})
Tell = Callable[[str, int, int], None]  # what is being done, rows done, rows in all (0: not known yet)
_DATES = (("effective_from", "start"), ("effective_to", "end"), ("change_from", "changes"))
_KINDS = {columns.plain_heading(name): kind for kind in BY_CODE.values() for name in (kind.title, kind.code)}


@dataclass(frozen=True)
class RowFault:
    """What is wrong with one cell (column "": with the row; row 0: with a heading), and what would be right."""

    row: int
    column: str
    cell: str
    text: str


@dataclass
class SheetRow:
    """One row as it was read. `number` is the spreadsheet's own."""

    number: int
    cells: dict[str, str]
    kind: Kind | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    changes: dt.date | None = None
    place: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    is_fallback: bool = False
    is_wrong: bool = False

    @property
    def key(self) -> str:
        """The key, without the spaces around it."""
        return self.cells.get("key", "").strip()

    def text(self, name: str) -> str:
        """A cell's text, without the spaces around it; empty where there's no such column."""
        return self.cells.get(name, "").strip()


class RowReader:
    """Reads the rows of one table. `kind` holds for rows that name none."""

    def __init__(self, kind: Kind | None) -> None:
        self.kind = kind
        self.faults: list[RowFault] = []
        entities = list(LegalEntity.objects.values_list("code", "name"))
        systems = list(Connection.objects.values_list("code", "name"))
        self._known = {
            "legal_entity": {word.casefold(): code for code, name in entities for word in (name, code)},
            "connection": {word.casefold(): code for code, name in systems for word in (name, code)},
        }

    def read(self, table: Table, *, tell: Tell) -> list[SheetRow]:
        """Every row, each with its faults told. Raises Unreadable for missing headings and for too many rows."""
        header = columns.read_header(table.header, self.kind)
        self._check_header(header)
        rows: list[SheetRow] = []
        for number, cells in table.rows:
            if len(rows) == ROWS_MAX:
                raise Unreadable(f"The sheet has more than {ROWS_MAX:,} rows. Split it.")
            values = {name: cells[place] if place < len(cells) else "" for name, place in header.places.items()}
            if header.key_places:
                values["key"] = "|".join(cells[p].strip() if p < len(cells) else "" for p in header.key_places)
            row = SheetRow(number, values)
            self._read_cells(row)
            rows.append(row)
            if len(rows) % TOLD_EVERY == 0:
                tell("read", len(rows), 0)
        if not rows:
            raise Unreadable("There are headings and no row below them.")
        return rows

    def fault(self, row: int, column: str, cell: object, text: str) -> None:
        """Name a fault."""
        self.faults.append(RowFault(row, HEADINGS.get(column, column), str(cell)[:120], text))

    def _check_header(self, header: Header) -> None:
        for heading, text in header.faults:
            self.fault(0, heading, heading, text)
        lacking = [] if "key" in header.places or header.key_places else ["key"]
        lacking += ["value"] if not {"value", "act"} & set(header.places) else []
        lacking += ["kind"] if self.kind is None and "kind" not in header.places else []
        if lacking:
            names = " and ".join(f"“{HEADINGS[name]}”" for name in lacking)
            raise Unreadable(f"The headings lack {names}. They are: {', '.join(HEADINGS.values())}.")

    def _read_cells(self, row: SheetRow) -> None:
        before = len(self.faults)
        is_ours = bool(row.text("rule"))  # its texts were written by an export: `imports` looks at what was changed
        for name, cell in row.cells.items():
            if isinstance(cell, Formula):
                self.fault(row.number, name, f"={cell}", "is a formula. Copy the cells and paste them as values.")
            elif cell and not is_ours and name != "label" and (wrong := columns.why_not_text(cell)):
                self.fault(row.number, name, cell, wrong)
        if len(self.faults) == before:
            self._read_kind(row)
            self._read_dates(row)
            self._read_place(row)
            self._read_rest(row)
        row.is_wrong = len(self.faults) > before

    def _read_kind(self, row: SheetRow) -> None:
        text = row.text("kind")
        row.kind = _KINDS.get(columns.plain_heading(text)) if text else self.kind
        if row.kind is None:
            near = process.extractOne(text, list(BY_CODE), scorer=fuzz.ratio, score_cutoff=60)
            hint = f"Did you mean {near[0]}?" if near else f"Kinds are {', '.join(BY_CODE)}."
            self.fault(row.number, "kind", text, f"is no kind of mapping. {hint}")

    def _read_dates(self, row: SheetRow) -> None:
        for name, into in _DATES:
            if name in row.cells:
                try:
                    setattr(row, into, columns.read_date(row.cells[name]))
                except ValueError as error:
                    self.fault(row.number, name, row.cells[name], str(error))

    def _read_place(self, row: SheetRow) -> None:
        for name, known in self._known.items():
            text = row.text(name)
            if text.casefold() in EVERYWHERE:
                row.place[name] = ""
            elif text.casefold() in known:
                row.place[name] = known[text.casefold()]
            else:
                near = process.extractOne(text.casefold(), list(known), scorer=fuzz.ratio, score_cutoff=50)
                codes = ", ".join(sorted(set(known.values())))
                hint = f"Did you mean {known[near[0]]}?" if near else f"Write one of {codes}."
                self.fault(row.number, name, text, f"isn’t known here. {hint}")
        currency = row.place["currency"] = row.text("currency").upper()
        if currency and not (len(currency) == 3 and currency.isalpha()):
            self.fault(row.number, "currency", currency, "is no currency. Write its three letters: EUR.")
        for name in ("region", "product_line"):
            row.place[name] = row.text(name)

    def _read_rest(self, row: SheetRow) -> None:
        text = row.text("is_fallback").casefold()
        row.is_fallback = text in columns.YES
        if text not in columns.YES | columns.NO:
            self.fault(row.number, "is_fallback", text, "is neither yes nor no.")
        try:
            row.conditions = columns.read_conditions(row.text("conditions"))
            if not row.text("rule"):  # those of a rule stay as it has them
                row.conditions = tidy(row.conditions)
        except ValueError as error:
            self.fault(row.number, "conditions", row.text("conditions"), str(error))
        if not row.key:
            self.fault(row.number, "key", "", "is empty. Write the code that is translated.")
