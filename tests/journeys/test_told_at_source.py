"""What holds a document stands on its record outside; saving there reads it again; once it posts the note is gone."""

from __future__ import annotations

import pytest

from exceptions import resolutions, tasks, writeback
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.inbox.replay import replay_event
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import Ledger
from tests.journeys.test_made_once import made_subscriptions
from tests.sandboxes.salesforce import Caller

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("Kestrel", "ap@kestrel.test", "Leeds")


def tell(house):
    """What beat does every few seconds, then the work that comes of it. Returns how many notes were new."""
    resolutions.make_way(also_sent_back=False)
    made = writeback.tell_sources()
    house.carry()
    return made


def changes(house, vendor, since):
    """What was changed by the vendor's own API since a place of its log, and the log's place now."""
    entries = house.sandboxes.log(vendor, after=since)
    return [(e["method"], e["path"]) for e in entries if e["effect"] != "none"], house.last(vendor)


def metadata_of(house, invoice):
    items = house.sandboxes.control("GET", "stripe/documents/invoice?limit=50")["items"]
    return next(item["metadata"] for item in items if item["id"] == invoice)


def test_an_invoice_says_in_billing_why_it_is_held_and_posts_once_it_is_corrected_there(house, settings):
    customer = house.customer(name="Kestrel Freight", email="ap@kestrel.test")
    house.carry()
    invoice = house.invoice(customer, metadata={"legal_entity": "GB99"})
    house.carry()
    (case,) = ExceptionCase.objects.filter(closed_at__isnull=True)
    assert house.held() == ["legal_entity_unknown"]
    mark = house.last("stripe")
    assert tell(house) == 1
    ours = ("POST", f"/v1/invoices/{invoice}")
    made, mark = changes(house, "stripe", mark)
    assert made == [ours]
    said = metadata_of(house, invoice)
    assert (said["q2c_status"], said["q2c_case"]) == ("held", f"{settings.BASE_URL}/exceptions/cases/{case.pk}/")
    assert "is “GB99”; right would be one of " in said["q2c_message"]
    assert ("GB01" in said["q2c_message"], [name for name in NAMES if name in str(said)]) == (True, [])
    house.poll()
    assert [tell(house), tell(house)] == [0, 0]
    assert changes(house, "stripe", mark)[0] == []  # our own change comes back as an event, and says nothing new
    house.ask_stripe(f"invoices/{invoice}", **{"metadata[legal_entity]": "GB01"})
    house.carry()
    assert (tell(house), house.held(), len(house.made("netsuite", "invoice"))) == (1, [], 1)
    house.poll()
    assert [tell(house), tell(house)] == [0, 0]
    made, mark = changes(house, "stripe", mark)
    assert made == [ours, ours]  # somebody's correction, and our note taken away
    assert metadata_of(house, invoice) == {"legal_entity": "GB01"}
    house.ask_stripe(f"invoices/{invoice}", **{"metadata[legal_entity]": "DE01"})
    house.carry()
    assert (tell(house), len(house.made("netsuite", "invoice")), house.held()) == (0, 1, [])  # posted is never edited


def test_a_correction_that_comes_before_the_document_is_held_is_not_lost(house):
    customer = house.customer(name="Kestrel Freight", email="ap@kestrel.test")
    house.carry()
    invoice = house.invoice(customer, metadata={"legal_entity": "GB99"})
    house.ask_stripe(f"invoices/{invoice}", **{"metadata[legal_entity]": "GB01"})
    house.carry()
    assert house.held() == ["legal_entity_unknown"]
    tasks.tell_sources()
    house.carry()
    tell(house)
    assert (house.held(), len(house.made("netsuite", "invoice"))) == ([], 1)


