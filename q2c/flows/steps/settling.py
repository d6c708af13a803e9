"""Several applications of receipts and credit memos that are changed in one act, one after the other."""

from __future__ import annotations

from typing import Any

from q2c.canonical.posting import CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling


async def find_all(wanted: Settling, erp: Any) -> PostedDocument | None:
    """The last of them, if the ERP says that all are as asked for."""
    found = None
    for row in wanted.applications:
        found = await erp.find_application(row)
        if found is None:
            return None
    return found


async def apply_all(wanted: Settling, erp: Any) -> PostedDocument:
    """Apply or release each; what is so already isn't touched again."""
    for row in wanted.applications:
        found = await erp.find_application(row) or await _apply(row, erp)
    posted: PostedDocument = found
    return posted


async def _apply(row: CashApplication, erp: Any) -> PostedDocument:
    apply = erp.apply_credit_memo if row.kind == "credit_memo" else erp.apply_payment
    found: PostedDocument = await apply(row)
    return found
