"""Accounts are merged, or records linked by hand, while a sale, a customer or an invoice of theirs is on its way,
wherever it stands: each is made once and known, what people said stays, and what was made beside it a case names."""

from __future__ import annotations

import pytest
from django.db.transaction import atomic

from exceptions import resolutions
from exceptions.models import ExceptionCase
from exceptions.resolving import waivers
from mappings.identities import Change, propose_change
from mappings.models import CrossReference
from q2c.core.models import Person
from q2c.flows.order_to_subscription import ORDER_TO_SUBSCRIPTION
from q2c.portal.decisions import decide
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.deaths import bury, carry_and_die, write_points
from tests.journeys.test_merged_accounts import billed_to, customers

pytestmark = pytest.mark.django_db(transaction=True)
POINTS = [*write_points(ORDER_TO_SUBSCRIPTION), "await_customer:before", "await_activation:before"]
NO_CUSTOMER = {"save_customer:before_intent"}  # none was asked for yet: a merge is only followed
ENDED = {"create_subscription:after_commit"}  # with everything told: an ordinary merge
NOT_SOLD = {
    *(point for point in POINTS if point.startswith(("save_customer", "await_customer"))),
    "create_subscription:before_intent",
}


def person(name: str) -> Person:
    return Person.objects.get(username=name)


def say(*, why: str, **change) -> None:
    """Two people say what a record is in the ERP."""
    with atomic():
        proposal = propose_change(Change(connection="netsuite", **change), by=person("billing_ops"), why=why)
    agree(proposal)


def agree(proposal) -> None:
    decide(proposal, by=person("controller"), approve=True, why="", seen_hash=proposal.content_hash)


def merge(house, kept: str, gone: str) -> None:
    house.make("salesforce", "Account", [{"Id": kept, "MergeIds": [gone]}])
    house.poll()


def stop_at(house, point: str) -> None:
    assert carry_and_die(house.carry, point), f"the worker never came to {point}"


def go_on(house) -> None:
    bury()
    house.carry(seconds=60)


def reference(record: str, system: str = "stripe") -> str:
    found = CrossReference.objects.filter(record_key=record, connection__code=system)
    return found.values_list("external_id", flat=True).first() or ""


def account_of(account: str) -> str:
    """Billing's id of an account."""
    return reference(f"salesforce:Account:{account}")


def made(house, document_type: str, *, vendor: str = "stripe", without: set[str]) -> list[str]:
    """What the vendor's own log says that it made since."""
    return [entry["id"] for entry in house.made(vendor, document_type) if entry["id"] not in without]


def told() -> list[str]:
    """What open cases say was made beside its record."""
    cases = ExceptionCase.objects.filter(closed_at__isnull=True).order_by("pk")
    assert {case.kind for case in cases} <= {"made_beside"}
    return [case.subject["external_id"] for case in cases]


@pytest.mark.scenario(33, of="the customers of the CRM")
def test_a_sale_on_its_way_while_its_account_is_merged_is_made_once_and_known(house):
    kept = house.account(Name="Blue Bikes", AccountNumber="BB-0")
    first = house.win(kept)
    house.carry(seconds=60)
    stayed, beside = account_of(kept), []
    for count, point in enumerate(POINTS, start=1):
        before = {document: set(made(house, document, without=set())) for document in ("customer", "subscription")}
        gone = house.account(Name=f"Blue {count} Ltd", AccountNumber=f"BB-{count}")
        order = house.win(gone)
        stop_at(house, point)
        merge(house, kept, gone)
        go_on(house)
        assert house.held() == [], point
        (subscription,) = made(house, "subscription", without=before["subscription"])
        assert reference(f"salesforce:Opportunity:{order}") == subscription, point
        assert LineageLink.objects.filter(source_id=order, target_id=subscription).count() == 1, point
        new = made(house, "customer", without=before["customer"])
        assert len(new) == (point not in NO_CUSTOMER), point
        assert billed_to(house, order) == (stayed if point in NOT_SOLD else new[0]), point
        assert account_of(gone) == account_of(kept) == stayed == billed_to(house, first), point
        assert set(LineageLink.objects.filter(source_id=gone).values_list("target_id", flat=True)) == set(new), point
        beside += [] if point in ENDED else new
        assert told() == beside, point
        states = BusinessTransaction.objects.filter(source_id=order, flow="order_to_subscription")
        assert sorted(states.values_list("state", flat=True)) == ["cancelled", "completed"]  # told anew: only moved
    before_later = customers(house)
    later = house.win(kept)
    house.carry(seconds=60)
    assert (billed_to(house, later), customers(house), told()) == (stayed, before_later, beside)


