"""The demo's biller charges the taxes of the seller's country, and credits them with the line."""

import pytest

from connectors.sandbox.remote import ControlDoor
from connectors.sandbox.testing import running_sandboxes
from q2c.demo import feeding
from q2c.demo.taxes import make_tax_rates


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("taxes"), vendors=["stripe"]) as box:
        yield box


@pytest.fixture(scope="module")
def door(box) -> ControlDoor:
    return ControlDoor(box.port)


def subscribe(box, door, entity: str, currency: str, amount: int) -> str:
    """A subscription of an entity's new customer; its first invoice."""
    (customer,) = box.make("stripe", "customer", {"name": f"Customer of {entity}", "email": "ap@example.test"})
    (product,) = box.make("stripe", "product", {"name": "Platform"})
    price = {"product": product, "currency": currency, "unit_amount": amount, "recurring": {"interval": "year"}}
    (price_id,) = box.make("stripe", "price", price)
    given = {"customer": customer, "items": [{"price": price_id}], "collection_method": "send_invoice",
             "days_until_due": 30, "metadata": {"legal_entity": entity}}  # fmt: skip
    (made,) = box.make("stripe", "subscription", given)
    return door.call_stripe("GET", f"/v1/subscriptions/{made}")["latest_invoice"]


def test_tax_rates_are_made_once(door):
    assert make_tax_rates(door) == make_tax_rates(door)


def test_every_other_tick_the_invoices_are_taxed_by_their_sellers_country(box, door):
    taxed = {
        entity: subscribe(box, door, entity, currency, amount)
        for entity, currency, amount in (("GB01", "gbp", 10_010), ("US01", "usd", 10_010), ("DE01", "eur", 10_010))
    }
    assert feeding.finalize_invoices(door, 2) == "3 invoices sent"
    plain = subscribe(box, door, "GB01", "gbp", 10_010)
    assert feeding.finalize_invoices(door, 3) == "1 invoices sent"
    found = {name: door.call_stripe("GET", f"/v1/invoices/{id}") for name, id in {**taxed, "plain": plain}.items()}
    assert {name: [tax["amount"] for tax in each["total_taxes"]] for name, each in found.items()} == {
        "GB01": [2_002], "US01": [726, 250], "DE01": [], "plain": [],
    }  # fmt: skip


def test_a_credit_of_a_taxed_invoice_takes_a_tenth_of_its_line_with_the_tax(box, door):
    invoice = subscribe(box, door, "JP01", "jpy", 90_000)
    feeding.finalize_invoices(door, 4)
    waiting = [each["id"] for each in feeding.list_own_invoices(door, "open")]
    number = next(n for n in range(6, 6 * len(waiting) + 6, 6) if waiting[n % len(waiting)] == invoice)
    assert feeding.credit_invoice(door, number)
    (note,) = door.call_stripe("GET", "/v1/credit_notes", {"invoice": invoice})["data"]
    assert (note["total"], [tax["amount"] for tax in note["total_taxes"]]) == (9_900, [900])
