"""What a document names goes in the ERP between its mapping and its posting: an account, a tax code, a whole customer.
The document is held with what was refused and what to do; once that is mended it posts, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape

import pytest
from django.db.transaction import atomic
from django.test import Client

from connectors.sandbox.remote import ControlDoor
from exceptions import kinds, resolutions
from exceptions.models import ExceptionCase
from mappings.identities import change_of, propose_change
from mappings.models import CrossReference
from q2c.core.models import Person, Subsidiary
from q2c.demo.taxes import make_tax_rates
from q2c.flows.reference import refresh_reference
from q2c.portal.decisions import decide
from tests.journeys.house import House
from tests.journeys.ledger import CLEARING, RECEIVABLES
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = "vendor_reference_refused"


@contextmanager
def as_administrator(house) -> Iterator[Erp]:
    """The ERP's own administrator, who may do what our role may not."""
    house.sandboxes.control("POST", "netsuite/account", {"administrator": True})
    try:
        yield Erp(house.sandboxes)
    finally:
        house.sandboxes.control("POST", "netsuite/account", {"administrator": False})


def bill(house, customer):
    rate = make_tax_rates(ControlDoor(house.sandboxes.port))["gb-vat"]
    line = {"amount": 10_000, "quantity": 1, "metadata": {"sku": "QB-API"}, "tax_rates": [rate]}
    house.invoice(customer, lines=[line])


def pay(house, customer):
    house.make("stripe", "payment_intent", [{"customer": customer, "amount": 5_000, "currency": "gbp"}])


@dataclass(frozen=True)
class Going:
    """What goes, of which document, and what its case says."""

    record: str
    external_id: str
    says: str
    act: Callable[[House, str], None] = bill
    flow: str = "invoice_to_erp"
    makes: str = "invoice"
    code: str = REFUSED


GOING = {
    "receivables account": Going("account", RECEIVABLES, "Invalid account reference key {key}"),
    "clearing account": Going(
        "account", CLEARING, "Invalid account reference key {key}", pay, "payment_to_erp", "customerPayment"
    ),
    "tax code": Going("salesTaxItem", "GB-S", "Invalid taxcode reference key {key}"),
}
# What our copy of the ERP's list says to be gone, though it's active there again.
UNLISTED = {
    "tax_codes": Going(
        "salesTaxItem", "GB-S", "tax code {key}, which the ERP's list doesn't hold", code="missing_tax_code_mapping"
    ),
    "items": Going(
        "serviceSaleItem", "QB-API", "item {key}, which the ERP's list doesn't hold", code="missing_item_mapping"
    ),
}


def the_case():
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    return case


def shown(case):
    client = Client()
    client.force_login(person("controller"))
    return unescape(client.get(f"/exceptions/cases/{case.pk}/").content.decode())


def key_of(house, going):
    return Erp(house.sandboxes).read(going.record, f"eid:{going.external_id}")["id"]


@contextmanager
def posted_once_and_gone(house, going, customer) -> Iterator[None]:
    """One of its documents posts; then what they name is inactive in the ERP, for as long as this lasts."""
    going.act(house, customer)
    house.carry()
    place = f"{going.record}/{key_of(house, going)}"

    def switch(*, active):
        with as_administrator(house) as erp:
            assert erp.send("PATCH", place, {"isInactive": not active}).status_code == 204

    switch(active=False)
    try:
        yield
    finally:
        switch(active=True)


def held_ones(house, going, customer):
    """Two more documents are held, and the case says why and what to do."""
    for _ in range(2):
        going.act(house, customer)
    house.carry()
    assert house.states(going.flow) == {"completed": 1, "held": 2}
    assert len(house.made("netsuite", going.makes)) == 1
    case = the_case()
    assert (case.kind, case.category, case.occurrences.count()) == (going.code, "mapping", 2)
    assert going.says.format(key=key_of(house, going)) in case.summary
    assert kinds.kind_of(case.kind).runbook in shown(case)
    return case


