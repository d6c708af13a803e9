"""Held documents as the machine reports them, for tests."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

from exceptions.occurrences import StepProblem
from q2c.core.ids import uuid7
from q2c.core.problems import Category, Problem

AT = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)  # a Friday


def missing_item(sku: str = "GTX-1", entity: str = "GB01") -> Problem:
    """A missing item mapping."""
    summary = f"NetSuite has no item for SKU {sku} in {entity}"
    subject = {"connection": "netsuite", "kind": "item", "key": sku, "legal_entity": entity}
    return Problem("missing_item_mapping", Category.MAPPING, summary, **subject)


def held(
    problem: Problem | None = None, *, transaction_id: UUID | None = None, amount: str = "10.00", **facts
) -> StepProblem:
    """One held document."""
    values = {
        "flow": "invoice_to_erp",
        "step": "map_items",
        "number": "INV-1",
        "legal_entity_code": "GB01",
        "currency": "GBP",
        "period_code": "2026-11",
        "connection_code": "netsuite",
        "at": AT,
        "worker": "w1",
    } | facts
    return StepProblem(
        problem=problem or missing_item(), transaction_id=transaction_id or uuid7(), amount=Decimal(amount), **values
    )
