"""Real invoice lines read from a file and said in Stripe's words: pure, one line or one document at a time.

The columns are those of the UCI data set "Online Retail" (README, section "Real invoice lines"). Amounts are Decimal in
GBP; InvoiceDate is London's local time.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

FEED = "retail"
LEGAL_ENTITY = "GB01"
CURRENCY = "GBP"
LONDON = ZoneInfo("Europe/London")
PENNY = Decimal("0.01")
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
INVOICE, CREDIT_MEMO, UNKNOWN = "invoice", "credit_memo", "unknown"
DAYS_UNTIL_DUE = 30
MOST_PIECES = 10**9
Pieces = Counter[tuple[str, str]]  # of a SKU at a price
MOST_METADATA = 500  # characters of a value, Stripe's limit


class RetailProblem(ValueError):
    """A row that can't be read: which one, which field, and how to repair it."""

    def __init__(self, row: int, column: str, what: str, remedy: str):
        super().__init__(f"Row {row}, {column}: {what}. {remedy}")
        self.row, self.column, self.what, self.remedy = row, column, what, remedy


@dataclass(frozen=True, slots=True)
class RetailLine:
    """One row. `at` is London's local time without a zone, `customer` empty where the file has none."""

    row: int
    number: str
    sku: str
    description: str
    quantity: int
    at: dt.datetime
    unit_price: Decimal
    customer: str
    country: str

    @property
    def amount(self) -> Decimal:
        """Quantity × price, unrounded, in GBP."""
        return self.quantity * self.unit_price


@dataclass(slots=True)
class RetailDocument:
    """All lines of one InvoiceNo. `at` is its earliest time: some numbers carry two, a minute apart."""

    number: str
    at: dt.datetime
    customer: str
    country: str
    lines: list[RetailLine] = field(default_factory=list)

    @property
    def declared_total(self) -> Decimal:
        """What the file says, unrounded, in GBP."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def feed_type(self) -> str:
        """What the number's prefix says."""
        return find_feed_type(self.number)


def open_file(path: Path) -> TextIO:
    """A `.csv` or `.csv.gz` as text. Raises OSError."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")


def read_lines(text: Iterable[str]) -> Iterator[RetailLine]:
    """The rows of a file, one at a time. Raises RetailProblem naming row and column."""
    reader = csv.reader(text)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise RetailProblem(
            1, ", ".join(missing), "the column is missing", f"The header must name {', '.join(COLUMNS)}"
        )
    places = [header.index(name) for name in COLUMNS]
    for row, values in enumerate(reader, start=2):
        if not values:
            continue
        if len(values) != len(header):
            raise RetailProblem(
                row, "row", f"{len(values)} fields instead of {len(header)}", "Check its quotes and commas"
            )
        yield read_line(row, [values[place].strip() for place in places])


def read_line(row: int, values: list[str]) -> RetailLine:
    """One row's values in the order of COLUMNS. Raises RetailProblem."""
    number, sku, description, quantity, at, price, customer, country = values
    if not number:
        raise RetailProblem(row, "InvoiceNo", "it's empty", "Every row belongs to an invoice")
    return RetailLine(
        row=row,
        number=number.upper(),
        sku=sku,
        description=description,
        quantity=_read_quantity(row, quantity),
        at=_read_time(row, at),
        unit_price=_read_number(row, "UnitPrice", price),
        customer=customer.removesuffix(".0"),
        country=country,
    )


def find_feed_type(number: str) -> str:
    """invoice without a prefix, credit_memo with C, else unknown."""
    if number.isdigit():
        return INVOICE
    return CREDIT_MEMO if number[:1] == "C" and number[1:].isdigit() else UNKNOWN


def round_penny(amount: Decimal) -> Decimal:
    """To two decimals, half up (away from zero)."""
    return amount.quantize(PENNY, rounding=ROUND_HALF_UP)


def find_customer_key(document: RetailDocument) -> str:
    """What tells customers apart: the number, or the country of those without one."""
    return document.customer or f"none:{document.country}"


def build_customer(document: RetailDocument) -> dict[str, Any]:
    """The Stripe customer of a document."""
    key = find_customer_key(document)
    metadata = {"feed": FEED, "customer_key": key, "legal_entity": LEGAL_ENTITY, "country": document.country}
    if document.customer:
        name = f"Customer {document.customer}"
        metadata["customer_no"] = document.customer
    else:
        name = f"No customer, {document.country}"
        metadata["unidentified"] = "true"
    return {"name": name, "metadata": metadata}


