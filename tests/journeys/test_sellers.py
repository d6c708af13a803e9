"""Who buys from two of our entities: what takes a document back is the seller's who sold, whatever the customer's note
says by then."""

from __future__ import annotations

import pytest

from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import Ledger

pytestmark = pytest.mark.django_db(transaction=True)
FLOWS = ("invoice_to_erp", "credit_memo_to_erp", "credit_void_to_erp", "invoice_void_to_erp")
SOLD_BY_GERMANS = {"currency": "eur", "metadata": {"legal_entity": "DE01"}}


def sellers(house) -> dict[str, str]:
    open_ones = BusinessTransaction.objects.exclude(state="completed")
    assert list(open_ones.values_list("flow", "state", "held_step", "waits_for", "problem")) == []
    return dict(BusinessTransaction.objects.filter(flow__in=FLOWS).values_list("flow", "legal_entity_code"))


@pytest.mark.parametrize("is_on_its_way", [True, False])
def test_a_credit_of_a_paid_invoice_is_its_sellers_not_the_customers(house, is_on_its_way):
    invoice = house.invoice(house.customer(metadata={"legal_entity": "GB01"}), **SOLD_BY_GERMANS)
    house.pay(invoice)
    if not is_on_its_way:
        house.carry(seconds=40)
    house.credit(invoice, amount=264, metadata={})
    house.carry(seconds=40)
    assert sellers(house) == {"invoice_to_erp": "DE01", "credit_memo_to_erp": "DE01"}
    assert Ledger(house.sandboxes, "GB").balances() == {}


def test_a_credit_and_its_void_stay_with_the_seller_though_the_customers_note_says_another_by_then(house):
    customer = house.customer(address={"country": "DE"}, metadata={"legal_entity": "DE01"})
    invoice = house.invoice(customer, currency="eur", metadata={})
    house.carry(seconds=40)
    house.ask_stripe(f"customers/{customer}", **{"metadata[legal_entity]": "GB01"})
    credit = house.credit(invoice, amount=264, metadata={})
    house.carry(seconds=40)
    assert sellers(house) == {"invoice_to_erp": "DE01", "credit_memo_to_erp": "DE01"}
    house.void_credit(credit)
    house.carry(seconds=40)
    assert sellers(house)["credit_void_to_erp"] == "DE01"
    assert Ledger(house.sandboxes, "GB").balances() == {}


def test_the_void_of_an_invoice_is_its_sellers(house):
    invoice = house.invoice(house.customer(metadata={"legal_entity": "GB01"}), **SOLD_BY_GERMANS)
    house.carry(seconds=40)
    house.void(invoice)
    house.carry(seconds=40)
    assert sellers(house) == {"invoice_to_erp": "DE01", "invoice_void_to_erp": "DE01"}
    assert Ledger(house.sandboxes, "GB").balances() == {}
