"""What transactions do to the ledger: a row of totals per transaction, its debits and credits, who pays whom.

The document itself stays JSON in the kit's store; these tables are what SuiteQL reads. Amounts in `ns_impact` are in
the base currency of the subsidiary, `foreign_amount` in the currency of the transaction; a debit is positive. A
transaction that waits for approval has no impact.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.fields import Record
from connectors.netsuite.sandbox.values import round_money

SCHEMA = """
CREATE TABLE IF NOT EXISTS ns_transaction (
    id INTEGER PRIMARY KEY, record TEXT NOT NULL, type TEXT NOT NULL, tranid TEXT, externalid TEXT, trandate TEXT,
    duedate TEXT, createddate TEXT, lastmodifieddate TEXT, entity TEXT, subsidiary TEXT, currency TEXT,
    exchangerate REAL, foreigntotal REAL, total REAL, paid REAL NOT NULL DEFAULT 0, status TEXT, approval TEXT,
    posting TEXT, postingperiod TEXT, memo TEXT, otherrefnum TEXT, createdfrom TEXT, account TEXT, isreversal TEXT,
    reversal TEXT, reversaldate TEXT);
CREATE INDEX IF NOT EXISTS ns_transaction_entity ON ns_transaction (entity);
CREATE TABLE IF NOT EXISTS ns_impact (
    tran INTEGER NOT NULL, line INTEGER NOT NULL, account TEXT NOT NULL, debit REAL, credit REAL,
    foreign_amount REAL NOT NULL, PRIMARY KEY (tran, line)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ns_application (
    paying INTEGER NOT NULL, paid INTEGER NOT NULL, amount REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (paying, paid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ns_application_paid ON ns_application (paid);
CREATE TABLE IF NOT EXISTS ns_deleted (
    n INTEGER PRIMARY KEY, record TEXT NOT NULL, id TEXT NOT NULL, externalid TEXT, at TEXT NOT NULL)
"""
COLUMNS = [
    "id",
    "record",
    "type",
    "tranid",
    "externalid",
    "trandate",
    "duedate",
    "createddate",
    "lastmodifieddate",
    "entity",
    "subsidiary",
    "currency",
    "exchangerate",
    "foreigntotal",
    "total",
    "paid",
    "status",
    "approval",
    "posting",
    "postingperiod",
    "memo",
    "otherrefnum",
    "createdfrom",
    "account",
    "isreversal",
    "reversal",
    "reversaldate",
]
INSERT = f"INSERT OR REPLACE INTO ns_transaction ({', '.join(COLUMNS)}) VALUES ({','.join('?' * len(COLUMNS))})"
ZERO = Decimal(0)
ACCOUNTS = {
    "receivable": "1100",
    "tax": "2400",
    "undeposited": "1050",
    "rounding": "8900",
    "gain": "4610",
    "loss": "8510",
}


@dataclass
class Impact:
    """Debits (positive) and credits by account, gathered in both currencies."""

    rate: Decimal
    quantum: Decimal
    foreign: dict[str, Decimal] = field(default_factory=dict)
    base: dict[str, Decimal] = field(default_factory=dict)

    def add(self, account_id: str, foreign: Decimal, base: Decimal | None = None) -> None:
        """Add to an account; the base amount is converted per account at the end unless it's given."""
        self.foreign[account_id] = self.foreign.get(account_id, ZERO) + foreign
        if base is not None:
            self.base[account_id] = self.base.get(account_id, ZERO) + base

    def balance(self, rounding_account_id: str) -> list[tuple[str, Decimal, Decimal]]:
        """(account, base, foreign) of every account; what conversion leaves over goes to the rounding account."""
        rows = []
        for account_id, foreign in self.foreign.items():
            base = self.base.get(account_id)
            rows.append((account_id, round_money(foreign * self.rate, self.quantum) if base is None else base, foreign))
        rest = -sum((base for _, base, _ in rows), ZERO)
        if rest:
            rows.append((rounding_account_id, rest, ZERO))
        return [row for row in rows if row[1] or row[2]]


def account_id(books: Books, role: str) -> str:
    """The account that the ERP itself posts to, by its role."""
    return books.get_by_external_id("account", ACCOUNTS[role])["id"]


def read_impact(books: Books, id: str) -> list[tuple[str, Decimal]]:
    """(account, base amount) as it stands in the ledger."""
    rows = books.store.db.execute(
        "SELECT account, coalesce(debit, 0) - coalesce(credit, 0) FROM ns_impact WHERE tran=? ORDER BY line", (int(id),)
    )
    return [(account, round(Decimal(repr(amount)), 3)) for account, amount in rows]


def write_impact(books: Books, id: str, rows: list[tuple[str, Decimal, Decimal]], *, new: bool) -> None:
    """Replace the debits and credits of a transaction."""
    db = books.store.db
    if not new:
        db.execute("DELETE FROM ns_impact WHERE tran=?", (int(id),))
    number = int(id)
    db.executemany(
        "INSERT INTO ns_impact VALUES (?,?,?,?,?,?)",
        [
            (
                number,
                line,
                account,
                float(base) if base > 0 else None,
                float(-base) if base <= 0 else None,
                float(foreign),
            )
            for line, (account, base, foreign) in enumerate(rows)
        ],
    )


def write_row(books: Books, record: Record, obj: dict, *, total: Decimal, base_total: Decimal, paid: Decimal) -> None:
    """The transaction's row of totals; `total` in its currency."""
    entity = obj.get("entity") or obj.get("customer")
    books.store.db.execute(
        INSERT,
        (
            int(obj["id"]),
            record.name,
            record.transaction_code,
            obj["tranId"],
            obj.get("externalId"),
            obj["tranDate"],
            obj.get("dueDate"),
            obj["createdDate"],
            obj["lastModifiedDate"],
            entity["id"] if entity else None,
            obj["subsidiary"]["id"],
            obj["currency"]["id"],
            obj["exchangeRate"],
            float(total),
            float(base_total),
            float(paid),
            find_status(record.name, obj["approvalStatus"]["id"], total, paid),
            obj["approvalStatus"]["id"],
            "F" if is_pending(obj) or record.name == "salesOrder" else "T",
            obj["postingPeriod"]["id"],
            obj.get("memo"),
            obj.get("otherRefNum"),
            _id(obj.get("createdFrom")),
            _id(obj.get("account")),
            "T" if obj.get("isReversal") else "F",
            _id(obj.get("reversalEntry")),
            obj.get("reversalDate"),
        ),
    )


def is_pending(obj: dict) -> bool:
    """Whether it isn't approved, hence not in the ledger."""
    return obj["approvalStatus"]["id"] != "2"


def find_status(record: str, approval: str, total: Decimal, paid: Decimal) -> str:
    """The status letter that SuiteQL shows."""
    if record == "journalEntry":
        return "B" if approval == "2" else "A"
    if record == "customerPayment":
        return "C"
    if record == "customerRefund":
        return "V" if approval == "3" else "B"
    if record == "salesOrder":
        return "B"
    if approval != "2":
        return "D" if approval == "1" else "E"
    return "B" if paid >= total else "A"


def read_row(books: Books, id: str) -> dict | None:
    """The row of totals by column name."""
    row = books.store.db.execute(f"SELECT {', '.join(COLUMNS)} FROM ns_transaction WHERE id=?", (int(id),)).fetchone()
    return dict(zip(COLUMNS, row, strict=True)) if row else None


def row_of(books: Books, id: str) -> dict:
    """The row of totals of a transaction that is there; KeyError otherwise."""
    row = read_row(books, id)
    if row is None:
        raise KeyError(id)
    return row


def add_paid(books: Books, id: str, amount: Decimal) -> None:
    """Raise what was applied to (or of) a transaction, and let its status follow."""
    row = row_of(books, id)
    paid = Decimal(repr(row["paid"])) + amount
    status = find_status(row["record"], row["approval"], Decimal(repr(row["foreigntotal"])), paid)
    books.store.db.execute(
        "UPDATE ns_transaction SET paid=?, status=?, lastmodifieddate=? WHERE id=?",
        (float(paid), status, books.now(), int(id)),
    )


def forget_transaction(books: Books, record: Record, obj: dict) -> None:
    """Take a deleted transaction out of the ledger."""
    db, number = books.store.db, int(obj["id"])
    db.execute("DELETE FROM ns_transaction WHERE id=?", (number,))
    db.execute("DELETE FROM ns_impact WHERE tran=?", (number,))
    db.execute(
        "INSERT INTO ns_deleted (record, id, externalid, at) VALUES (?,?,?,?)",
        (record.name, obj["id"], obj.get("externalId"), books.now()),
    )


def _id(reference: dict | None) -> str | None:
    return reference["id"] if reference else None
