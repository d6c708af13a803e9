"""The columns of a sheet of rules: their names, what people also call them, and how a cell is read and written. Pure.

The same columns go out and come in, so a sheet that goes round loses nothing. Every fault says what would be right.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from mappings.kinds import Kind
from q2c.core.filters import DATE_FORMATS, FIRST_YEAR, LAST_YEAR

# Column name, heading, and what it is also called. In the order in which a sheet shows them.
COLUMNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("rule", "Rule", ("rule id", "rule version")),
    ("act", "Act", ("action", "change")),
    ("kind", "Kind", ("mapping", "type")),
    ("key", "Key", ("from code", "source", "source key", "our code", "code")),
    ("value", "Becomes", ("value", "target", "maps to", "to code", "target id", "new value", "new")),
    ("label", "Name there", ("name", "description", "value label")),
    ("connection", "System", ("connection code", "erp")),
    ("legal_entity", "Entity", ("legal entity code", "company", "applies to")),
    ("currency", "Currency", ("ccy", "cur")),
    ("region", "Region", ()),
    ("product_line", "Product line", ("line of product",)),
    ("conditions", "Conditions", ("condition",)),
    ("is_fallback", "Fallback", ("only as fallback",)),
    ("effective_from", "From", ("valid from", "start", "start date", "in force from", "date")),
    ("effective_to", "Until", ("to", "valid to", "end", "end date", "valid until")),
    ("change_from", "Changes from", ("change date", "holds from")),
)  # fmt: skip
HEADINGS = {name: heading for name, heading, _ in COLUMNS}
NAMES = tuple(HEADINGS)
NEEDED = ("key", "value")
RETIRE_WORDS = frozenset({"retire", "retired", "end", "delete", "remove"})
YES, NO = frozenset({"yes", "y", "true", "1", "x", "fallback"}), frozenset({"", "no", "n", "false", "0"})

SHORTENED = "is a long number that the spreadsheet has shortened. Format the column as text and write it in full."

_FORMULA = re.compile(r"=\s*(?:[A-Za-z_.]+\s*\(|'?[A-Za-z]+'?!|\$?[A-Z]{1,3}\$?\d|\d|\()")
_POWER = re.compile(r"\d(?:[.,]\d+)?E[+-]?\d+", re.IGNORECASE)
_NUMERIC_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})")
_DAY_ZERO = dt.date(1899, 12, 30)  # of a spreadsheet's day numbers


@dataclass(frozen=True)
class Header:
    """Which column of the sheet holds what; what couldn't be read of it, with what would be right."""

    places: Mapping[str, int]
    faults: tuple[tuple[str, str], ...] = ()  # the heading as it stands, and what is wrong with it
    key_places: tuple[int, ...] = ()  # of a key that stands in a column per field


def plain_heading(text: str) -> str:
    """A heading as it's compared: small letters and single spaces."""
    return " ".join(text.replace("_", " ").replace("-", " ").split()).casefold()


_KNOWN = {
    plain_heading(word): name for name, heading, also in COLUMNS for word in (name, heading, *also)
}  # fmt: skip


def read_header(cells: Sequence[str], kind: Kind | None) -> Header:
    """Which column is which. A heading of the kind's own (SKU) is its key; several key fields may be columns."""
    fields = [plain_heading(field) for field in kind.key_fields] if kind else []
    places: dict[str, int] = {}
    by_field: dict[str, int] = {}
    faults: list[tuple[str, str]] = []
    for place, text in enumerate(cells):
        heading = plain_heading(text)
        if not heading:
            continue
        name = "key" if fields == [heading] else _KNOWN.get(heading)
        if heading in fields and len(fields) > 1:
            by_field[heading] = place
        elif name is None:
            faults.append((text, _unknown_heading(heading, [*_KNOWN, *fields])))
        elif name in places:
            faults.append((text, f"there are two columns “{HEADINGS[name]}”. Leave one of them out."))
        else:
            places[name] = place
    if fields and set(by_field) == set(fields):
        return Header(places, tuple(faults), tuple(by_field[field] for field in fields))
    return Header(places, tuple(faults))


def looks_like_header(cells: Sequence[str], kind: Kind | None) -> bool:
    """Whether a first row is headings and no rule: it names the key and what it becomes."""
    found = read_header(cells, kind)
    return ("key" in found.places or bool(found.key_places)) and ("value" in found.places or "act" in found.places)


