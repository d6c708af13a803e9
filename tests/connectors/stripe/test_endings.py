"""A subscription ends on a day of the seller's, and gives nothing back that nobody decided."""

import datetime as dt
from decimal import Decimal

import pytest
import time_machine

from connectors.families import SubscriptionPlan
from q2c.canonical import contract
from tests.connectors.lines import client_of, run


def subscribed(sandboxes, zone, number, *, start=dt.date(2026, 3, 1)):
    """A client, and a subscription of ours that runs since the first of the month, or the schedule of a later one."""
    given = sandboxes.vendor("stripe")
    (customer,) = sandboxes.make("stripe", "customer", {"name": "Northwind Ltd"})
    line = contract.OrderLine(line_id="l1", sku="PLAT-1", quantity=Decimal(1), unit_price=Decimal("300.00"),
                              billing_frequency="monthly")  # fmt: skip
    plan = SubscriptionPlan(
        external_id=f"sub-{number}", order_id=f"006-{number}", customer_id=customer, currency="GBP",
        start_date=start, term_months=12, lines=(line,), product_ids={},
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


@pytest.mark.parametrize(
    ("on", "already", "schedule", "ends"),
    [
        ("2026-03-12", None, "canceled", None),  # nothing has begun
        ("2026-03-20", "begins", "released", "at once"),
        ("2026-03-25", "begins", "released", "2026-03-25T00:00:00Z"),
        ("2026-03-20", "release", "released", "at once"),  # let go by an attempt that died, or by hand
        ("2026-03-20", "cancel", "canceled", "at once"),
    ],
)
def test_what_was_sold_for_later_ends_also_once_it_has_begun_and_gives_nothing_back(
    sandboxes, web, request, on, already, schedule, ends
):
    sandboxes.control("POST", "clock", {"now": "2026-03-12T12:00:00Z"})
    now = "2026-03-20T12:00:00Z" if already else "2026-03-12T12:00:00Z"
    try:
        with time_machine.travel(dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)):
            client, made = subscribed(sandboxes, "UTC", request.node.callspec.id, start=dt.date(2026, 3, 15))
        if already:
            sandboxes.control("POST", "clock", {"now": now})
        if already in ("release", "cancel"):
            given = {"prorate": "false", "invoice_now": "false"} if already == "cancel" else {}
            web.post(f"/subscription_schedules/{made}/{already}", data=given).raise_for_status()
        with time_machine.travel(dt.datetime.fromisoformat(now)):
            day, key = dt.date.fromisoformat(on), f"end-{request.node.callspec.id}"
            first, again = (run(client.cancel_subscription(made, on=day, key=key)) for _ in range(2))
            stands = run(client.subscription(made))
        planned = web.get(f"/subscription_schedules/{made}").json()
        begun = planned["subscription"] or planned["released_subscription"]
        subscription = web.get(f"/subscriptions/{begun}").json() if begun else {}
    finally:
        sandboxes.control("POST", "clock", {"reset": True})
    assert (made[:10], first.id, again.status, planned["status"]) == ("sub_sched_", again.id, first.status, schedule)
    customer = planned["customer"]
    assert web.get("/invoiceitems", params={"customer": customer}).json()["data"] == []
    assert len(web.get("/invoices", params={"customer": customer}).json()["data"]) == (1 if begun else 0)
    if begun is None:
        assert (first.id, first.status, stands.source.object_id, stands.status) == (made, "canceled", made, "canceled")
        return
    assert (first.id, stands.source.object_id, stands.schedule_id) == (begun, begun, made)
    is_at_once = ends == "at once"
    assert first.status == stands.status == subscription["status"] == ("canceled" if is_at_once else "active")
    if not is_at_once:
        assert subscription["cancel_at"] == int(dt.datetime.fromisoformat(ends).timestamp())


@pytest.mark.parametrize(
    ("given", "billed"), [({}, [-22_500, 30_000]), ({"prorate": "false", "invoice_now": "false"}, [30_000])]
)
def test_stripe_itself_gives_the_rest_back_with_a_schedule_that_has_begun_unless_told_not_to(
    sandboxes, web, given, billed
):
    sandboxes.control("POST", "clock", {"now": "2026-04-01T00:00:00Z"})
    try:
        (customer,) = sandboxes.make("stripe", "customer", {"name": "Northwind Ltd"})
        price = {"currency": "gbp", "unit_amount": 30_000, "recurring[interval]": "month", "product_data[name]": "P"}
        begins = int(dt.datetime(2026, 4, 2, tzinfo=dt.UTC).timestamp())
        made = web.post(
            "/subscription_schedules",
            data={"customer": customer, "start_date": begins, "end_behavior": "cancel",
                  "default_settings[collection_method]": "send_invoice",
                  "default_settings[invoice_settings][days_until_due]": 30,
                  "phases[0][items][0][price]": web.post("/prices", data=price).json()["id"],
                  "phases[0][duration][interval]": "year"},
        ).json()  # fmt: skip
        sandboxes.control("POST", "clock", {"now": "2026-04-09T12:00:00Z"})
        web.post(f"/subscription_schedules/{made['id']}/cancel", data=given).raise_for_status()
    finally:
        sandboxes.control("POST", "clock", {"reset": True})
    invoices = web.get("/invoices", params={"customer": customer}).json()["data"]
    assert sorted(invoice["total"] for invoice in invoices) == billed
