"""What we ask Stripe for, in its own form fields."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import SubscriptionPlan
from connectors.stripe import outbound
from q2c.canonical import contract, party
from q2c.canonical.base import Source

LINE = contract.OrderLine(line_id="l1", sku="PLAT-1", quantity=Decimal(10), unit_price=Decimal("83.333333"),
                          billing_frequency="monthly")  # fmt: skip
ONCE = contract.OrderLine(line_id="l2", sku="SETUP", quantity=Decimal(1), unit_price=Decimal(500),
                          billing_frequency="one_time")  # fmt: skip


def plan(**changes):
    given = {"external_id": "sub-1", "order_id": "006A", "customer_id": "cus_1", "currency": "GBP",
             "start_date": dt.date(2026, 11, 1), "term_months": 12, "lines": (LINE, ONCE), "product_ids": {},
             "planned_at": dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
             "time_zone": "Europe/London", "metadata": {"legal_entity": "GB01"}}  # fmt: skip
    return SubscriptionPlan(**{**given, **changes})


def test_nested_values_become_bracketed_names():
    assert outbound.form({"a": {"b": [{"c": 1}, {"c": True}]}, "d": None, "e": ""}) == [
        ("a[b][0][c]", "1"),
        ("a[b][1][c]", "true"),
        ("e", ""),
    ]


def test_a_subscription_says_its_order_and_its_days():
    body = dict(outbound.subscription(plan(), {"l1": "price_1", "l2": "price_2"}))
    assert body["items[0][price]"] == "price_1"
    assert body["items[0][quantity]"] == "10"
    assert body["add_invoice_items[0][price]"] == "price_2"
    assert body["metadata[order_id]"] == "006A"
    assert body["metadata[external_id]"] == "sub-1"
    assert body["metadata[legal_entity]"] == "GB01"
    assert body["backdate_start_date"] == str(int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()))
    assert body["cancel_at"] == str(int(dt.datetime(2027, 11, 1, tzinfo=dt.UTC).timestamp()))


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (dt.date(2026, 1, 31), 1, dt.date(2026, 2, 28)),
        (dt.date(2024, 2, 29), 12, dt.date(2025, 2, 28)),
        (dt.date(2026, 11, 1), 2, dt.date(2027, 1, 1)),
        (dt.date(2026, 12, 15), 12, dt.date(2027, 12, 15)),
        (dt.date(2026, 10, 31), 1, dt.date(2026, 11, 30)),
    ],
)
def test_months_end_where_the_calendar_says(day, months, expected):
    assert outbound.add_months(day, months) == expected


def test_another_amount_is_another_price():
    other = contract.OrderLine(line_id="l9", sku="PLAT-1", quantity=Decimal(1), unit_price=Decimal(90),
                               billing_frequency="monthly")  # fmt: skip
    keys = [outbound.lookup_keys(line, "GBP", product="PLAT-1") for line in (LINE, other, LINE)]
    assert len({*keys[0], *keys[1]}) == 4
    assert keys[0] == keys[2]


def test_a_sku_is_the_products_id_where_stripe_can_take_it():
    assert outbound.product_id("PLAT-1") == "PLAT-1"
    assert outbound.product_id("Platz für 5").startswith("sku-")
    assert outbound.product_id("a b") != outbound.product_id("a_b")


def test_part_quantities_cannot_be_said():
    half = contract.OrderLine(line_id="l1", sku="A", quantity=Decimal("0.5"), unit_price=Decimal(1),
                              billing_frequency="monthly")  # fmt: skip
    with pytest.raises(ValueError, match="whole quantities"):
        outbound.subscription(plan(lines=(half,)), {"l1": "p"})


def test_a_customer_carries_the_ids_by_which_it_is_found():
    account = party.Customer(
        source=Source(connection="salesforce", object_type="Account", object_id="001A"), name="Northwind Ltd",
        bill_to=party.Address(city="Leeds", country="GB"), legal_entity="GB01",
    )  # fmt: skip
    body = dict(outbound.customer(account, external_id="cus-001A"))
    assert body == {
        "name": "Northwind Ltd", "address[city]": "Leeds", "address[country]": "GB",
        "metadata[external_id]": "cus-001A",
        "metadata[crm_id]": "001A", "metadata[legal_entity]": "GB01",
    }  # fmt: skip
