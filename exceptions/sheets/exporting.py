"""Held documents out as a sheet: a workbook with drop-downs and locked columns, or CSV; sealed and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.db.models import QuerySet
from openpyxl import Workbook
from openpyxl.worksheet.datavalidation import DataValidation

from exceptions.duty import workers_of
from exceptions.kind_words import WAIVE_REASONS
from exceptions.models import ExceptionCase
from exceptions.resolving import sendbacks
from exceptions.sheets.columns import ACTS, HEADINGS, NAMES, OPEN, write_row
from exceptions.sheets.documents import Document, open_documents, read_documents
from q2c.core import exports
from q2c.core.models import Person

ROWS_MAX = 5_000
LISTS_SHEET = "Lists"
QUERY = exports.Query("cases", "Held documents", " ".join(NAMES) + " of the open documents of the filtered cases")
_WIDTHS = {"row": 16, "says": 46, "kind": 26, "number": 20, "hash": 19, "act": 18, "why": 34, "code": 38, "seal": 12}


class TooMany(ValueError):
    """More rows than a sheet takes; the text says what to do."""


def write_sheet(
    form: str, cases: QuerySet[ExceptionCase], *, by: Person, asked: Mapping[str, str]
) -> tuple[IO[bytes], int]:
    """The open documents of these cases (which the person sees) as a file, and how many. Raises TooMany."""
    rows = open_documents(by, cases)
    if rows.order_by("pk")[ROWS_MAX : ROWS_MAX + 1]:
        raise TooMany(f"A sheet takes up to {ROWS_MAX:,} documents. Narrow the filters, or act on them in bulk.")
    found = read_documents(rows)
    about = exports.About(QUERY, asked, by)
    headings, subject = list(HEADINGS.values()), "cases"
    if form == "csv":
        return exports.write_csv(about, headings, _rows(found, about), subject=subject), about.rows
    file = exports.write_workbook(
        about, headings, _rows(found, about), subject=subject, name="Documents", frozen="C2",
        is_open=lambda place: NAMES[place] in OPEN, widths=[_WIDTHS.get(name, 13) for name in NAMES],
        finish=lambda book, sheet: _add_lists(book, sheet, found),
    )  # fmt: skip
    return file, about.rows


def _rows(found: list[Document], about: exports.About) -> Iterator[list[exports.Cell]]:
    for row in found:
        if row.currency:
            about.add(row.currency, row.amount)
        yield write_row(row.locked)


def _add_lists(book: Workbook, sheet: Any, found: list[Document]) -> None:
    """The hidden sheet of what may be chosen, and the drop-downs that look there."""
    lists = book.create_sheet(LISTS_SHEET)
    lists.sheet_state = "veryHidden"
    people = {
        person.username: None
        for queue, entity in sorted({(row.queue, row.case_entity) for row in found})
        for person in workers_of(queue, entity)
    }
    columns = {"act": list(ACTS.values()), "code": list(WAIVE_REASONS), "to": [*sendbacks.TO, *people]}
    for place in range(max(map(len, columns.values()))):
        cells = (column[place] if place < len(column) else "" for column in columns.values())
        lists.append([exports.text_cell(lists, cell) for cell in cells])
    last = len(found) + 1
    for place, (name, column) in enumerate(columns.items()):
        letter, target = exports.letter(place), exports.letter(NAMES.index(name))
        rule = DataValidation(
            type="list", formula1=f"{LISTS_SHEET}!${letter}$1:${letter}${len(column)}", allow_blank=True,
            showErrorMessage=True, error="Choose one of the list.",
        )  # fmt: skip
        rule.add(f"{target}2:{target}{max(2, last)}")
        sheet.data_validations.append(rule)
