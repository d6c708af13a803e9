"""The rows of a retail file on disk, so that any file fits into little memory, whatever the order of its rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from q2c.demo.retail import CREDIT_MEMO, INVOICE, Pieces, RetailDocument, RetailLine, count_pieces

SCHEMA = """
CREATE TABLE line (number TEXT NOT NULL, row INTEGER NOT NULL, sku TEXT NOT NULL, description TEXT NOT NULL,
    quantity INTEGER NOT NULL, at TEXT NOT NULL, price TEXT NOT NULL, customer TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE sold (customer TEXT NOT NULL, sku TEXT NOT NULL, price TEXT NOT NULL, number TEXT NOT NULL,
    at TEXT NOT NULL, place INTEGER NOT NULL, quantity INTEGER NOT NULL,
    PRIMARY KEY (customer, sku, price, number)) WITHOUT ROWID;
CREATE TABLE made (kind TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
CHUNK = 5000


class Spool:
    """A temporary SQLite file. `made` remembers the ids that the target gave."""

    def __init__(self, path: Path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16000;" + SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    def add_lines(self, lines: Iterable[RetailLine]) -> int:
        """Put all rows down; how many documents there are. A row that can't be read stops it (RetailProblem)."""
        self.db.execute("BEGIN")
        rows: list[tuple] = []
        for line in lines:
            rows.append(_pack(line))
            if len(rows) >= CHUNK:
                self._insert(rows)
        self._insert(rows)
        self.db.execute("COMMIT")
        self.db.executescript(
            "CREATE INDEX line_number ON line (number, row);"
            "CREATE TABLE document AS SELECT number, min(at) AS at, min(row) AS row FROM line GROUP BY number;"
            "CREATE INDEX document_at ON document (at, row);"
        )
        self.db.execute("BEGIN")  # never committed: the file goes when we do
        return self.db.execute("SELECT count(*) FROM document").fetchone()[0]

    def _insert(self, rows: list[tuple]) -> None:
        self.db.executemany("INSERT INTO line VALUES (?,?,?,?,?,?,?,?,?)", rows)
        rows.clear()

    def documents(self) -> Iterator[RetailDocument]:
        """All documents, oldest first, each with its lines in the file's order."""
        place: tuple[str, int] = ("", 0)
        while True:
            page = self.db.execute(
                "SELECT number, at, row FROM document WHERE (at, row) > (?, ?) ORDER BY at, row LIMIT 500", place
            ).fetchall()
            if not page:
                return
            for number, at, row in page:
                lines = [
                    _unpack(each)
                    for each in self.db.execute("SELECT * FROM line WHERE number=? ORDER BY row", (number,))
                ]
                first = lines[0]
                yield RetailDocument(number, dt.datetime.fromisoformat(at), first.customer, first.country, lines)
                place = (at, row)

    # what was sold, for credits

    def note_sold(self, document: RetailDocument, place: int) -> None:
        """Remember an invoice's pieces, so that a later credit may take them back. `place` is its rank in the file,
        among those of one time."""
        if document.feed_type == INVOICE and document.customer:
            pieces = count_pieces(document, sign=1)
            self.note_pieces(document.customer, document.number, pieces, document.at, place)

    def note_pieces(self, customer: str, number: str, pieces: Pieces, at: dt.datetime, place: int = -1) -> None:
        """Remember the pieces of a customer's invoice. `at` is London's local time; `place` orders those of one time,
        an invoice of an earlier file first."""
        for (sku, price), quantity in pieces.items():
            values = (customer, sku, price, number, at.isoformat(sep=" "), place, quantity)
            self.db.execute("INSERT INTO sold VALUES (?,?,?,?,?,?,?)", values)

    def note_taken(self, number: str, pieces: Pieces) -> None:
        """Pieces of an invoice that a credit of an earlier file took back."""
        for (sku, price), quantity in pieces.items():
            self.db.execute(
                "UPDATE sold SET quantity=quantity-? WHERE number=? AND sku=? AND price=?",
                (quantity, number, sku, price),
            )

    def take_back(self, document: RetailDocument) -> str | None:
        """The number of the latest earlier invoice that covers every line of a credit alone; None when none does.

        Its pieces are gone then: two credits can't take back the same ones.
        """
        if document.feed_type != CREDIT_MEMO or not document.customer:
            return None
        wanted = count_pieces(document, sign=-1)
        if not wanted or any(line.quantity >= 0 or line.unit_price <= 0 for line in document.lines):
            return None
        (sku, price), pieces = next(iter(wanted.items()))
        candidates = self.db.execute(
            "SELECT number FROM sold WHERE customer=? AND sku=? AND price=? AND quantity>=? AND at<=?"
            " ORDER BY at DESC, place DESC, number DESC",
            (document.customer, sku, price, pieces, document.at.isoformat(sep=" ")),
        ).fetchall()
        for (number,) in candidates:
            if all(self._left(document.customer, key, number) >= count for key, count in wanted.items()):
                self.note_taken(number, wanted)
                return str(number)
        return None

    def _left(self, customer: str, key: tuple[str, str], number: str) -> int:
        found = self.db.execute(
            "SELECT quantity FROM sold WHERE customer=? AND sku=? AND price=? AND number=?", (customer, *key, number)
        ).fetchone()
        return found[0] if found else 0

    def holds(self, number: str) -> bool:
        """Whether the file has a document of this number."""
        return self.db.execute("SELECT 1 FROM line WHERE number=? LIMIT 1", (number,)).fetchone() is not None

    def customers_with_credits(self) -> set[str]:
        """The customers of whom the file takes something back."""
        found = self.db.execute("SELECT DISTINCT customer FROM line WHERE number LIKE 'C%' AND customer<>''")
        return {customer for (customer,) in found}

    # what the target made

    def remember(self, kind: str, key: str, id: str) -> None:
        """Keep the target's id of a customer or document."""
        self.db.execute("INSERT OR REPLACE INTO made VALUES (?,?,?)", (kind, key, id))

    def find_made(self, kind: str, key: str) -> str | None:
        """The target's id, or None."""
        found = self.db.execute("SELECT id FROM made WHERE kind=? AND key=?", (kind, key)).fetchone()
        return found[0] if found else None


def _pack(line: RetailLine) -> tuple:
    return (
        line.number, line.row, line.sku, line.description, line.quantity, line.at.isoformat(sep=" "),
        str(line.unit_price), line.customer, line.country,
    )  # fmt: skip


def _unpack(row: tuple) -> RetailLine:
    number, place, sku, description, quantity, at, price, customer, country = row
    moment = dt.datetime.fromisoformat(at)
    return RetailLine(place, number, sku, description, quantity, moment, Decimal(price), customer, country)
