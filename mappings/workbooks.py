"""Reads a spreadsheet (XLSX) as a stream: cells as text, formulas and dates told apart. Pure, and wary of its file.

Read with expat itself: a spreadsheet of 100,000 rows takes seconds where an object per cell takes a minute, and no
entity is ever expanded. ECMA-376 part 1, sections 18.3 (cells), 18.4 (shared strings) and 18.8 (formats).
"""

from __future__ import annotations

import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any
from xml.parsers import expat

UNPACKED_MAX = 400_000_000  # bytes of all parts together
RATIO_MAX = 200  # unpacked to packed; a sheet of text has about 10
PARTS_MAX = 1000
CELLS_MAX = 60  # columns that are looked at
_CHUNK = 1 << 16
_DAY_ZERO = dt.datetime(1899, 12, 30, tzinfo=dt.UTC)
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})  # built in (18.8.30)
_NOT_A_DATE = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
# What a damaged file does to those who read it: a number that is no day, a text that isn't there, bits that flipped.
_DAMAGED = (
    expat.ExpatError, zipfile.BadZipFile, zlib.error, KeyError, IndexError, EOFError, ValueError, OverflowError,
    OSError, NotImplementedError,
)  # fmt: skip
ROW_MAX = 1_048_576  # a spreadsheet has no more
_REF = re.compile(r"([A-Z]{1,3})\d+")
SHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml")


class Unreadable(Exception):
    """The file can't be used; the text says why, and what to do."""


class Formula(str):
    """The text of a cell that holds a formula."""


class Number(str):
    """The text of a cell that holds a number: what stands before it may have been lost."""


def open_workbook(file: IO[bytes]) -> zipfile.ZipFile:
    """The package of a spreadsheet. Raises Unreadable for macros, for what would fill the memory, for another file."""
    try:
        package = zipfile.ZipFile(file)
        parts = package.infolist()
    except _DAMAGED as error:
        raise Unreadable("The file is damaged. Save it again from the spreadsheet as .xlsx.") from error
    names = {part.filename for part in parts}
    unpacked, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if len(parts) > PARTS_MAX or unpacked > UNPACKED_MAX or unpacked > RATIO_MAX * max(packed, 10_000):
        raise Unreadable(
            f"The file unpacks to {unpacked / 1_000_000:,.0f} MB, far more than a sheet of rules. Save only the sheet."
        )
    if any(part.flag_bits & 1 for part in parts):
        raise Unreadable("The file has a password. Save it without one.")
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        raise Unreadable("The file holds macros. Save it as .xlsx, without them.")
    if "xl/workbook.xml" not in names:
        raise Unreadable("The file is no spreadsheet. Save it as .xlsx or .csv.")
    return package


def sheet_parts(package: zipfile.ZipFile) -> list[tuple[str, str, bool]]:
    """The sheets in their order: (name, part, whether it's shown)."""
    targets: dict[str, str] = {}
    sheets: list[tuple[str, str, bool]] = []

    def relation(name: str, facts: dict[str, str]) -> None:
        if name == "Relationship":
            targets[facts.get("Id", "")] = facts.get("Target", "").lstrip("/")

    def sheet(name: str, facts: dict[str, str]) -> None:
        if name == "sheet":
            link = next((value for key, value in facts.items() if key.endswith("id") and key != "sheetId"), "")
            part = targets.get(link, "")
            part = part if part.startswith("xl/") else f"xl/{part}"
            sheets.append((facts.get("name", ""), part, facts.get("state", "visible") == "visible"))

    _parse(package, "xl/_rels/workbook.xml.rels", relation)
    _parse(package, "xl/workbook.xml", sheet)
    return [found for found in sheets if SHEET_PART.fullmatch(found[1])]


