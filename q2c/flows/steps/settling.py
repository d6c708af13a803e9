"""Applications of receipts and credit memos: one, or several that are changed in one act, one after the other, and what
the ERP then has applied beside what was asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical.posting import AppliedTo, CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling
from q2c.core.money import spoken_money
from q2c.core.problems import Category, Problem
from q2c.flows.steps import post
from q2c.posting.facts import Book


def compare_applied(document: PostedDocument, wanted: CashApplication | Settling, was_found: bool) -> Problem | None:
    """None when the ERP has applied as much to each open item as was asked for, and nothing to those released;
    otherwise the Problem that holds the transaction. `document.applied` says what it has applied to any of them."""
    rows = wanted.applications if isinstance(wanted, Settling) else (wanted,)
    asked, has = [each for row in rows for each in row.apply_to], list(document.applied)
    if _figures(asked) == _figures(has):
        return None
    currency = rows[0].currency_code
    ours, theirs = _sum(asked), _sum(has)
    there = spoken_money(theirs, currency) if ours != theirs else "it applied otherwise"
    summary = f"{spoken_money(ours, currency)} is to be applied, and the ERP has {there}"
    return post.differs(was_found, document, wanted.external_id, summary, asked=ours, booked=theirs)


def _figures(rows: list[AppliedTo]) -> list[tuple[str, Decimal]]:
    return sorted((row.document, row.amount) for row in rows)


def _sum(rows: list[AppliedTo]) -> Decimal:
    return sum((row.amount for row in rows), Decimal(0))


async def read_applied(row: CashApplication, erp: Any) -> PostedDocument:
    """What the receipt or credit memo applies now to whatever this is about, though that be otherwise than asked."""
    holder: PostedDocument = await erp.read("ar_credit_memo" if row.kind == "credit_memo" else "receipt", row.payment)
    about = {each.document for each in row.apply_to} | set(row.released)
    return PostedDocument(
        document_type="application", id=holder.id, external_id=row.external_id, number=holder.number,
        currency_code=holder.currency_code or row.currency_code,
        applied=tuple(each for each in holder.applied if each.document in about), url=holder.url,
    )  # fmt: skip


async def read_all(wanted: Settling, erp: Any) -> PostedDocument:
    """The last of them, with what all apply now."""
    return _together([await read_applied(row, erp) for row in wanted.applications])


async def find_all(wanted: Settling, erp: Any) -> PostedDocument | None:
    """The last of them, with what all apply, if the ERP says that all are as asked for."""
    found = []
    for row in wanted.applications:
        document = await erp.find_application(row)
        if document is None:
            return None
        found.append(document)
    return _together(found)


async def apply_all(wanted: Settling, book: Book, erp: Any) -> PostedDocument:
    """Apply or release each; what is so already isn't touched again. The last of them, with what all apply."""
    rows = wanted.applications
    return _together([await erp.find_application(row) or await apply_one(row, book, erp) for row in rows])


def _together(found: list[PostedDocument]) -> PostedDocument:
    return msgspec.structs.replace(found[-1], applied=tuple(row for each in found for row in each.applied))


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
