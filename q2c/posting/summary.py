"""Summary posting: what a document contributes to its day, and one journal out of a day's contributions. Pure.

The grain is posting date × sign × currency × account × dimensions × tax code × deferral (start, end and rule): within
it amounts are added, debits and credits apart, and nothing is ever netted. Tax is the sum of the documents' own tax.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from q2c.canonical.posting import ArLine, DaySummary, Journal, JournalLine
from q2c.core.ids import external_id
from q2c.core.money import ZERO, round_money
from q2c.core.problems import Category, Problem
from q2c.posting.checks import check_posting
from q2c.posting.facts import Accounts, Book, ItemUse, Period, RateUse
from q2c.posting.lines import check_minor_units


class Cell(NamedTuple):
    """Where an amount stands in a summary; day and currency are the summary's own."""

    is_credit: bool
    account: str
    department: str
    class_: str
    location: str
    tax_code: str
    revenue_start: dt.date | None
    revenue_end: dt.date | None
    revenue_rule: str


def cell_of(line: JournalLine) -> Cell:
    """The cell of a journal line. Its customer and memo aren't part of the grain."""
    return Cell(
        line.credit > 0,
        line.account,
        line.department,
        line.class_,
        line.location,
        line.tax_code,
        line.revenue_start,
        line.revenue_end,
        line.revenue_rule,
    )


def sum_lines(lines: Iterable[JournalLine]) -> tuple[JournalLine, ...]:
    """One line per cell, debits first, each the sum of its lines. The same lines in any order give the same."""
    sums: dict[Cell, Decimal] = {}
    for line in lines:
        cell = cell_of(line)
        sums[cell] = sums.get(cell, ZERO) + line.debit + line.credit
    return tuple(_line_of(cell, sums[cell]) for cell in sorted(sums, key=_place) if sums[cell])


def build_summary(
    lines: Iterable[JournalLine], *, document: DaySummary, book: Book, currency: str, rate: RateUse,
    posting_date: dt.date, period: Period,
) -> Journal:  # fmt: skip
    """The journal of a day's frozen contributions. Raises Problem when it doesn't balance, or isn't their sum."""
    number = document.source.object_id
    summed = sum_lines(lines)
    check_minor_units([line.debit + line.credit for line in summed], document.currency, number)
    journal = Journal(
        external_id=external_id("sum", source=document.source.connection, object_id=number),
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=document.currency,
        posting_date=posting_date,
        period=period.erp_id,
        lines=tuple(_trimmed(line, document.currency) for line in summed),
        memo=f"Summary {number} of {document.document_count} documents",
        exchange_rate=rate.sent,
    )
    check_posting(journal, book.code)
    if journal.total != document.total:
        raise Problem(
            "out_of_balance",
            Category.VALIDATION,
            f"The summary {number} is {journal.total}, and its documents were {document.total} when it was frozen",
            number=number,
            legal_entity=book.code,
        )
    return journal


def build_at_grain(
    lines: tuple[ArLine, ...], items: Mapping[str, ItemUse], accounts: Accounts, *, total: Decimal, legal_entity: str,
    is_credit: bool = False,
) -> tuple[JournalLine, ...]:  # fmt: skip
    """What an invoice or credit memo contributes: receivables, each line's revenue or deferral, tax by code.

    A negative line stands on the other side; it isn't netted. Raises Problem `missing_item_mapping` for an item that
    names no account: line level leaves that to the ERP, a journal can't.
    """
    flip = -1 if is_credit else 1
    by_item = {use.item: (key.partition("|")[0], use) for key, use in items.items()}
    journal = [_side(flip * total, JournalLine(account=accounts.receivables))]
    for line in lines:
        sku, use = by_item.get(line.item, ("#rounding", ItemUse(item=line.item, income_account=accounts.rounding)))
        is_deferred = line.revenue_start is not None
        account = use.deferral_account or use.income_account
        if not account:
            raise Problem(
                "missing_item_mapping",
                Category.MAPPING,
                f"The ERP's item {use.label or use.item} of SKU {sku} names no account, which a summary needs",
                kind="item",
                key=sku,
                legal_entity=legal_entity,
            )
        cell = JournalLine(
            account=account,
            department=line.department,
            class_=line.class_,
            location=line.location,
            tax_code="+".join(sorted({tax.code for tax in line.taxes})),
            revenue_start=line.revenue_start,
            revenue_end=line.revenue_end if is_deferred else None,
            revenue_rule=line.revenue_rule if is_deferred else "",
        )
        journal.append(_side(-flip * line.amount, cell))
        for tax in line.taxes:
            owed = JournalLine(account=tax.account or accounts.tax or "tax", tax_code=tax.code)
            journal.append(_side(-flip * tax.amount, owed))
    return sum_lines(journal)


def due_at(posting_date: dt.date, contributed_at: dt.datetime, *, time_zone: str, cut_off: str) -> dt.datetime:
    """From when a contribution is summed up: the entity's first cut-off after its day is over and it has come.

    What comes late is gathered until the next cut-off, so that a day gets at most one more document per day.
    """
    zone = ZoneInfo(time_zone)
    midnight = dt.datetime.combine(posting_date + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    earliest = max(midnight, contributed_at.astimezone(zone))
    at = dt.time.fromisoformat(cut_off)
    due = dt.datetime.combine(earliest.date(), at, tzinfo=zone)
    return due if due >= earliest else dt.datetime.combine(earliest.date() + dt.timedelta(days=1), at, tzinfo=zone)


def _side(amount: Decimal, cell: JournalLine) -> JournalLine:
    """The cell with the amount on its side: a debit above zero, a credit below."""
    return msgspec.structs.replace(cell, debit=max(amount, ZERO), credit=max(-amount, ZERO))


def _line_of(cell: Cell, amount: Decimal) -> JournalLine:
    where = cell._asdict()
    is_credit = where.pop("is_credit")
    line = JournalLine(**where, memo=f"Tax code {cell.tax_code}" if cell.tax_code else "")
    return msgspec.structs.replace(line, debit=ZERO if is_credit else amount, credit=amount if is_credit else ZERO)


def _trimmed(line: JournalLine, currency: str) -> JournalLine:
    """With the currency's own decimals; a database column adds zeros."""
    return msgspec.structs.replace(
        line, debit=round_money(line.debit, currency), credit=round_money(line.credit, currency)
    )


def _place(cell: Cell) -> tuple[str | bool, ...]:
    return (cell.is_credit, *(str(part or "") for part in cell[1:]))
