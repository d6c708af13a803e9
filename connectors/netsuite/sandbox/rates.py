"""The ERP's own table of exchange rates: what it books with when a document brings no rate.

Rates come from the European Central Bank's daily reference rates (data/ecb_fx; source: ECB), crossed through the
euro, the last one on or before the day. A record `currencyRate` made by hand counts from its date on until a newer
rate comes. The ERP goes on using an old rate however old it is; whether that is acceptable is the portal's question.
"""

import csv
import gzip
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from connectors.netsuite.sandbox.books import Books, create_tables
from connectors.netsuite.sandbox.errors import missing_value
from connectors.sandbox.store import Store

FILE = Path(__file__).resolve().parents[3] / "data" / "ecb_fx" / "eurofxref-hist.csv.gz"
FIRST_DAY = "2009-12-01"
CODES = ("USD", "GBP", "EUR", "AUD", "CAD", "CHF", "JPY")
PLACES = Decimal("0.00000001")
MARK = "\x02"  # what every date of a SuiteQL table begins with, see suiteql_functions
SCHEMA = """
CREATE TABLE IF NOT EXISTS ns_rate (
    code TEXT NOT NULL, day TEXT NOT NULL, per_euro REAL NOT NULL, PRIMARY KEY (code, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ns_manual_rate (
    base TEXT NOT NULL, code TEXT NOT NULL, day TEXT NOT NULL, rate REAL NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (base, code, day)) WITHOUT ROWID;
"""


def load_rates(store: Store) -> None:
    """Fill the rate table from the file, once."""
    create_tables(store, SCHEMA)
    if store.db.execute("SELECT 1 FROM ns_rate LIMIT 1").fetchone():
        return
    rows = []
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["Date"] < FIRST_DAY:
                break
            day = MARK + row["Date"]
            rows += [(code, day, 1.0 if code == "EUR" else float(row[code])) for code in CODES]
    store.db.executemany("INSERT INTO ns_rate VALUES (?,?,?)", rows)


def find_rate(books: Books, currency: dict, base: dict, day: str) -> Decimal:
    """Units of `base` for one unit of `currency` on a day, 8 places. Refuses when there's no rate at all."""
    if currency["id"] == base["id"]:
        return Decimal(1)
    key, db = MARK + day, books.store.db
    manual = db.execute(
        "SELECT day, rate FROM ns_manual_rate WHERE base=? AND code=? AND day<=? ORDER BY day DESC LIMIT 1",
        (base["symbol"], currency["symbol"], key),
    ).fetchone()
    found = [
        db.execute(
            "SELECT day, per_euro FROM ns_rate WHERE code=? AND day<=? ORDER BY day DESC LIMIT 1", (code, key)
        ).fetchone()
        for code in (base["symbol"], currency["symbol"])
    ]
    if manual is not None and (None in found or manual[0] >= min(found)[0]):
        return Decimal(repr(manual[1]))
    if None in found:
        raise missing_value("Exchange Rate", path="exchangeRate")
    rate = Decimal(repr(found[0][1])) / Decimal(repr(found[1][1]))
    return rate.quantize(PLACES, ROUND_HALF_UP)


def keep_manual_rate(books: Books, obj: dict) -> None:
    """A rate made by hand, out of a `currencyRate` record."""
    base = books.at("currency", obj["baseCurrency"]["id"])
    currency = books.at("currency", obj["transactionCurrency"]["id"])
    books.store.db.execute(
        "INSERT OR REPLACE INTO ns_manual_rate VALUES (?,?,?,?,?)",
        (base["symbol"], currency["symbol"], MARK + obj["effectiveDate"], float(obj["exchangeRate"]), obj["id"]),
    )
