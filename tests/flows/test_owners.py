"""Under whose key an exchange is sealed: who is billed, wherever the transaction came from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from connectors import http
from connectors.lanes import BACKFILL
from q2c.core.ids import uuid7
from q2c.flows.tasks import TOOLS


@pytest.mark.parametrize(
    ("source", "customer", "facts", "owner"),
    [
        ("stripe", "cus_1", {}, ("stripe", "cus_1")),
        ("api", "salesforce:Account:001A", {}, ("salesforce", "001A")),
        ("salesforce", "001A", {"payer": "salesforce:Account:001T"}, ("salesforce", "001T")),
        ("salesforce", "", {}, None),
    ],
)
def test_an_exchange_is_the_customers_who_is_billed(source, customer, facts, owner):
    run = SimpleNamespace(
        id=uuid7(), correlation_id="c", source_connection=source, customer_id=customer, facts=facts, priority=7,
        flow=SimpleNamespace(lane_type="customer"),
    )  # fmt: skip
    before = http.outgoing.set(http.Outgoing())
    TOOLS.dial(run, "save_customer", None)
    sent = http.outgoing.get()
    assert (sent.customer, sent.object_type, sent.lane) == (owner, "customer", BACKFILL)
    http.outgoing.reset(before)
