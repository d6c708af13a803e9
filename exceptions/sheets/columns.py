"""The columns of a sheet of held documents: what is locked, what a person fills in, and the seal of each row.

A row is one open document of a case. The seal is a signature over its locked cells, its version among them, so a row
may be sorted, copied into another sheet or left out, and never altered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from exceptions.freezing import WAYS
from exceptions.kind_words import EDIT_FIELDS, SEND_BACK, SNOOZE
from mappings.columns import plain_heading
from q2c.canonical.edits import EDITABLE
from q2c.core.exports import Cell, is_sealed, plain_amount, printable, seal

LOCKED = {
    "row": "Row", "case": "Case", "kind": "Kind", "says": "What is wrong", "number": "Document", "entity": "Entity",
    "books": "Books", "currency": "Currency", "amount": "Amount", "state": "State", "attempt": "Attempt",
    "hash": "Content", "owner": "Owner", "queue": "Queue",
}  # fmt: skip
# Words of a document as a whole; what stands in its lines is edited on its case.
EDITS = {
    field.name: f"{field.label} becomes" for fields in EDITABLE.values() for field in fields if field.of == "document"
}
DATES = {field.name for fields in EDITABLE.values() for field in fields if field.is_date and field.of == "document"}
OPEN = {
    "act": "Do", "code": "Reason code", "until": "Snooze until", "to": "To", "why": "Reason",
    **EDITS,
}  # fmt: skip
SEAL = "seal"
HEADINGS = {**LOCKED, **OPEN, SEAL: "Seal"}
NAMES = tuple(HEADINGS)
# What may be done: the word in the drop-down, by code.
ACTS = {way.code: way.verb for way in WAYS.values()} | {
    SNOOZE: "Snooze", SEND_BACK: "Send back", EDIT_FIELDS: "Edit and repost",
}  # fmt: skip
OF_CASE = frozenset({"assign", SNOOZE, SEND_BACK})  # these are done to the case as a whole
_PURPOSE = "cases"
_BY_HEADING = {plain_heading(heading): name for name, heading in HEADINGS.items()}
_BY_WORD = {word.casefold(): code for code, word in ACTS.items()}


def write_row(locked: Mapping[str, Cell]) -> list[Cell]:
    """A row as it goes out: locked cells, empty open ones, the seal."""
    return [*(locked[name] for name in LOCKED), *("" for _ in OPEN), seal_of(locked)]


def seal_of(locked: Mapping[str, Cell]) -> str:
    """The signature over the locked cells of a row."""
    return seal(_PURPOSE, _signed(locked))


def is_whole(locked: Mapping[str, Cell], signature: str) -> bool:
    """Whether the locked cells are those that we sealed."""
    return is_sealed(_PURPOSE, _signed(locked), signature)


def read_header(cells: Sequence[str]) -> dict[str, int]:
    """Which column stands where, by its heading. The order is free."""
    found: dict[str, int] = {}
    for place, text in enumerate(cells):
        name = _BY_HEADING.get(plain_heading(text))
        if name is not None:
            found.setdefault(name, place)
    return found


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row has every locked column and the seal, as our export has."""
    return {*LOCKED, SEAL} <= set(read_header(cells))


def read_act(text: str) -> str:
    """The code of what is to be done; "" for a word that we don't know."""
    return _BY_WORD.get(text.strip().casefold(), "")


def plain_cell(name: str, value: Cell) -> str:
    """A locked cell as it's compared, whatever a spreadsheet made of a number."""
    text = printable(str(value)).strip()
    if name == "amount" and text:
        try:
            return plain_amount(Decimal(text.replace(",", "")))
        except InvalidOperation:
            return text
    return text


def _signed(locked: Mapping[str, Cell]) -> str:
    return "\x1f".join(plain_cell(name, locked.get(name, "")) for name in LOCKED)