def test_an_order_says_in_the_crm_what_is_wrong_and_is_sold_once_it_is_saved_there(house, settings):
    account = house.account(Name="Kestrel Freight")
    line = {"PricebookEntryId": house.price("QB-API", "1495.50"), "Quantity": 2, "UnitPrice": "900.00"}
    won = house.win(account, OpportunityLineItems=[line])
    house.carry()
    assert house.held() == ["price_differs"]
    (case,) = ExceptionCase.objects.filter(closed_at__isnull=True)
    crm, mark = Caller(house.sandboxes), house.last("salesforce")
    asked = f"SELECT Q2C_Hold__c, Q2C_Hold_Message__c, Q2C_Hold_Case__c FROM Opportunity WHERE Id = '{won}'"
    assert tell(house) == 1
    made, mark = changes(house, "salesforce", mark)
    assert [path.rpartition("/")[2] for _, path in made] == [won]
    (said,) = crm.query(asked)
    assert (said["Q2C_Hold__c"], said["Q2C_Hold_Case__c"]) == (
        "held", f"{settings.BASE_URL}/exceptions/cases/{case.pk}/",
    )  # fmt: skip
    assert "Price of QB-API is “900”; right would be 1,495.50." in said["Q2C_Hold_Message__c"]
    assert [name for name in NAMES if name in str(said)] == []
    house.poll()
    house.carry()
    assert ([tell(house), tell(house)], changes(house, "salesforce", mark)[0]) == ([0, 0], [])
    (item,) = crm.query(f"SELECT Id FROM OpportunityLineItem WHERE OpportunityId = '{won}'")
    house.make("salesforce", "OpportunityLineItem", [{"Id": item["Id"], "UnitPrice": "1495.50"}])
    house.poll()
    house.carry()
    tell(house)
    tell(house)
    assert (house.held(), made_subscriptions(house)) == ([], 1)
    (said,) = crm.query(asked)
    assert {name: value for name, value in said.items() if name.startswith("Q2C")} == dict.fromkeys(
        ("Q2C_Hold__c", "Q2C_Hold_Message__c", "Q2C_Hold_Case__c")
    )


def test_what_is_corrected_back_before_the_correction_is_carried_posts_as_billing_says_it_now(house):
    house.map_item("NEW-2", like="QB-API")
    invoice = house.invoice(house.customer(), sku="NEW-2", metadata={"legal_entity": "GB99"})
    house.carry()
    assert house.held() == ["legal_entity_unknown"]
    for entity in ("GB01", "GB99"):  # both before the held one has made way
        house.ask_stripe(f"invoices/{invoice}", **{"metadata[legal_entity]": entity})
        house.carry()
    told = BusinessTransaction.objects.filter(flow="invoice_to_erp").order_by("lane_sequence")
    assert list(told.values_list("legal_entity_code", "state")) == [
        ("GB99", "held"), ("GB01", "cancelled"), ("GB99", "running"),
    ]  # fmt: skip
    tell(house)
    assert (house.held(), house.made("netsuite", "invoice")) == (["legal_entity_unknown"], [])
    assert list(told.values_list("state", flat=True)) == ["cancelled", "cancelled", "held"]


def test_what_is_corrected_and_corrected_back_posts_as_billing_says_it_now(house):
    invoice = house.invoice(house.customer(), sku="NEW-1", metadata={"legal_entity": "GB01"})
    house.carry()
    for entity in ("DE01", "GB01", "DE01", "GB01"):
        house.ask_stripe(f"invoices/{invoice}", **{"metadata[legal_entity]": entity})
        house.carry()
        tell(house)  # what was corrected makes way
    told = BusinessTransaction.objects.filter(flow="invoice_to_erp").order_by("lane_sequence")
    as_told = [(entity, "cancelled") for entity in ("GB01", "DE01") * 2] + [("GB01", "held")]
    assert list(told.values_list("legal_entity_code", "state")) == as_told
    for event in sorted(set(told.values_list("event_id", flat=True))):
        replay_event(event, by=Person.objects.get(username="platform"), reason="is it old by now?")
        house.carry()
    assert list(told.values_list("legal_entity_code", "state")) == as_told
    house.map_item("NEW-1", like="QB-API")
    (case,) = ExceptionCase.objects.filter(closed_at__isnull=True)
    resolutions.repost(case, by=Person.objects.get(username="controller"), reason="mapped")
    house.carry()
    assert (house.held(), len(house.made("netsuite", "invoice"))) == ([], 1)
    assert Ledger(house.sandboxes, "DE").balances() == {}