def build_invoice(document: RetailDocument, customer_id: str) -> dict[str, Any]:
    """The Stripe invoice of a document, open; of a credit without an invoice of its own one with negative lines."""
    return {
        "customer": customer_id,
        "currency": CURRENCY.lower(),
        "status": "open",
        "collection_method": "send_invoice",
        "days_until_due": DAYS_UNTIL_DUE,
        "effective_at": _find_instant(document),
        "metadata": build_metadata(document),
        "lines": [build_line(line, sign=1) for line in document.lines],
    }


def build_credit_note(document: RetailDocument, invoice_id: str) -> dict[str, Any]:
    """The Stripe credit note of a document that takes back lines of one earlier invoice; amounts are positive."""
    return {
        "invoice": invoice_id,
        "reason": "order_change",
        "effective_at": _find_instant(document),
        "metadata": build_metadata(document),
        "lines": [{"type": "custom_line_item", **build_line(line, sign=-1)} for line in document.lines],
    }


def build_metadata(document: RetailDocument) -> dict[str, str]:
    """What says where the document comes from and what the file declares."""
    return {
        "invoice_no": document.number,
        "feed": FEED,
        "feed_type": document.feed_type,
        "declared_total": str(document.declared_total),
        "legal_entity": LEGAL_ENTITY,
    }


def build_line(line: RetailLine, *, sign: int) -> dict[str, Any]:
    """A Stripe line in pence: quantity and price as the file has them, so what comes back has a negative quantity.

    `sign` -1 turns a line that takes back into a positive one, as credit notes want it.
    """
    amount = sign * round_penny(line.amount)
    metadata = {"sku": line.sku}
    if round_penny(line.amount) != line.amount:
        metadata["declared_amount"] = str(sign * line.amount)
    return {
        "amount": int(amount * 100),
        "quantity": sign * line.quantity,
        "unit_amount_decimal": _plain(line.unit_price * 100),
        "description": line.description[:MOST_METADATA],
        "metadata": metadata,
    }


def pieces_of(lines: Iterable[dict]) -> Pieces:
    """What the lines of one of Stripe's documents sold or took back: pieces by SKU and price in GBP."""
    pieces: Pieces = Counter()
    for line in lines:
        sku, pence = (line.get("metadata") or {}).get("sku"), line.get("unit_amount_decimal")
        pence = pence or (line.get("pricing") or {}).get("unit_amount_decimal")
        if sku and pence and line["quantity"] > 0 and Decimal(pence) > 0:
            pieces[sku, price_key(Decimal(pence) / 100)] += line["quantity"]
    return pieces


def count_pieces(document: RetailDocument, *, sign: int) -> Pieces:
    """How many pieces of each SKU and price; `sign` -1 counts those that come back."""
    pieces: Pieces = Counter()
    for line in document.lines:
        if sign * line.quantity > 0 and line.unit_price > 0:
            pieces[line.sku, price_key(line.unit_price)] += sign * line.quantity
    return pieces


def price_key(price: Decimal) -> str:
    """A price as a text that equal prices share."""
    return str(price.normalize())


def local_time(instant: int) -> dt.datetime:
    """Seconds since 1970 as London's local time, without a zone, as the file has it."""
    return dt.datetime.fromtimestamp(instant, LONDON).replace(tzinfo=None)


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"


def _find_instant(document: RetailDocument) -> int:
    return int(document.at.replace(tzinfo=LONDON).timestamp())


def _read_number(row: int, column: str, text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise RetailProblem(row, column, f"'{text}' is no number", "Write it with a decimal point and no other sign")
    return found


def _read_quantity(row: int, text: str) -> int:
    found = _read_number(row, "Quantity", text)
    if found != found.to_integral_value() or abs(found) > MOST_PIECES:
        raise RetailProblem(row, "Quantity", f"'{text}' isn't a whole number of pieces", "Write it as 6 or -6")
    return int(found)


def _read_time(row: int, text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise RetailProblem(row, "InvoiceDate", f"'{text}' is no local time", "Write it as 2010-12-01 08:26:00")
    return found
