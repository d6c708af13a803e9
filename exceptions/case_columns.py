"""The columns of a list of cases: which there are, which stand by default, and what an address asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PARAM, CHOSEN = "columns", "col"  # "columns=money,due" is an address's word; the form says `col` once per place
MOST = 8


@dataclass(frozen=True)
class Column:
    """A column by its code: its heading, and its classes (`r` right-aligned, `lo` and `mid` where there's room)."""

    code: str
    title: str
    css: str = ""


COLUMNS = (
    Column("money", "Can’t post yet", "r"),
    Column("risk", "In {currency}", "r lo"),
    Column("blocks", "Blocks", "lo"),
    Column("due", "Due in"),
    Column("state", "State"),
    Column("owner", "Owner"),
    Column("documents", "Documents", "r lo"),
    Column("kind", "Kind", "lo"),
    Column("queue", "Queue", "lo"),
    Column("system", "System", "lo"),
    Column("entity", "Entity", "lo"),
    Column("severity", "Severity", "lo"),
    Column("opened", "Opened", "lo"),
    Column("last", "Last failure", "lo"),
)
BY_CODE = {column.code: column for column in COLUMNS}
DEFAULT = ("money", "risk", "blocks", "due", "state", "owner")


def columns_asked(said: str) -> list[Column]:
    """The columns that an address asks for, in its order; those by default where it names none that there is."""
    found = list(dict.fromkeys(code for code in said.split(",") if code in BY_CODE))[:MOST]
    return [BY_CODE[code] for code in found or DEFAULT]


def columns_said(chosen: Iterable[str]) -> str:
    """What an address says for these columns: nothing for those by default."""
    found = tuple(dict.fromkeys(code for code in chosen if code in BY_CODE))[:MOST]
    return "" if found == DEFAULT else ",".join(found)
