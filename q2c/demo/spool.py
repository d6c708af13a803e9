"""The rows of a retail file on disk, so that any file fits into little memory, whatever the order of its rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from q2c.demo.retail import CREDIT_MEMO, INVOICE, RetailDocument, RetailLine

SCHEMA = """
CREATE TABLE line (number TEXT NOT NULL, row INTEGER NOT NULL, sku TEXT NOT NULL, description TEXT NOT NULL,
    quantity INTEGER NOT NULL, at TEXT NOT NULL, price TEXT NOT NULL, customer TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE sold (customer TEXT NOT NULL, sku TEXT NOT NULL, price TEXT NOT NULL, place INTEGER NOT NULL,
    number TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (customer, sku, price, place)) WITHOUT ROWID;
CREATE TABLE made (kind TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""
CHUNK = 5000
Pieces = Counter[tuple[str, str]]


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
        """Remember an invoice's pieces, so that a later credit may take them back. `place` is its rank in time."""
        if document.feed_type != INVOICE or not document.customer:
            return
        for (sku, price), quantity in count_pieces(document, sign=1).items():
            values = (document.customer, sku, price, place, document.number, quantity)
            self.db.execute("INSERT INTO sold VALUES (?,?,?,?,?,?)", values)

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
            "SELECT place, number FROM sold WHERE customer=? AND sku=? AND price=? AND quantity>=? ORDER BY place DESC",
            (document.customer, sku, price, pieces),
        ).fetchall()
        for place, number in candidates:
            if all(self._left(document.customer, key, place) >= count for key, count in wanted.items()):
                for (each_sku, each_price), count in wanted.items():
                    self.db.execute(
                        "UPDATE sold SET quantity=quantity-? WHERE customer=? AND sku=? AND price=? AND place=?",
                        (count, document.customer, each_sku, each_price, place),
                    )
                return number
        return None

    def _left(self, customer: str, key: tuple[str, str], place: int) -> int:
        found = self.db.execute(
            "SELECT quantity FROM sold WHERE customer=? AND sku=? AND price=? AND place=?", (customer, *key, place)
        ).fetchone()
        return found[0] if found else 0

    # what the target made

    def remember(self, kind: str, key: str, id: str) -> None:
        """Keep the target's id of a customer or document."""
        self.db.execute("INSERT OR REPLACE INTO made VALUES (?,?,?)", (kind, key, id))

    def find_made(self, kind: str, key: str) -> str | None:
        """The target's id, or None."""
        found = self.db.execute("SELECT id FROM made WHERE kind=? AND key=?", (kind, key)).fetchone()
        return found[0] if found else None


def count_pieces(document: RetailDocument, *, sign: int) -> Pieces:
    """How many pieces of each SKU and price; `sign` -1 counts those that come back."""
    pieces: Pieces = Counter()
    for line in document.lines:
        if sign * line.quantity > 0 and line.unit_price > 0:
            pieces[line.sku, str(line.unit_price.normalize())] += sign * line.quantity
    return pieces


def _pack(line: RetailLine) -> tuple:
    return (
        line.number, line.row, line.sku, line.description, line.quantity, line.at.isoformat(sep=" "),
        str(line.unit_price), line.customer, line.country,
    )  # fmt: skip


def _unpack(row: tuple) -> RetailLine:
    number, place, sku, description, quantity, at, price, customer, country = row
    moment = dt.datetime.fromisoformat(at)
    return RetailLine(place, number, sku, description, quantity, moment, Decimal(price), customer, country)
