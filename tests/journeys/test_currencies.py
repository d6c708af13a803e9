"""Documents in a currency or of an entity that their customer's ERP record didn't allow yet: allowed once, posted
exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest

from q2c.core.models import Subsidiary
from q2c.demo.seed import ENTITIES
from q2c.transactions.models import BusinessTransaction

pytestmark = pytest.mark.django_db(transaction=True)
UNITS = {"JPY": (12_345, Decimal(12345)), "KWD": (12_340, Decimal("12.340"))}  # Stripe's integers, and what they are
CODES = {"Japanese Yen": "JPY", "Kuwaiti Dinar": "KWD", "USA": "USD", "British Pound": "GBP"}


def billed(house, document_type="invoice"):
    """What NetSuite holds: entity's subsidiary, currency and total of each document."""
    items = house.sandboxes.control("GET", f"netsuite/documents/{document_type}?limit=100")["items"]
    entities = {s.name: s.legal_entity.code for s in Subsidiary.objects.select_related("legal_entity")}
    return sorted(
        (entities[d["subsidiary"]["refName"]], CODES[d["currency"]["refName"]], Decimal(str(d["total"]))) for d in items
    )


@pytest.mark.scenario(40, of="amounts of every kind of document")
def test_every_entity_bills_yen_and_dinars_to_the_last_digit(house):
    expected = []
    for entity, name, country, *_rest in ENTITIES:
        address = {"country": country}
        customer = house.customer(name=f"Customer of {name}", metadata={"legal_entity": entity}, address=address)
        for currency in ("JPY", "KWD"):
            units, amount = UNITS[currency]
            house.invoice(customer, amount=units, currency=currency.lower(), metadata={"legal_entity": entity})
            expected.append((entity, currency, amount))
    house.carry(seconds=60)
    assert house.held() == []
    assert billed(house) == sorted(expected)
    assert house.states("customer_use_to_erp") == {"completed": 13}  # JP01 needs nothing for its own yen
    assert len(house.made("netsuite", "customer")) == len(ENTITIES)
    assert len(house.made("netsuite", "customer", "updated")) == 13
    assert house.made("netsuite", "customerSubsidiaryRelationship") == []


def test_another_entity_and_currency_are_allowed_once_for_invoice_credit_and_cash(house):
    customer = house.customer()
    japan = {"legal_entity": "JP01"}
    invoices = [house.invoice(customer, amount=5_000, currency="jpy", metadata=japan) for _ in range(3)]
    house.make("stripe", "credit_note", [{"invoice": invoices[0], "amount": 1_000, "metadata": japan}])
    dollars = house.invoice(customer, amount=12_345, currency="usd")
    house.carry(seconds=60)
    house.make("stripe", "credit_note", [{"invoice": dollars, "amount": 345, "metadata": {"legal_entity": "GB01"}}])
    house.carry(seconds=60)
    assert house.held() == []
    assert billed(house) == [("GB01", "USD", Decimal("123.45")), *[("JP01", "JPY", Decimal(5000))] * 3]
    assert billed(house, "creditMemo") == [("GB01", "USD", Decimal("3.45")), ("JP01", "JPY", Decimal(1000))]
    assert len(house.made("netsuite", "customerSubsidiaryRelationship")) == 1
    assert len(house.made("netsuite", "customer", "updated")) == 2  # yen, then dollars
    assert house.states("customer_use_to_erp") == {"completed": 2}


def test_an_order_in_another_currency_than_its_sellers_is_sold_and_invoiced(house):
    account = house.account()
    house.win(account, currency="USD")
    house.carry(seconds=60)
    assert house.held() == []
    assert [d[:2] for d in billed(house)] == [("GB01", "USD")]
    posted = BusinessTransaction.objects.get(flow="invoice_to_erp")
    assert posted.currency == "USD"


def test_a_customer_that_changes_keeps_the_currencies_and_entities_that_were_added(house):
    customer = house.customer()
    house.invoice(customer, amount=12_345, currency="usd")
    house.carry()
    house.ask_stripe(f"customers/{customer}", name="Northwind plc")
    house.carry()
    house.invoice(customer, amount=100, currency="usd")
    house.invoice(customer, amount=200)
    house.carry()
    assert house.held() == []
    assert len(billed(house)) == 3
    held = house.sandboxes.control("GET", "netsuite/documents/customer?limit=10")["items"]
    assert [(c["companyName"], CODES[c["currency"]["refName"]]) for c in held] == [("Northwind plc", "GBP")]
    assert [CODES[x["currency"]["refName"]] for x in held[0]["currencyList"]["items"]] == ["GBP", "USD"]
