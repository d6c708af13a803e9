"""The demo's services are billed with the taxes of the seller's country, and credited with them."""

from decimal import Decimal

import pytest

from connectors.sandbox.remote import ControlDoor
from connectors.sandbox.testing import running_sandboxes
from q2c.demo.company import list_prices
from q2c.demo.services import bill_service, build_item, credit_service
from q2c.demo.taxes import make_tax_rates


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("services"), vendors=["stripe"]) as box:
        box.control("POST", "stripe/limits", {"enforced": False})
        yield box


@pytest.fixture(scope="module")
def door(box) -> ControlDoor:
    return ControlDoor(box.port)


def subscribe(box, entity: str, currency: str) -> str:
    """A customer of an entity with a subscription; the customer's id."""
    (customer,) = box.make("stripe", "customer", {"name": f"Customer of {entity}", "email": "ap@example.test"})
    (product,) = box.make("stripe", "product", {"name": "Platform"})
    price = {"product": product, "currency": currency, "unit_amount": 10_000, "recurring": {"interval": "year"}}
    (price_id,) = box.make("stripe", "price", price)
    box.make("stripe", "subscription", {
        "customer": customer, "items": [{"price": price_id}], "collection_method": "send_invoice", "days_until_due": 30,
        "metadata": {"legal_entity": entity},
    })  # fmt: skip
    return customer


def test_tax_rates_are_made_once(door):
    assert make_tax_rates(door) == make_tax_rates(door)


def test_a_service_is_one_of_the_catalogues_single_sales_at_list_price():
    item = build_item(3, "gbp", ["txr_1"])
    prices = {(p.sku, p.unit_price) for p in list_prices() if p.currency == "GBP" and p.kind == "One-Time"}
    assert (item["metadata[sku]"], Decimal(item["amount"]) / 100) in prices
    assert item["tax_rates[]"] == ["txr_1"]


def test_nobody_is_billed_where_no_entity_charges_taxes(box, door):
    subscribe(box, "DE01", "eur")
    assert bill_service(door, 3) == ""


@pytest.mark.parametrize(("entity", "currency", "rates"), [("GB01", "gbp", [20]), ("US01", "usd", [7.25, 2.5])])
def test_a_service_is_taxed_once_and_credited_by_a_tenth_with_its_tax(box, door, entity, currency, rates):
    box.control("POST", "reset", {"vendors": None, "keep": "reference"})
    customer = subscribe(box, entity, currency)
    for _ in range(2):  # a crash in between repeats the tick
        assert "with tax" in bill_service(door, 12)
    invoices = door.call_stripe("GET", "/v1/invoices", {"customer": customer})["data"]
    (service,) = [each for each in invoices if each["metadata"].get("service") == "12"]
    net = Decimal(service["lines"]["data"][0]["amount"])
    taxes = [int(net * Decimal(str(rate)) / 100 + Decimal("0.5")) for rate in rates]
    assert [tax["amount"] for tax in service["total_taxes"]] == taxes
    assert service["total"] == net + sum(taxes)
    assert credit_service(door, 12).endswith("credited by a tenth")
    (note,) = door.call_stripe("GET", "/v1/credit_notes", {"invoice": service["id"]})["data"]
    tenth = int(net) // 10
    assert note["subtotal"] == tenth
    assert [tax["amount"] for tax in note["total_taxes"]] == [
        int(Decimal(tenth) * Decimal(str(rate)) / 100 + Decimal("0.5")) for rate in rates
    ]
