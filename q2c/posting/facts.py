"""What a posting is built from: small frozen facts that steps give and the database stores with them. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from q2c.canonical.base import Document


class Book(Document, frozen=True):
    """The selling legal entity's book in an ERP. `erp_id` is the ERP's id of the subsidiary; `follows` the key of the
    record that stands there already and brought a document there, where no date decided."""

    code: str
    name: str
    country: str
    currency: str
    time_zone: str
    connection: str
    erp_id: str
    follows: str = ""


class RuleDates(Document, frozen=True):
    """The dates of a document on which a rule may have to be in force; each kind of rule names the one it goes by.

    `original_line` is the date of the document that a credit takes back, else the document's own.
    """

    document: dt.date
    posting: dt.date
    original_line: dt.date


class Period(Document, frozen=True):
    """A fiscal month of a book as the ERP's own list said at `read_at`."""

    code: str
    name: str
    erp_id: str
    start_date: dt.date
    end_date: dt.date
    is_receivables_open: bool
    is_ledger_open: bool
    read_at: dt.datetime


class ItemUse(Document, frozen=True):
    """What a SKU is in the ERP: item, revenue rule and the accounts that the ERP's item names."""

    item: str
    label: str = ""
    income_account: str = ""
    deferral_account: str = ""
    revenue_rule: str = ""
    department: str = ""
    class_: str = ""
    location: str = ""


def use_key(sku: str, charge_type: str) -> str:
    """Under which key a SKU's use stands where it differs by how it's charged."""
    return f"{sku}|{charge_type}" if charge_type else sku


def use_of(uses: Mapping[str, ItemUse], sku: str, charge_type: str) -> ItemUse | None:
    """What a line's SKU is: by how it's charged, where that matters."""
    return (uses.get(use_key(sku, charge_type)) if charge_type else None) or uses.get(sku)


class TaxUse(Document, frozen=True):
    """What a tax code is in the ERP: its ids of code and tax type, and the account that the code names."""

    code: str
    tax_type: str = ""
    account: str = ""


class Accounts(Document, frozen=True):
    """The ERP's ids of the accounts that a posting needs, by role. Under summary posting `receivables` is the control
    account, which the ERP doesn't keep by customer."""

    receivables: str = ""
    tax: str = ""
    rounding_item: str = ""
    rounding: str = ""
    clearing: str = ""
    bank: str = ""
    fees: str = ""
    disputes: str = ""
    reserves: str = ""
    clearings: dict[str, str] = {}  # the gateway's clearing by currency, of what it converted


class Policy(Document, frozen=True):
    """The entity's choices in force on the posting date; every one of them is a governed rule."""

    detail: str = "line"  # line, summary
    revenue_owner: str = "erp"  # erp, engine, billing
    subledger_owner: str = "erp"  # erp, billing
    posting_date: str = "document"
    window: str = "always"  # or 06:00-20:00, local time
    rounding_limit: int = 5  # in the smallest units of the document's currency
    approval_over: Decimal | None = None
    credit_rate: str = "original"  # of a credit: the credited invoice's booked rate, or document: that of its own date
    rate_days_max: int = 7
    zero_amount: str = "post"  # or skip: a document of 0 that moves no revenue and sells nothing that has a price
    missing_service_dates: str = "document"  # of an item that defers: its document's date is both, or hold
    summary_cut_off: str = "02:00"  # local time from which the days before may be summed up

    @property
    def is_summary(self) -> bool:
        """Whether documents go to the ledger in the day's summary instead of each by itself."""
        return self.detail == "summary"


class RateUse(Document, frozen=True):
    """How the document's currency becomes the book's: the ERP's own table, or a governed manual rate that we send."""

    pair: str = ""
    source: str = "none"  # none (same currency), erp, manual, original (the credited invoice's booked rate)
    rate: Decimal | None = None
    rate_date: dt.date | None = None

    @property
    def sent(self) -> Decimal | None:
        """The rate that we send; None leaves it to the ERP's own table."""
        return self.rate if self.source in ("manual", "original") else None


class Original(Document, frozen=True):
    """What the invoice that a credit takes back was posted with; empty where we didn't carry it. `receivables` is the
    account on which it stands."""

    document_date: dt.date | None = None
    items: dict[str, ItemUse] = {}
    taxes: dict[str, TaxUse] = {}
    exchange_rate: Decimal | None = None
    receivables: str = ""