@pytest.mark.scenario(33, of="the customers of the CRM")
def test_the_first_customer_of_two_accounts_that_became_one_is_that_of_both(house):
    kept, gone = house.account(Name="Blue Bikes"), house.account(Name="Blue Ltd", AccountNumber="BB-2")
    order = house.win(gone)
    stop_at(house, "await_customer:before")
    merge(house, kept, gone)
    go_on(house)
    (customer,) = made(house, "customer", without=set())
    assert account_of(kept) == account_of(gone) == customer == billed_to(house, order)
    later = house.win(kept)
    house.carry(seconds=60)
    assert (billed_to(house, later), customers(house)) == (customer, [1, 1])
    assert (house.held(), told()) == ([], [])


@pytest.mark.scenario(33, of="the customers of the CRM")
def test_of_two_first_sales_on_their_way_each_is_made_and_one_customer_stays(house, client):
    kept, gone = house.account(Name="Blue Bikes"), house.account(Name="Blue Ltd", AccountNumber="BB-2")
    orders = [house.win(kept), house.win(gone)]
    house.carry(until=lambda: house.states("order_to_subscription") == {"waiting": 2}, without="customer_to_erp")
    merge(house, kept, gone)
    house.carry(seconds=60)
    both = made(house, "customer", without=set())
    (beside,) = told()
    (stays,) = set(both) - {beside}
    assert account_of(kept) == account_of(gone) == stays
    assert {billed_to(house, order) for order in orders} <= set(both)
    assert (len(made(house, "subscription", without=set())), house.held()) == (2, [])
    client.force_login(person("controller"))
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    page = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert beside in page
    assert "Another customer was made in Stripe for" in page
    assert f"is {stays} there" in page
    waivers.waive(case, by=person("controller"), reason="merged in Stripe by hand", code="looked_into")
    assert told() == []


def test_a_customer_that_people_linked_while_its_answer_was_lost_stays_where_they_said(house):
    known = house.customer(name="Blue Bikes")
    house.carry()
    stands = reference(f"stripe:customer:{known}", "netsuite")
    fault = house.fault("netsuite", "lose_answer", when={"method": "PUT", "path": "*/customer/*"})
    record = f"stripe:customer:{house.customer(name='Blue Bikes Ltd')}"
    house.carry(until=lambda: house.states("customer_to_erp").get("unknown") == 1)
    customer = {"record_type": "customer", "record_key": record, "external_type": "customer"}
    say(**customer, external_id=stands, is_shared=True, why="The same company")
    house.let_go_on("netsuite", fault)
    house.carry_to_the_end("customer_to_erp")
    (beside,) = made(house, "customer", vendor="netsuite", without={stands})
    assert (reference(record, "netsuite"), told(), house.held()) == (stands, [beside], [])
    invoice = house.invoice(record.rpartition(":")[2])
    house.carry(seconds=60)
    posted = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    assert posted.state == "completed"
    items = house.sandboxes.control("GET", "netsuite/documents/invoice")["items"]
    assert [each["entity"]["id"] for each in items if each["id"] == posted.target_id] == [stands]


@pytest.mark.parametrize("decision", ["as it was made", "as it is stored"])
def test_an_invoice_that_people_linked_while_its_answer_was_lost_is_held_until_they_say_which(house, client, decision):
    customer = house.customer()
    house.carry()
    fault = house.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice"})
    record = f"stripe:invoice:{house.invoice(customer)}"
    house.carry(until=lambda: house.states("invoice_to_erp").get("unknown") == 1)
    invoice = {"record_type": "invoice", "record_key": record, "external_type": "ar_invoice"}
    say(**invoice, external_id="990001", why="Typed in by hand")
    house.let_go_on("netsuite", fault)
    house.hasten()
    house.carry(until=lambda: house.held() != [])
    (ours,) = [entry["id"] for entry in house.made("netsuite", "invoice")]
    assert house.held() == ["cross_reference_conflict"]
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    client.force_login(person("billing_ops"))
    page = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert "there already" in page
    assert "Point the record at" in page
    if decision == "as it was made":
        say(**invoice, external_id=ours, was="990001", was_linked=True, why="Ours is right, the other was reversed")
        resolutions.repost(case, by=person("controller"), reason="pointed at ours")
    else:
        (proposal,) = resolutions.propose_overrides(case, by=person("billing_ops"), reason="Ours was reversed there")
        agree(proposal)
    house.hasten()
    house.carry(seconds=60)
    assert len(house.made("netsuite", "invoice")) == 1
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert reference(record, "netsuite") == (ours if decision == "as it was made" else "990001")
    assert LineageLink.objects.filter(source_id=record.rpartition(":")[2], target_id=ours).exists()
