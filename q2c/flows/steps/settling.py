"""Applications of receipts and credit memos: several that are changed in one act, one after the other, and what the ERP
then has applied beside what was asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical.posting import AppliedTo, CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling
from q2c.core.money import spoken_money
from q2c.core.problems import Problem
from q2c.flows.steps import post


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


async def find_all(wanted: Settling, erp: Any) -> PostedDocument | None:
    """The last of them, with what all apply, if the ERP says that all are as asked for."""
    found = []
    for row in wanted.applications:
        document = await erp.find_application(row)
        if document is None:
            return None
        found.append(document)
    return _together(found)


async def apply_all(wanted: Settling, erp: Any) -> PostedDocument:
    """Apply or release each; what is so already isn't touched again. The last of them, with what all apply."""
    return _together([await erp.find_application(row) or await _apply(row, erp) for row in wanted.applications])


def _together(found: list[PostedDocument]) -> PostedDocument:
    return msgspec.structs.replace(found[-1], applied=tuple(row for each in found for row in each.applied))


async def _apply(row: CashApplication, erp: Any) -> PostedDocument:
    apply = erp.apply_credit_memo if row.kind == "credit_memo" else erp.apply_payment
    found: PostedDocument = await apply(row)
    return found
