"""Fills a new account: the company's lists, the calendar from 2010 to 2027, and which periods are open."""

from calendar import monthrange
from datetime import date
from typing import Any

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.company import ENTITIES, describe_company
from connectors.netsuite.sandbox.fields import RECORDS, TRANSACTIONS
from connectors.netsuite.sandbox.masters import save_item, save_other
from connectors.netsuite.sandbox.periods import set_status

YEARS = range(2010, 2028)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
RETAIL_MONTHS = ("2010-12", *(f"2011-{month:02d}" for month in range(1, 13)))  # open for the British entity alone
REFERENCE_TYPES = frozenset(RECORDS) - frozenset(TRANSACTIONS) - {"customer", "customerSubsidiaryRelationship"}
OPEN = {"closed": False, "arLocked": False, "apLocked": False, "allLocked": False}
CLOSED = {"closed": True, "arLocked": True, "apLocked": True, "allLocked": True}


def seed_account(books: Books) -> None:
    """Make what is missing of the reference data, once."""
    if books.store.count("subsidiary"):
        return
    counts: dict[str, int] = {}
    for type, given in describe_company():
        record = RECORDS[type]
        obj = books.check_body(record, given, strict=True)
        obj = {name: value for name, value in obj.items() if value is not None}
        counts[record.space] = counts.get(record.space, 0) + 1
        _complete(books, obj, str(counts[record.space]))
        (save_item if record.space == "item" else save_other)(books, record, obj, None)
    _seed_periods(books)


def _complete(books: Books, obj: dict[str, Any], id: str) -> None:
    obj |= {"id": id, "isInactive": False, "createdDate": books.now(), "lastModifiedDate": books.now()}


def _seed_periods(books: Books) -> None:
    today = books.today()
    current = today.strftime("%Y-%m")
    previous = date(today.year - (today.month == 1), (today.month - 2) % 12 + 1, 1).strftime("%Y-%m")
    number = 0
    for year in YEARS:
        number += 1
        year_id = str(number)
        _put_period(books, year_id, f"FY {year}", f"FY{year}", (year, 1, 12), OPEN, None, isYear=True)
        for quarter in range(1, 5):
            number += 1
            quarter_id = str(number)
            span = (year, 3 * quarter - 2, 3 * quarter)
            name = f"Q{quarter} {year}"
            _put_period(books, quarter_id, name, f"{year}-Q{quarter}", span, OPEN, year_id, isQuarter=True)
            for month in range(span[1], span[2] + 1):
                number += 1
                key = f"{year}-{month:02d}"
                flags = OPEN if key >= previous or key in RETAIL_MONTHS else CLOSED
                _put_period(
                    books, str(number), f"{MONTHS[month - 1]} {year}", key, (year, month, month), flags, quarter_id
                )
    for code, *_ in ENTITIES:
        subsidiary = books.get_by_external_id("subsidiary", code)
        for key in RETAIL_MONTHS:
            if code != "GB01" and key < previous:
                set_status(books, books.get_by_external_id("accountingPeriod", key), subsidiary, CLOSED)
        if code == "JP01" and previous < current:
            set_status(books, books.get_by_external_id("accountingPeriod", previous), subsidiary, CLOSED)


def _put_period(
    books: Books,
    id: str,
    name: str,
    external_id: str,
    span: tuple[int, int, int],
    flags: dict[str, bool],
    parent: str | None,
    **kind: bool,
) -> None:
    year, first, last = span
    obj = {
        "periodName": name,
        "externalId": external_id,
        "startDate": date(year, first, 1).isoformat(),
        "endDate": date(year, last, monthrange(year, last)[1]).isoformat(),
        "isPosting": not kind,
        "isQuarter": False,
        "isYear": False,
        "isAdjust": False,
        "allowNonGLChanges": True,
        **flags,
        **kind,
    }
    _complete(books, obj, id)
    if parent is not None:
        obj["parent"] = {"id": parent, "refName": books.at("accountingPeriod", parent)["periodName"]}
    books.put(RECORDS["accountingPeriod"], obj, None)