def read_sheet(package: zipfile.ZipFile, part: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet as text, each with its number: those between that were never written don't come.

    A number is written as a person wrote it (22423, not 22423.0) and is a `Number`; a date is 2026-10-01; a formula is
    a `Formula`. Raises Unreadable for what isn't XML.
    """
    rows = _Rows(_shared_strings(package), _date_styles(package))
    parser = _parser()
    _listen(parser, rows.start, rows.end, rows.text)
    try:
        with package.open(part) as stream:
            while chunk := stream.read(_CHUNK):
                parser.Parse(chunk, False)
                yield from rows.take()
            parser.Parse(b"", True)
    except _DAMAGED as error:
        raise Unreadable("The sheet can’t be read. Save it again from the spreadsheet as .xlsx.") from error


class _Rows:
    """Collects the cells of a sheet's XML as they come."""

    def __init__(self, strings: list[str], dates: set[int]) -> None:
        self.strings, self.dates = strings, dates
        self.done: list[tuple[int, list[str]]] = []
        self._number = 0
        self._cells: list[str] = []
        self._text: list[str] = []
        self._type = self._style = ""
        self._place = 0
        self._is_formula = self._listens = False

    def take(self) -> list[tuple[int, list[str]]]:
        found, self.done = self.done, []
        return found

    def start(self, name: str, facts: dict[str, str]) -> None:
        if name == "c":
            self._type, self._style = facts.get("t", "n"), facts.get("s", "0")
            self._is_formula, self._text = False, []
            ref = _REF.fullmatch(facts.get("r", ""))
            self._place = _column(ref[1]) if ref else len(self._cells)
        elif name == "row":
            self._cells = []
            self._number = int(facts.get("r", self._number + 1))
            if not 0 < self._number <= ROW_MAX:
                raise ValueError(f"row {self._number}")
        elif name == "f":
            self._is_formula = True
        elif name in ("v", "t"):
            self._listens = True

    def text(self, data: str) -> None:
        if self._listens:
            self._text.append(data)

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._listens = False
        elif name == "c":
            if self._place < CELLS_MAX and (self._text or self._is_formula):
                while len(self._cells) < self._place:
                    self._cells.append("")
                self._cells.append(self._value("".join(self._text)))
        elif name == "row":
            self.done.append((self._number, self._cells))

    def _value(self, text: str) -> str:
        if self._is_formula:
            return Formula(text)
        if self._type == "s":
            return self.strings[int(text)]
        if self._type == "n":
            return _day(text) if int(self._style) in self.dates else Number(_plain_number(text))
        if self._type == "b":
            return "yes" if text == "1" else "no"
        return text


def _plain_number(text: str) -> str:
    number = text.strip()
    if "." in number or "e" in number.lower():
        try:
            whole = float(number)
        except ValueError:
            return number
        if whole.is_integer() and abs(whole) < 1e15:
            return str(int(whole))
    return number


def _day(text: str) -> str:
    moment = _DAY_ZERO + dt.timedelta(days=float(text))
    return moment.date().isoformat()


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _shared_strings(package: zipfile.ZipFile) -> list[str]:
    strings: list[str] = []
    state = {"listens": False, "skips": False}
    parts: list[str] = []

    def start(name: str, _facts: dict[str, str]) -> None:
        if name == "si":
            parts.clear()
        state["skips"] = state["skips"] or name == "rPh"  # how a Japanese text is spoken
        state["listens"] = name == "t" and not state["skips"]

    def end(name: str) -> None:
        if name == "si":
            strings.append("".join(parts))
        elif name == "rPh":
            state["skips"] = False
        state["listens"] = False

    _parse(package, "xl/sharedStrings.xml", start, end, lambda data: parts.append(data) if state["listens"] else None)
    return strings


def _date_styles(package: zipfile.ZipFile) -> set[int]:
    """The numbers of the cell formats that show a date."""
    own: set[int] = set()
    styles: list[int] = []
    inside = {"cellXfs": False}

    def start(name: str, facts: dict[str, str]) -> None:
        if name == "numFmt":
            code = _NOT_A_DATE.sub("", facts.get("formatCode", "")).lower()
            if any(sign in code for sign in ("y", "d")):
                own.add(int(facts.get("numFmtId", "0")))
        elif name == "cellXfs":
            inside["cellXfs"] = True
        elif name == "xf" and inside["cellXfs"]:
            styles.append(int(facts.get("numFmtId", "0")))

    def end(name: str) -> None:
        if name == "cellXfs":
            inside["cellXfs"] = False

    _parse(package, "xl/styles.xml", start, end)
    return {place for place, number in enumerate(styles) if number in own or number in _DATE_FORMATS}


def _parse(package: zipfile.ZipFile, part: str, start: Any, end: Any = None, text: Any = None) -> None:
    """Read a part that may be missing."""
    if part not in package.namelist():
        return
    parser = _parser()
    _listen(parser, start, end, text)
    try:
        with package.open(part) as stream:
            parser.ParseFile(stream)
    except _DAMAGED as error:
        raise Unreadable("The file is damaged. Save it again from the spreadsheet as .xlsx.") from error


def _listen(parser: Any, start: Any, end: Any, text: Any) -> None:
    """Names come without their prefix: some programs write x:row for row."""
    parser.StartElementHandler = lambda name, facts: start(name.rpartition(":")[2], facts)
    if end is not None:
        parser.EndElementHandler = lambda name: end(name.rpartition(":")[2])
    parser.CharacterDataHandler = text


def _parser() -> Any:
    """A parser that knows names without prefixes and refuses a document type: entities can't be declared."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise Unreadable("The file declares entities, which no spreadsheet does. Save it again as .xlsx.")

    parser.StartDoctypeDeclHandler = refuse
    return parser
