"""What an order may sell at, and that two people's word lets exactly what they saw pass."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.contract import Order, OrderLine
from q2c.core.problems import Problem
from q2c.flows.steps.orders import check_price


def order(*skus: str) -> Order:
    """An order that gives these SKUs away, which the price book sells at 10."""
    lines = tuple(
        OrderLine(line_id=sku, sku=sku, quantity=Decimal(1), unit_price=Decimal(0), list_price=Decimal(10))
        for sku in skus
    )
    source = Source(connection="salesforce", object_type="Opportunity", object_id="006A")
    return Order(
        source=source, number="O-1", customer_id="001A", currency="GBP", start_date=dt.date(2026, 11, 1),
        term_months=12, lines=lines,
    )  # fmt: skip


def test_a_gift_passes_only_where_two_people_accepted_this_very_gift():
    accepted: list[dict[str, str]] = []
    txn = SimpleNamespace(accepts=lambda problem: problem.subject in accepted)
    for sku in ("A", "B"):
        with pytest.raises(Problem) as held:
            check_price(order("A", "B"), txn)
        assert (held.value.code, held.value.subject["sku"]) == ("price_differs", sku)
        accepted.append(held.value.subject)
    assert check_price(order("A", "B"), txn) == "as the price book says"
    with pytest.raises(Problem):
        check_price(order("C"), txn)