def _unknown_heading(heading: str, known: Iterable[str]) -> str:
    near = process.extractOne(heading, list(known), scorer=fuzz.ratio, score_cutoff=70)
    if near:
        return f"there is no column of this name. Did you mean “{HEADINGS.get(_KNOWN.get(near[0], ''), near[0])}”?"
    return "there is no column of this name; it isn’t read. Columns are " + ", ".join(HEADINGS.values()) + "."


_SUSPECT = re.compile(r"[=#\x00-\x1f\x7f\ufffd]|\dE[+-]?\d|\d[.,]\d+E", re.IGNORECASE)


def why_not_text(text: str) -> str:
    """Why a cell can't be what somebody meant: a formula, an error of a spreadsheet, a number that lost its digits."""
    if not _SUSPECT.search(text):
        return ""
    if _FORMULA.match(text):
        return "is a formula. Copy the cells and paste them as values."
    if text in {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"}:
        return "is an error of the spreadsheet. Mend the cell’s formula, or write the value itself."
    if _POWER.fullmatch(text):
        return SHORTENED
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        return "holds a sign that can’t be seen (a line break or a tab). Take it out."
    if "\ufffd" in text:
        return "lost a letter when the file was saved in another encoding. Save it as CSV UTF-8."
    return ""


@functools.lru_cache(maxsize=4096)
def read_date(text: str) -> dt.date | None:
    """The date of a cell, None for an empty one. Raises ValueError with what would be right."""
    text = text.strip()
    if not text:
        return None
    for form in DATE_FORMATS:
        day = _read_as(text, form)
        if day is None:
            continue
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise ValueError(f"is no date of the years {FIRST_YEAR} to {LAST_YEAR}.")
        return day
    meant = sorted(set(_other_dates(text)))
    if len(meant) > 1:
        raise ValueError(f"means two things. Write {meant[0].isoformat()} or {meant[1].isoformat()}.")
    if meant:
        raise ValueError(f"isn’t how dates are written here. Write {meant[0].isoformat()}.")
    raise ValueError("is no date. Write it as 2026-10-01 or 1 Oct 2026.")


def _read_as(text: str, form: str) -> dt.date | None:
    try:
        return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None


def _other_dates(text: str) -> Iterable[dt.date]:
    found = _NUMERIC_DATE.fullmatch(text)
    if found:
        a, b, c = int(found[1]), int(found[3]), int(found[4])
        orders = [(a, b, c)] if a > 31 else [(c, b, a)] if found[2] == "." else [(c, b, a), (c, a, b)]
        for year, month, day in orders:
            try:
                yield dt.date(year if year > 99 else 2000 + year, month, day)
            except ValueError:
                continue
    elif text.isdecimal() and len(text) == 8:
        yield from filter(None, [_read_as(text, "%Y%m%d")])
    elif text.isdecimal() and 26_000 < int(text) < 80_000:
        yield _DAY_ZERO + dt.timedelta(days=int(text))


def read_conditions(text: str) -> dict[str, list[str]]:
    """The conditions of a cell: JSON, or field=value|value; field=value. Raises ValueError with what would be right."""
    text = text.strip()
    if not text:
        return {}
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ValueError("can’t be read. Write it as document_type=invoice.") from error
        if not isinstance(found, dict):
            raise ValueError("can’t be read. Write it as document_type=invoice.")
        return found
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if not all(sign and values.strip() for _, sign, values in parts):
        raise ValueError("can’t be read. Write it as document_type=invoice.")
    return {name.strip(): [v.strip() for v in values.split("|")] for name, _, values in parts}


def write_conditions(conditions: Mapping[str, object]) -> str:
    """Conditions as a cell holds them; they come back exactly."""
    return json.dumps(conditions, sort_keys=True, ensure_ascii=False) if conditions else ""


def lost_zeros(text: str, known: Mapping[str, str]) -> str:
    """The known code of which a spreadsheet has taken the leading zeros, or "". `known`: without zeros, with them."""
    full = known.get(text.lstrip("0")) if text.isdecimal() else None
    return full if full and full != text and len(full) > len(text) else ""


def without_zeros(codes: Iterable[str]) -> dict[str, str]:
    """Codes of digits that begin with zeros, by what a spreadsheet makes of them."""
    return {code.lstrip("0"): code for code in codes if code[:1] == "0" and code.isdecimal()}
