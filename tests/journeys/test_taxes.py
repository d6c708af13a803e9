"""Taxed documents in the ERP, exact to the cent: each tax of each line as billing computed it, never recomputed.

The tables below were worked out by hand from the tax rates; nothing of them is read from the portal.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from connectors.models import ReferenceEntry
from connectors.sandbox.remote import ControlDoor
from q2c.demo.taxes import make_tax_rates
from q2c.transactions.models import BusinessTransaction
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)

VAT, ZERO, REVERSE = "GB VAT standard", "GB VAT zero-rated", "GB VAT reverse charge"
STATE, COUNTY, JAPAN = "California State Tax", "Los Angeles County Tax", "JP Consumption Tax standard"
# Story -> (entity, currency, lines in minor units with their tax rates, what NetSuite must hold:
#           [(net amount, [(tax code, base, rate, tax)])], tax, total)
STORIES: dict[str, tuple[str, str, list[dict[str, Any]], list[Any], float, float]] = {
    "exclusive": (
        "GB01", "gbp",
        [{"amount": 10_000, "tax_rates": ["gb-vat"]}, {"amount": 3_333, "tax_rates": ["gb-vat"]}],
        [(100.0, [(VAT, 100.0, 20.0, 20.0)]), (33.33, [(VAT, 33.33, 20.0, 6.67)])],
        26.67, 160.0,
    ),
    "inclusive": (
        "GB01", "gbp",
        [{"amount": 12_000, "tax_rates": ["gb-vat-inclusive"]}, {"amount": 999, "tax_rates": ["gb-vat-inclusive"]}],
        [(100.0, [(VAT, 100.0, 20.0, 20.0)]), (8.32, [(VAT, 8.32, 20.0, 1.67)])],
        21.67, 129.99,
    ),
    "state and county": (
        "US01", "usd",
        [{"amount": 19_999, "tax_rates": ["us-ca", "us-ca-la"]}, {"amount": 5_000}],
        [(199.99, [(STATE, 199.99, 7.25, 14.5), (COUNTY, 199.99, 2.5, 5.0)]), (50.0, [])],
        19.5, 269.49,
    ),
    "a county that taxes a part": (
        "US01", "usd",
        [{"amount": 10_000, "tax_amounts": [
            {"amount": 725, "taxable_amount": 10_000, "tax_rate": "us-ca"},
            {"amount": 100, "taxable_amount": 4_000, "tax_rate": "us-ca-la"}]}],
        [(100.0, [(STATE, 100.0, 7.25, 7.25), (COUNTY, 40.0, 2.5, 1.0)])],
        8.25, 108.25,
    ),
    "zero-rated": (
        "GB01", "gbp",
        [{"amount": 25_000, "tax_rates": ["gb-zero"]}],
        [(250.0, [(ZERO, 250.0, 0.0, 0.0)])],
        0.0, 250.0,
    ),
    "reverse charge": (
        "GB01", "gbp",
        [{"amount": 40_000, "tax_amounts": [
            {"amount": 0, "taxable_amount": 40_000, "tax_rate": "gb-zero", "taxability_reason": "reverse_charge"}]}],
        [(400.0, [(REVERSE, 400.0, 0.0, 0.0)])],
        0.0, 400.0,
    ),
    "yen": (
        "JP01", "jpy",
        [{"amount": 1_999, "tax_rates": ["jp-consumption"]}],
        [(1999.0, [(JAPAN, 1999.0, 10.0, 200.0)])],
        200.0, 2199.0,
    ),
    "discount before tax": (
        "GB01", "gbp",
        [{"amount": 10_000, "discount_amounts": [{"amount": 1_000}], "tax_rates": ["gb-vat"]}],
        [(90.0, [(VAT, 90.0, 20.0, 18.0)])],
        18.0, 108.0,
    ),
    "discount before an inclusive tax": (
        "GB01", "gbp",
        [{"amount": 12_000, "discount_amounts": [{"amount": 1_200}], "tax_rates": ["gb-vat-inclusive"]}],
        [(90.0, [(VAT, 90.0, 20.0, 18.0)])],
        18.0, 108.0,
    ),
    "voucher after tax": (
        "GB01", "gbp",
        [{"amount": 10_000, "tax_rates": ["gb-vat"]}, {"amount": -1_200}],
        [(100.0, [(VAT, 100.0, 20.0, 20.0)]), (-12.0, [])],
        20.0, 108.0,
    ),
}  # fmt: skip
# Four credits of one invoice of 33.33 + 6.67: its tax isn't four times the tax of a quarter.
QUARTERS = [(833, 167), (833, 167), (833, 167), (834, 166)]


@pytest.fixture
def rates(house):
    return make_tax_rates(ControlDoor(house.sandboxes.port))


def bill(house, customer: str, rates: dict[str, str], entity: str, currency: str, lines: list[dict]) -> str:
    notes = {"metadata": {"sku": "QB-API"}, "description": "QB-API", "quantity": 1}
    given = []
    for line in lines:
        named = {**notes, **line}
        if "tax_rates" in line:
            named["tax_rates"] = [rates[code] for code in line["tax_rates"]]
        if "tax_amounts" in line:
            named["tax_amounts"] = [{**tax, "tax_rate": rates[tax["tax_rate"]]} for tax in line["tax_amounts"]]
        given.append(named)
    return house.invoice(customer, currency=currency, metadata={"legal_entity": entity}, lines=given)


def held_by_netsuite(house, document_type: str) -> dict[str, dict[str, Any]]:
    """NetSuite's documents that its own log says were created in this journey, by external id."""
    made = {entry["id"] for entry in house.made("netsuite", document_type)}
    door = ControlDoor(house.sandboxes.port)
    return {each["externalId"]: each for each in door.documents("netsuite", document_type) if each["id"] in made}


