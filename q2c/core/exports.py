"""Whatever people take away says what it is: parameters, as of when, rows, totals, query version, hash and person.

One way for every list, export and report: a CSV carries it in its last rows, a workbook on a sheet of its own, a screen
below its heading, and the audit trail keeps it. Cells are written so that no spreadsheet runs them.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import hmac
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any

from django.conf import settings
from django.utils import timezone
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font, PatternFill, Protection

from q2c.core import audit
from q2c.core.models import Person

ABOUT_SHEET = "About"
FORMS = ("csv", "xlsx")
# What spreadsheets take for the beginning of a formula, also in the width of East Asian signs. A spreadsheet whose list
# separator is another than the file's (a German one reads ";") begins cells within ours, and takes quotes there away.
_ACTIVE = "=+\\-@\t\r\n'＝＋－＠"
_BEGINS = r"(?:^|(?<=[;\t\r\n]))"
_FORMULA = re.compile(f'{_BEGINS}(?="*[{_ACTIVE}])')
_GUARD = re.compile(f"{_BEGINS}'(?=\"*[{_ACTIVE}])")
_WORDS = ("Report", "Parameters", "As of", "Rows", "Totals", "Query version", "Hash", "Taken by")
ABOUT_MARKS = frozenset(f"# {word}" for word in _WORDS)  # what begins the last rows of a CSV
UNLOCKED, GREY = Protection(locked=False), PatternFill("solid", fgColor="ECEFF2")
_BOLD = Font(bold=True)
_PURPOSE = b"q2c sheet "
Cell = str | int | Decimal


@dataclass(frozen=True)
class Query:
    """What asks for the rows: its code, and a version that changes with its text."""

    code: str
    title: str
    definition: str = ""  # its SQL, or whatever else decides which rows it gives

    @property
    def version(self) -> str:
        """For example `flash-3f2a91c0`: another text is another version."""
        return f"{self.code}-{hashlib.sha256(self.definition.encode()).hexdigest()[:8]}"


@dataclass
class About:
    """What a list is about. Rows and hash are those of the cells that were written, totals what the rows add up to."""

    query: Query
    asked: Mapping[str, str]
    by: Person
    totals: MutableMapping[str, Decimal] = field(default_factory=dict)  # by what they are of: EUR, EUR posted
    as_of: dt.datetime = field(default_factory=timezone.now)
    rows: int = 0
    _hash: Any = field(default_factory=hashlib.sha256, repr=False)

    def take(self, cells: Sequence[Cell]) -> None:
        """One more row: it's counted and hashed."""
        self.rows += 1
        self._hash.update("\x1f".join(map(str, cells)).encode() + b"\n")

    def add(self, of: str, amount: Decimal | None) -> None:
        """Add an amount to a total."""
        self.totals[of] = self.totals.get(of, Decimal(0)) + (amount or Decimal(0))

    @property
    def hash(self) -> str:
        """SHA-256 of the rows so far: the cells with U+001F between them, a line feed after each row."""
        return str(self._hash.hexdigest())

    @property
    def lines(self) -> list[tuple[str, str]]:
        """As it's shown: eight names, each with its value."""
        totals = "; ".join(f"{of} {plain_amount(amount)}" for of, amount in sorted(self.totals.items()))
        asked = "; ".join(f"{name}: {value}" for name, value in self.asked.items())
        values = (
            self.query.title, asked or "none", self.as_of.astimezone(dt.UTC).isoformat(timespec="seconds"),
            str(self.rows), totals or "none", self.query.version, f"sha256:{self.hash}", self.by.get_username(),
        )  # fmt: skip
        return list(zip(_WORDS, values, strict=True))

    def tell(self, form: str, *, subject: str) -> None:
        """Write into the audit trail that it was taken."""
        facts = {
            "rows": self.rows, "filters": dict(self.asked), "hash": self.hash, "query": self.query.version,
            "as_of": self.as_of.isoformat(), "totals": {of: str(amount) for of, amount in self.totals.items()},
        }  # fmt: skip
        audit.record(self.by, "export", subject, form, data=facts)


