"""Turns what somebody sends (CSV, a spreadsheet, pasted cells) into rows of text, and says how it was read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from charset_normalizer import from_bytes

from mappings import workbooks
from mappings.columns import looks_like_header
from mappings.kinds import Kind
from mappings.workbooks import Unreadable
from q2c.core.exports import ABOUT_MARKS, ABOUT_SHEET, unguarded

IsHeader = Callable[[list[str]], bool]

BYTES_MAX = 20_000_000
ROWS_MAX = 100_000
CELL_MAX = 2000
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"), (b"\xff\xfe", "utf-16", "UTF-16"), (b"\xfe\xff", "utf-16", "UTF-16"))


@dataclass
class Table:
    """The rows of a sheet, read as they are asked for. `notes` say how it was read, in sentences."""

    rows: Iterator[tuple[int, list[str]]]  # the number that the spreadsheet shows, the cells
    header: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seal: list[list[str]] = field(default_factory=list)  # the hidden sheet of one of our own exports


def read_table(content: bytes, kind: Kind | None, *, seal_sheet: str = "", is_header: IsHeader | None = None) -> Table:
    """The table of a file's bytes, whatever its name says; `is_header` knows the first row of a sheet that isn't of
    rules. Raises Unreadable with what to do."""
    if len(content) > BYTES_MAX:
        raise Unreadable(
            f"The file has {len(content) / 1_000_000:,.0f} MB; up to {BYTES_MAX // 1_000_000} MB are read. Split it."
        )
    if content.startswith(_OLD_EXCEL):
        raise Unreadable("This is an old .xls file, or one with a password. Save it as .xlsx without a password.")
    if content.startswith(_ZIP):
        return _read_workbook(content, kind, seal_sheet, is_header)
    text, notes = decode(content)
    return read_text(text, kind, notes, is_header=is_header)


def read_text(text: str, kind: Kind | None, notes: Iterable[str] = (), *, is_header: IsHeader | None = None) -> Table:
    """The table of text: pasted cells, or a CSV file. Raises Unreadable where there's none."""
    if not text.strip():
        raise Unreadable("There is nothing in it. Copy the cells with their headings, or choose another file.")
    separator = separator_of(text)
    notes = [*notes, f"Read with {SEPARATORS[separator]} between its cells."]
    csv.field_size_limit(1_000_000)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return _with_header(_numbered(lines), kind, notes, is_header)


def decode(content: bytes) -> tuple[str, list[str]]:
    """The text of a file and a sentence about its encoding where that isn't plain UTF-8. Raises Unreadable."""
    for mark, encoding, said in _BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), [f"Read as {said}; the mark at its beginning was left out."]
            except UnicodeDecodeError as error:
                raise Unreadable(f"The file says it is {said}, and isn’t. Save it as CSV UTF-8.") from error
    if b"\x00" in content[:4096]:
        raise Unreadable("The file is neither text nor a spreadsheet. Save it as .xlsx or as CSV UTF-8.")
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = from_bytes(
            content[:200_000], cp_isolation=["cp1252", "cp1250", "cp1251", "shift_jis", "gb18030"]
        ).best()
        if found is None:
            raise Unreadable(
                f"Row {line} holds signs of an encoding that we don’t know. Save it as CSV UTF-8."
            ) from error
        note = (
            f"The file isn’t UTF-8 (row {line}); it was read as {found.encoding}. Look at its names: if letters are "
            "wrong, save it as CSV UTF-8."
        )
        return content.decode(found.encoding, errors="replace"), [note]


def separator_of(text: str) -> str:
    """What stands between the cells: the sign that the first lines have most often, outside quotes."""
    sample = "\n".join(text.splitlines()[:20])
    plain = "".join(sample.split('"')[::2])
    counts = {sign: plain.count(sign) for sign in SEPARATORS}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ","


def _numbered(lines: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    while True:
        number += 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(
                f"Row {number} can’t be read ({error}). A quote is open, or a cell is far too long."
            ) from error
        if any(cell.strip() for cell in cells) and cells[0] not in ABOUT_MARKS:
            yield number, [unguarded(cell[:CELL_MAX].strip(" \u00a0")) for cell in cells]


def _read_workbook(content: bytes, kind: Kind | None, seal_sheet: str, is_header: IsHeader | None) -> Table:
    package = workbooks.open_workbook(io.BytesIO(content))
    sheets = workbooks.sheet_parts(package)
    shown = [(name, part) for name, part, is_shown in sheets if is_shown and name != ABOUT_SHEET]
    if not shown:
        raise Unreadable("The spreadsheet has no sheet that is shown.")
    name, part = shown[0]
    notes = [f"Read the sheet “{name}”."]
    if len(shown) > 1:
        notes.append(f"Its {len(shown) - 1} other sheets weren’t read.")
    rows = (
        (number, cells)
        for number, cells in workbooks.read_sheet(package, part)
        if any(cell.strip() or isinstance(cell, workbooks.Formula) for cell in cells)
    )
    table = _with_header(rows, kind, notes, is_header)
    hidden = next((part for name, part, is_shown in sheets if name == seal_sheet and not is_shown), "")
    if hidden:
        table.seal = [cells for _, cells in workbooks.read_sheet(package, hidden)]
    return table


def _with_header(
    rows: Iterator[tuple[int, list[str]]], kind: Kind | None, notes: list[str], is_header: IsHeader | None
) -> Table:
    """The first row is headings, or else the rows are a key and what it becomes, in this order."""
    first = next(rows, None)
    if first is None:
        raise Unreadable("There is nothing in it. Copy the cells with their headings, or choose another file.")
    if is_header(first[1]) if is_header else looks_like_header(first[1], kind):
        return Table(rows, first[1], notes)
    if is_header is not None:
        raise Unreadable(
            "Its first row isn’t the headings of an export of ours. Export the rows again, and fill that in."
        )
    if kind is not None and _is_plain_pair(first[1]):
        notes.append("It has no headings: the first column was read as the key, the second as what it becomes.")
        return Table(_chained(first, rows), ["key", "value"], notes)
    raise Unreadable(
        "The first row isn’t headings. It needs at least “Key” and “Becomes”; the export has them all. It says: "
        + ", ".join(cell[:40] for cell in first[1][:8] if cell)
        + "."
    )


def _is_plain_pair(cells: list[str]) -> bool:
    return len(cells) == 2 and all(cell.strip() for cell in cells)


def _chained(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def file_bytes(file: IO[bytes]) -> bytes:
    """The bytes of an upload, at most one more than are read: what is longer is refused by its length."""
    return file.read(BYTES_MAX + 1)