def post_at_last(house, going, case):
    """What was held is continued, and each document is there once."""
    resolutions.repost(case, by=person("controller"), reason="active again")
    house.carry()
    assert (house.states(going.flow), house.held()) == ({"completed": 3}, [])
    made = [entry["external_id"] for entry in house.made("netsuite", going.makes)]
    assert (len(made), len(set(made))) == (3, 3)
    case.refresh_from_db()
    assert case.state == "resolved"


@pytest.mark.scenario(34)
@pytest.mark.parametrize("what", GOING)
def test_what_goes_inactive_holds_what_names_it_and_lets_it_post_once_when_it_is_back(house, what):
    going, customer = GOING[what], house.customer()
    with posted_once_and_gone(house, going, customer):
        case = held_ones(house, going, customer)
    post_at_last(house, going, case)


@pytest.mark.scenario(34)
@pytest.mark.parametrize("name", UNLISTED)
def test_what_our_copy_of_the_erps_list_lacks_is_never_named_there_without_what_the_list_says_of_it(house, name):
    going, customer = UNLISTED[name], house.customer()
    with posted_once_and_gone(house, going, customer):
        refresh_reference("netsuite", (name,))
    case = held_ones(house, going, customer)
    assert len(house.arrived("netsuite", "POST", f"*/record/v1/{going.makes}")) == 1
    refresh_reference("netsuite", (name,))
    post_at_last(house, going, case)
    for entry in house.made("netsuite", going.makes):
        (line,) = Erp(house.sandboxes).read(going.makes, entry["id"])["item"]["items"]
        assert {"revRecStartDate", "revRecEndDate", "taxDetailsReference"} <= set(line)


@pytest.mark.scenario(34)
@pytest.mark.parametrize("how", ["another is named", "it is made again"])
def test_a_customer_that_is_deleted_holds_its_documents_which_post_once_to_the_one_that_stands_in_for_it(house, how):
    customer = house.customer()
    house.carry()
    (gone,) = house.made("netsuite", "customer")
    with as_administrator(house) as erp:
        assert erp.send("DELETE", f"customer/{gone['id']}").status_code == 204
    for _ in range(2):
        house.invoice(customer)
    house.carry()
    assert (house.states("invoice_to_erp"), house.made("netsuite", "invoice")) == ({"held": 2}, [])
    case = the_case()
    assert (case.kind, case.occurrences.count()) == (REFUSED, 2)
    assert gone["id"] in case.summary
    assert kinds.kind_of(case.kind).runbook in shown(case)
    repoint(customer, gone["id"], "" if how == "it is made again" else another(house))
    if how == "it is made again":
        house.ask_stripe(f"customers/{customer}", name="Northwind plc")  # saved again in billing
        house.carry()
    resolutions.repost(case, by=person("controller"), reason="it stands in the ERP again")
    house.carry()
    assert (house.states("invoice_to_erp"), house.held()) == ({"completed": 2}, [])
    made = house.made("netsuite", "invoice")
    stands = CrossReference.objects.get(
        record_key=f"stripe:customer:{customer}", connection__code="netsuite"
    ).external_id
    assert stands != gone["id"]
    billed = [Erp(house.sandboxes).read("invoice", e["id"])["entity"]["id"] for e in made]
    assert billed == [stands] * 2
    case.refresh_from_db()
    assert case.state == "resolved"


def person(name):
    return Person.objects.get(username=name)


def another(house):
    """The ERP's people make the customer again by hand; its id."""
    book = Subsidiary.objects.get(legal_entity__code="GB01").external_id
    with as_administrator(house) as erp:
        return erp.create("customer", {"companyName": "Northwind Ltd", "subsidiary": {"id": book}})


def stands_as(customer):
    return CrossReference.objects.select_related("connection").get(
        record_key=f"stripe:customer:{customer}", connection__code="netsuite"
    )


def repoint(customer, was, to):
    """Two people say which customer of the ERP it is from now on, or that it's none."""
    known = stands_as(customer)
    assert known.external_id == was
    with atomic():
        proposal = propose_change(change_of(known, external_id=to), by=person("billing_ops"), why="deleted in the ERP")
    assert decide(proposal, by=person("controller"), approve=True, why="", seen_hash=proposal.content_hash)