def tell(document: dict[str, Any]) -> tuple[list[Any], float, float]:
    details: dict[str, list[Any]] = {}
    for each in document.get("taxDetails", {}).get("items", []):
        told = (each["taxCode"]["refName"], each["taxBasis"], each["taxRate"], each["taxAmount"])
        details.setdefault(each["taxDetailsReference"], []).append(told)
    lines = [(x["amount"], details.get(x.get("taxDetailsReference"), [])) for x in document["item"]["items"]]
    return lines, document["taxTotal"], document["total"]


@pytest.mark.scenario(39, of="taxed invoices and their credits")
def test_every_kind_of_tax_reaches_the_erp_as_billing_computed_it(house, rates):
    customers = {
        entity: house.customer(name=f"Customer of {entity}", metadata={"legal_entity": entity},
                               address={"country": entity[:2]})
        for entity in ("GB01", "US01", "JP01")
    }  # fmt: skip
    invoices = {
        story: bill(house, customers[entity], rates, entity, currency, lines)
        for story, (entity, currency, lines, *_) in STORIES.items()
    }
    house.carry(seconds=60)
    assert (house.held(), set(house.states("invoice_to_erp"))) == ([], {"completed"})
    held = held_by_netsuite(house, "invoice")
    assert len(held) == len(STORIES)
    found = {story: tell(held[f"inv-stripe-{invoice}"]) for story, invoice in invoices.items()}
    assert found == {story: tuple(row[3:]) for story, row in STORIES.items()}


@pytest.mark.scenario(39)
def test_four_partial_credits_of_a_taxed_invoice_sum_to_it_exactly(house, rates):
    customer = house.customer()
    invoice = bill(house, customer, rates, "GB01", "gbp", [{"amount": 3_333, "tax_rates": ["gb-vat"]}])
    line = ControlDoor(house.sandboxes.port).call_stripe("GET", f"/v1/invoices/{invoice}")["lines"]["data"][0]["id"]
    for net, tax in QUARTERS:
        taxes = [{"amount": tax, "taxable_amount": net, "tax_rate": rates["gb-vat"]}]
        part = {"type": "invoice_line_item", "invoice_line_item": line, "amount": net, "tax_amounts": taxes}
        house.make("stripe", "credit_note", [{"invoice": invoice, "lines": [part]}])
    house.carry(seconds=60)
    assert house.held() == []
    memos = held_by_netsuite(house, "creditMemo")
    assert sorted(tell(memo) for memo in memos.values()) == [
        *[([(8.33, [(VAT, 8.33, 20.0, 1.67)])], 1.67, 10.0)] * 3,
        ([(8.34, [(VAT, 8.34, 20.0, 1.66)])], 1.66, 10.0),
    ]
    (posted,) = held_by_netsuite(house, "invoice").values()
    assert (tell(posted)[1:], posted["amountRemaining"]) == ((6.67, 40.0), 0.0)


def test_a_credit_takes_item_tax_code_and_rate_of_its_invoice_although_the_rules_have_changed(house, rates):
    customer = house.customer()
    euro = ("GB01", "eur", [{"amount": 10_000, "tax_rates": ["gb-vat"]}])
    invoice = bill(house, customer, rates, *euro)
    house.carry(seconds=60)
    (posted,) = held_by_netsuite(house, "invoice").values()
    lists = {
        (row.list_name, row.code): row.external_id for row in ReferenceEntry.objects.filter(connection__code="netsuite")
    }
    make_rule("item", "QB-API", lists["items", "ROUNDING"], legal_entity="GB01")
    make_rule("tax_code", rates["gb-vat"], lists["tax_codes", "GB VAT exempt"], legal_entity="GB01")
    make_rule("manual_rate", "EUR/GBP", "0.5", legal_entity="GB01", until=dt.date(2099, 12, 31))
    line = ControlDoor(house.sandboxes.port).call_stripe("GET", f"/v1/invoices/{invoice}")["lines"]["data"][0]["id"]
    part = {"type": "invoice_line_item", "invoice_line_item": line, "amount": 5_000}
    house.make("stripe", "credit_note", [{"invoice": invoice, "lines": [part]}])
    later = bill(house, customer, rates, *euro)
    house.carry(seconds=60)
    assert house.held() == []
    (memo,) = held_by_netsuite(house, "creditMemo").values()
    after = held_by_netsuite(house, "invoice")[f"inv-stripe-{later}"]
    assert tell(memo) == ([(50.0, [(VAT, 50.0, 20.0, 10.0)])], 10.0, 60.0)
    assert [used(posted), used(memo)] == [("QB-API", VAT, posted["exchangeRate"])] * 2
    assert used(after) == ("ROUNDING", "GB VAT exempt", 0.5)


def used(document: dict[str, Any]) -> tuple[str, str, float]:
    (line,), (tax,) = document["item"]["items"], document["taxDetails"]["items"]
    return line["item"]["refName"], tax["taxCode"]["refName"], document["exchangeRate"]


def test_a_tax_code_that_nobody_mapped_is_held_with_its_name(house, rates):
    unknown = house.make(
        "stripe", "tax_rate", [{"display_name": "VAT", "percentage": 5, "inclusive": False, "country": "GB"}]
    )[0]
    customer = house.customer()
    bill(house, customer, {"new": unknown}, "GB01", "gbp", [{"amount": 10_000, "tax_rates": ["new"]}])
    house.carry()
    held = BusinessTransaction.objects.get(state="held")
    assert (held.problem_code, held.problem["subject"]["key"]) == ("missing_tax_code_mapping", unknown)
    assert house.made("netsuite", "invoice") == []