def write_csv(about: About, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, subject: str) -> IO[bytes]:
    """The rows as CSV (UTF-8 with its mark, which spreadsheets need) in a file on disk; the audit trail says so. Its
    first row is the headings, its last ones say what it is."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    text = io.TextIOWrapper(file, "utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    for cells in rows:
        written = [harmless(cell) if isinstance(cell, str) else cell for cell in cells]
        about.take(written)
        writer.writerow(written)
    writer.writerows((f"# {name}", harmless(value)) for name, value in about.lines)
    text.flush()
    text.detach()
    about.tell("csv", subject=subject)
    file.seek(0)
    return file


def write_workbook(
    about: About, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, subject: str, name: str,
    finish: Callable[[Workbook, Any], None] | None = None, is_open: Callable[[int], bool] | None = None,
    widths: Sequence[int] = (), frozen: str = "A2",
) -> IO[bytes]:  # fmt: skip
    """The rows as a workbook in a file on disk; the audit trail says so. With `is_open` (of a column's place) the other
    columns are locked; `finish` may add drop-downs, sheets and rows of its own before it's stored."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet(name)
    sheet.freeze_panes = frozen
    if is_open is not None:
        sheet.protection.sheet = True
        sheet.protection.formatColumns = sheet.protection.sort = sheet.protection.autoFilter = False
    for place in range(len(columns)):
        sheet.column_dimensions[letter(place)].width = widths[place] if place < len(widths) else 14
    sheet.append([head_cell(sheet, heading) for heading in columns])
    for cells in rows:
        about.take([printable(cell) if isinstance(cell, str) else cell for cell in cells])
        sheet.append(
            [write_cell(sheet, cell, is_open=is_open is None or is_open(i), is_grey=is_open is not None)
             for i, cell in enumerate(cells)]
        )  # fmt: skip
    if finish is not None:
        finish(book, sheet)
    told = book.create_sheet(ABOUT_SHEET)
    told.column_dimensions["A"].width, told.column_dimensions["B"].width = 16, 90
    for line, value in about.lines:
        told.append([head_cell(told, line), text_cell(told, value)])
    file = tempfile.TemporaryFile()  # noqa: SIM115
    book.save(file)
    about.tell("xlsx", subject=subject)
    file.seek(0)
    return file


def seal(purpose: str, text: str, key: bytes | None = None) -> str:
    """The signature over a text that goes out and comes back, by a key of this purpose alone."""
    own = hashlib.sha256(_PURPOSE + purpose.encode() + b" " + (key or settings.VAULT_KEYS[0])).digest()
    return hmac.new(own, text.encode(), hashlib.sha256).hexdigest()


def is_sealed(purpose: str, text: str, signature: str) -> bool:
    """Whether the signature is ours, by any of the keys that hold."""
    hopes = (seal(purpose, text, key) for key in settings.VAULT_KEYS)
    return any(hmac.compare_digest(hope, signature) for hope in hopes)


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs: what would begin a formula, there or where another separator would begin a cell,
    is written after an apostrophe."""
    return _FORMULA.sub("'", text)


def unguarded(text: str) -> str:
    """The text of a cell that `harmless` wrote; any other stays as it is."""
    return _GUARD.sub("", text)


def printable(text: str) -> str:
    """The text as a workbook can hold it: control characters, which XML forbids, are written as U+FFFD."""
    return str(ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text))


def plain_amount(amount: Decimal) -> str:
    """An amount with at least two decimals, without the zeros that columns add."""
    whole, _, rest = f"{amount:.6f}".rstrip("0").partition(".")
    return f"{whole}.{rest.ljust(2, '0')}"


def text_cell(sheet: Any, text: str) -> Any:
    """A cell of text, whatever it looks like: nothing in it is run, no zero is lost."""
    cell = WriteOnlyCell(sheet, value="")
    cell.value = printable(text) or None
    if text:
        cell.data_type = "s"
    cell.number_format = "@"
    return cell


def write_cell(sheet: Any, value: Cell, *, is_open: bool, is_grey: bool = True) -> Any:
    """A cell of text or of a number, to be written in or locked."""
    if isinstance(value, str):
        cell = text_cell(sheet, value)
    else:
        cell = WriteOnlyCell(sheet, value=value)
        cell.number_format = "#,##0.00" if isinstance(value, Decimal) else "0"
    if is_open and is_grey:
        cell.protection = UNLOCKED
    elif is_grey:
        cell.fill = GREY
    return cell


def head_cell(sheet: Any, text: str) -> Any:
    """A heading."""
    cell = text_cell(sheet, text)
    cell.font = _BOLD
    return cell


def letter(place: int) -> str:
    """The letter of a column by its place: 0 is A, 26 is AA."""
    return letter(place // 26 - 1) + letter(place % 26) if place > 25 else chr(ord("A") + place)
