"""A file of ids for a back-fill: CSV or a workbook, read as every sheet of the house; what is wrong in it is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mappings.tables import read_table
from mappings.workbooks import Formula, Unreadable

HEADINGS = ("id", "ids", "message", "message id", "number", "document", "document number", "source id")
ID_MAX = 250
ROWS_MAX = 100_000


@dataclass(frozen=True)
class Given:
    """One row: its number in the sheet, its id, and what is wrong with it, or ""."""

    row: int
    id: str
    fault: str = ""


@dataclass(frozen=True)
class Ids:
    """The rows of a file, and sentences about how it was read."""

    rows: tuple[Given, ...]
    notes: tuple[str, ...]


def read_ids(content: bytes) -> Ids:
    """The ids of a file: of the column with a heading such as Id, or of its only column. Raises Unreadable with what to
    do."""
    table = read_table(content, None, is_header=lambda cells: True)
    head = [cell.strip().lower() for cell in table.header]
    named = [place for place, cell in enumerate(head) if cell in HEADINGS]
    filled = [place for place, cell in enumerate(head) if cell]
    notes = list(table.notes)
    first: list[tuple[int, list[str]]] = []
    if named:
        place = named[0]
        if len(named) > 1:
            notes.append(f"Several columns name ids; “{table.header[place]}” was read.")
    elif len(filled) == 1:
        place = filled[0]
        first = [(1, list(table.header))]
        notes.append("It has no heading: its only column was read as ids.")
    else:
        raise Unreadable("None of its columns is headed “Id”. Name the column with the ids so, and upload it again.")
    rows = tuple(_given([*first], table.rows, place))
    if not rows:
        raise Unreadable("There is no id in it.")
    return Ids(rows, tuple(notes))


def _given(first: list[tuple[int, list[str]]], rest: Iterator[tuple[int, list[str]]], place: int) -> Iterator[Given]:
    seen: dict[str, int] = {}
    for count, (number, cells) in enumerate(_chained(first, rest), 1):
        if count > ROWS_MAX:
            raise Unreadable(f"It has more than {ROWS_MAX:,} rows. Split it.")
        cell = cells[place] if place < len(cells) else ""
        text = str(cell).strip()
        if isinstance(cell, Formula):
            yield Given(number, text[:ID_MAX], "It is a formula. Paste its value instead.")
        elif not text:
            yield Given(number, "", "There is no id in this row.")
        elif len(text) > ID_MAX:
            yield Given(number, text[:ID_MAX], f"It is longer than {ID_MAX} signs, so it’s no id.")
        elif text in seen:
            yield Given(number, text, f"It is the same id as in row {seen[text]}.")
        else:
            seen[text] = number
            yield Given(number, text)


def _chained(
    first: list[tuple[int, list[str]]], rest: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    yield from first
    yield from rest
