"""Whether a plan was given up after it had taken its document back: that stands in the ERP, and our cross-reference
doesn't say so. What would take the same back once more is held until people finished the plan or put it right."""

from __future__ import annotations

from typing import Any

from q2c.core.problems import Category, Problem
from q2c.flows.steps.receivables import UNWINDING_FLOW

REVERSAL_FLOW = "reversal_to_erp"
# What each plan's writes are called once it has taken its document back: releasing what settles it isn't that.
TAKES_BACK = {
    UNWINDING_FLOW: {"ar_credit_memo": "credit memo", "ar_invoice": "invoice"},
    REVERSAL_FLOW: {"journal": "journal"},
}


def name_left(flow: str, state: str, kind: str, document: str) -> str:
    """What a plan in this state, which wrote `document` last, left behind in the ERP when it was given up; empty where
    it wasn't, or took nothing back yet."""
    word = TAKES_BACK[flow].get(kind, "") if state == "cancelled" else ""
    return f"{word} {document}" if word else ""


def find_left(flow: str, connection: str, source_id: str, links: Any) -> str:
    """As `name_left`, of the newest plan about a document."""
    state, kind, document = links.written(flow, connection, source_id)
    return name_left(flow, state, kind, document)


def stands_elsewhere(record: tuple[str, str], erp: str, taken: str, links: Any) -> bool:
    """Whether people pointed the record at another document of the ERP than the one that was taken back (`taken`)."""
    found = links.find(*record, erp)
    return found is not None and found.external_id != taken


def refuse(name: str, left: str, *, connection: str, document: str) -> Problem:
    """The Problem that holds what would take it back once more."""
    return Problem(
        "plan_half_done",
        Category.CONFLICT,
        f"A plan about {name} was given up after it posted {left}, which stands in the ERP",
        connection=connection,
        document=document,
    )
