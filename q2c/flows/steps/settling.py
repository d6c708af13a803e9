"""Applications of receipts and credit memos: one, or several that are changed in one act, one after the other."""

from __future__ import annotations

from typing import Any

from q2c.canonical.posting import CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling
from q2c.core.problems import Category, Problem
from q2c.posting.facts import Book


async def find_all(wanted: Settling, erp: Any) -> PostedDocument | None:
    """The last of them, if the ERP says that all are as asked for."""
    found = None
    for row in wanted.applications:
        found = await erp.find_application(row)
        if found is None:
            return None
    return found


async def apply_all(wanted: Settling, book: Book, erp: Any) -> PostedDocument:
    """Apply or release each; what is so already isn't touched again."""
    for row in wanted.applications:
        found = await erp.find_application(row) or await apply_one(row, book, erp)
    posted: PostedDocument = found
    return posted


async def apply_one(row: CashApplication, book: Book, erp: Any) -> PostedDocument:
    """Apply or release it. Where the ERP refuses a period, it's that of the receipt or credit memo, whose gain or loss
    of exchange would change: the Problem names it, by the ERP's id."""
    apply = erp.apply_credit_memo if row.kind == "credit_memo" else erp.apply_payment
    try:
        found: PostedDocument = await apply(row)
    except Problem as problem:
        if problem.category is Category.PERIOD_CLOSED:
            problem.subject |= await _period_of(row, book, erp)
        raise
    return found


async def _period_of(row: CashApplication, book: Book, erp: Any) -> dict[str, str]:
    holder = "ar_credit_memo" if row.kind == "credit_memo" else "receipt"
    try:
        held: PostedDocument = await erp.read(holder, row.payment)
    except Problem:
        return {}  # nobody can say which, and the refusal stands
    place = {"legal_entity": book.code, "ledger": "receivables", "connection": book.connection}
    return {**place, "erp_period": held.period} if held.period else {}
