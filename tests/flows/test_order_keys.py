"""Which change of a won order is a new fact: what the flow reads, and nothing else."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from q2c.canonical import events
from q2c.canonical.base import Source
from q2c.canonical.contract import Order, OrderLine
from q2c.flows.facts import About, facts_of

WON_AT = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)
SOURCE = Source(connection="salesforce", object_type="Opportunity", object_id="006000000000001AAA")
LINE = OrderLine(line_id="1", sku="QB-API", quantity=Decimal(2), unit_price=Decimal("10.00"))


def key(**changes) -> str:
    given = {
        "source": SOURCE, "number": "Q-1", "customer_id": "001000000000001AAA", "currency": "GBP",
        "start_date": dt.date(2026, 12, 1), "term_months": 12, "lines": (LINE,), "quote_status": "Approved", **changes,
    }  # fmt: skip
    (fact,) = facts_of(events.OrderClosedWon(occurred_at=WON_AT, order=Order(**given)), About(occurred_at=WON_AT))
    return fact.business_key


@pytest.mark.parametrize("changes", [{"quote_status": "Accepted"}, {"name": "Renamed"}, {"amount": Decimal(20)}])
def test_what_the_flow_does_not_read_makes_no_new_fact(changes):
    assert key(**changes) == key()


@pytest.mark.parametrize(
    "changes", [{"quote_status": "Draft"}, {"term_months": 24}, {"start_date": dt.date(2027, 1, 1)}]
)
def test_what_the_flow_reads_does(changes):
    assert key(**changes) != key()


def test_a_quote_that_is_approved_at_last_is_a_new_fact_of_the_order():
    assert key(quote_status="Draft") != key(quote_status="In Review") != key(quote_status="Approved")
