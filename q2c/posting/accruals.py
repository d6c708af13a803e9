"""What a late document earned in its own period, as an entry of that period that is taken back in the next. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from q2c.canonical.posting import Accrual, AccruedLine, ArCreditMemo, ArInvoice, Journal, JournalLine
from q2c.core.ids import external_id
from q2c.core.money import ZERO
from q2c.posting.checks import check_posting
from q2c.posting.facts import Book, Period, RateUse

PREFIX = "acc"  # of the external ids
FLOW = "accrual_to_erp"
FLOWS = ("invoice_to_erp", "credit_memo_to_erp")  # whose documents may be accrued
RESULT = ("revenue", "expense")  # the classes of accounts that a period's result is made of
List = Mapping[str, Mapping[str, Any]]


def name_accrual(source_type: str, source_id: str, period: str) -> str:
    """What our accrual of a document in a period is called: an invoice and a credit note may share an id."""
    return f"{source_type}-{source_id}-{period}"


def accrued_lines(posting: ArInvoice | ArCreditMemo, items: List, accounts: List) -> tuple[AccruedLine, ...]:
    """What of this document belongs to its own period's result, by account and dimensions, without tax.

    A line with revenue dates is left out: the ERP's own plan makes its revenue. So is what isn't booked to revenue or
    expense (a voucher sold, a deposit).
    """
    sums: dict[tuple[str, str, str, str], Decimal] = {}
    for line in posting.lines:
        account = str(items.get(line.item, {}).get("attributes", {}).get("income_account") or "")
        found = accounts.get(account, {}).get("attributes", {}).get("account_class")
        if line.revenue_start is None and found in RESULT:
            key = (account, line.department, line.class_, line.location)
            sums[key] = sums.get(key, ZERO) + line.amount
    flip = -1 if isinstance(posting, ArCreditMemo) else 1
    return tuple(
        AccruedLine(account=account, amount=flip * amount, department=department, class_=class_, location=location)
        for (account, department, class_, location), amount in sorted(sums.items())
        if amount
    )


def build_accrual(
    accrual: Accrual, *, book: Book, currency: str, account: str, rate: RateUse, posting_date: dt.date, period: Period
) -> Journal:
    """Accrued revenue against the document's own accounts, with the day on which the ERP takes it back. Raises Problem
    when it doesn't add up."""
    lines = [_side(accrual, account, accrual.amount)]
    for line in accrual.lines:
        own = {"department": line.department, "class_": line.class_, "location": line.location}
        lines.append(_side(accrual, line.account, -line.amount, **own))
    journal = Journal(
        external_id=external_id(PREFIX, source=accrual.source.connection, object_id=accrual.source.object_id),
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=accrual.currency,
        posting_date=posting_date,
        period=period.erp_id,
        lines=tuple(line for line in lines if line.debit or line.credit),
        memo=f"{_memo(accrual)}, which posts later; taken back on {accrual.reversed_on.isoformat()}",
        exchange_rate=rate.rate if rate.source == "manual" else None,
        reversal_date=accrual.reversed_on,
    )
    check_posting(journal, book.code)
    return journal


def _side(accrual: Accrual, account: str, debit: Decimal, **more: Any) -> JournalLine:
    return JournalLine(account=account, debit=max(debit, ZERO), credit=max(-debit, ZERO), memo=_memo(accrual), **more)


def _memo(accrual: Accrual) -> str:
    return f"Accrual of {accrual.number}"[:200]
