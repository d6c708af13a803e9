"""A subscription ends on a day of the seller's, and gives nothing back that nobody decided."""

import datetime as dt
from decimal import Decimal

import pytest
import time_machine

from connectors.families import SubscriptionPlan
from q2c.canonical import contract
from tests.connectors.lines import client_of, run


def subscribed(sandboxes, zone, number):
    """A client, and a subscription of ours that runs since the first of the month."""
    given = sandboxes.vendor("stripe")
    (customer,) = sandboxes.make("stripe", "customer", {"name": "Northwind Ltd"})
    line = contract.OrderLine(line_id="l1", sku="PLAT-1", quantity=Decimal(1), unit_price=Decimal("300.00"),
                              billing_frequency="monthly")  # fmt: skip
    plan = SubscriptionPlan(
        external_id=f"sub-{number}", order_id=f"006-{number}", customer_id=customer, currency="GBP",
        start_date=dt.date(2026, 3, 1), term_months=12, lines=(line,), product_ids={},
        planned_at=dt.datetime.now(dt.UTC), time_zone=zone, metadata={},
    )  # fmt: skip
    client = client_of("stripe", given["url"], secrets=given["credentials"])
    return client, run(client.create_subscription(plan, key=f"key-{number}")).id


@pytest.mark.parametrize(
    ("zone", "now", "on", "ends_at"),
    [
        ("Asia/Tokyo", "2026-03-14T16:00:00Z", "2026-03-15", None),  # it's that day there, and not yet in UTC
        ("Asia/Tokyo", "2026-03-14T16:00:00Z", "2026-03-16", "2026-03-16T00:00:00Z"),
        ("America/Los_Angeles", "2026-03-15T03:00:00Z", "2026-03-14", None),
        ("America/Los_Angeles", "2026-03-15T03:00:00Z", "2026-03-15", "2026-03-15T08:00:00Z"),  # begun in UTC alone
        ("UTC", "2026-03-15T03:00:00Z", "2026-03-15", None),
    ],
)
def test_it_ends_when_the_day_begins_at_the_sellers_and_nothing_is_prorated(
    sandboxes, web, request, zone, now, on, ends_at
):
    sandboxes.control("POST", "clock", {"now": now})
    try:
        with time_machine.travel(dt.datetime.fromisoformat(now)):
            client, made = subscribed(sandboxes, zone, request.node.callspec.id)
            day = dt.date.fromisoformat(on)
            saved = run(client.cancel_subscription(made, on=day, key=f"end-{request.node.callspec.id}"))
        stands = web.get(f"/subscriptions/{made}").json()
    finally:
        sandboxes.control("POST", "clock", {"reset": True})
    assert saved.status == stands["status"] == ("active" if ends_at else "canceled")
    if ends_at:
        assert stands["cancel_at"] == int(dt.datetime.fromisoformat(ends_at).timestamp())
    assert web.get("/invoiceitems", params={"customer": stands["customer"]}).json()["data"] == []


@pytest.mark.parametrize(("behaviour", "given_back"), [({}, [-15_000]), ({"proration_behavior": "none"}, [])])
def test_stripe_itself_gives_the_rest_back_unless_told_not_to(sandboxes, web, behaviour, given_back):
    sandboxes.control("POST", "clock", {"now": "2026-04-02T00:00:00Z"})
    try:
        (customer,) = sandboxes.make("stripe", "customer", {"name": "Northwind Ltd"})
        price = {"currency": "gbp", "unit_amount": 30_000, "recurring[interval]": "month", "product_data[name]": "P"}
        begins = int(dt.datetime(2026, 4, 1, tzinfo=dt.UTC).timestamp())
        made = web.post(
            "/subscriptions",
            data={"customer": customer, "items[0][price]": web.post("/prices", data=price).json()["id"],
                  "backdate_start_date": begins, "collection_method": "send_invoice", "days_until_due": 30},
        ).json()  # fmt: skip
        ends = {"cancel_at": int(dt.datetime(2026, 4, 16, tzinfo=dt.UTC).timestamp())}
        web.post(f"/subscriptions/{made['id']}", data={**ends, **behaviour}).raise_for_status()
    finally:
        sandboxes.control("POST", "clock", {"reset": True})
    items = web.get("/invoiceitems", params={"customer": customer}).json()["data"]
    assert [item["amount"] for item in items] == given_back
