"""A merge made in a system is followed: ids lead to the survivor, and no later sync undoes it."""

import datetime as dt

import pytest

from mappings.models import CrossReference
from mappings.references import Reference, store_references
from mappings.survivorship import owner_of as default_owner
from q2c.canonical import events, party
from q2c.canonical.base import Source
from q2c.core.models import AuditEntry
from q2c.flows.sightings import sighting_of
from q2c.links import Links, fetch_links
from q2c.records.merging import follow_merge
from q2c.records.models import GoldenRecord
from q2c.records.store import keys_known_as, store_records
from tests import factories

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
KEPT, GONE = "salesforce:Account:001W", "salesforce:Account:001L"


def owner_of(record_type, field, legal_entity):
    return default_owner(record_type, field)


def source(key):
    system, kind, identifier = key.split(":")
    return Source(connection=system, object_type=kind, object_id=identifier)


def see(key, family="crm", at=AT, **fields):
    customer = party.Customer(source=source(key), **{"name": key, **fields})
    return store_records(
        [sighting_of(events.CustomerChanged(occurred_at=at, customer=customer), family)], owner_of=owner_of
    )[0]


def merge():
    return follow_merge("customer", survivor=source(KEPT), merged=source(GONE), at=AT + HOUR, owner_of=owner_of)


@pytest.fixture
def two(db):
    """Two accounts, each with a customer in billing, and a child of the one that goes."""
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    see(KEPT, name="Blue Bikes")
    see(GONE, name="Blue Bikes Ltd", phone="7")
    see("salesforce:Account:001C", parent_id="001L")
    see("stripe:customer:cus_L", "billing", crm_id=GONE)
    references = [
        Reference("customer", KEPT, "stripe", "customer", "cus_W"),
        Reference("customer", GONE, "stripe", "customer", "cus_L"),
        Reference("customer", "stripe:customer:cus_W", "netsuite", "customer", "1"),
        Reference("customer", "stripe:customer:cus_L", "netsuite", "customer", "2"),
    ]
    assert store_references(references, AT) == []


def ids():
    return sorted(CrossReference.objects.values_list("record_key", "external_id", "is_shared"))


def test_both_are_one_record_and_the_gone_id_leads_where_the_survivors_does(two):
    assert merge()
    record, signpost = GoldenRecord.objects.get(record_key=KEPT), GoldenRecord.objects.get(record_key=GONE)
    assert keys_known_as("customer", ["salesforce:001L", "stripe:cus_L"]) == {
        "salesforce:001L": KEPT, "stripe:cus_L": KEPT,
    }  # fmt: skip
    assert (record.content["name"], record.content.get("phone")) == ("Blue Bikes", None)
    assert (signpost.merged_into, signpost.aliases) == (KEPT, [])
    assert GoldenRecord.objects.get(record_key="salesforce:Account:001C").parent_key == KEPT
    assert ids() == [
        (GONE, "cus_W", True), (KEPT, "cus_W", False),
        ("stripe:customer:cus_L", "2", False), ("stripe:customer:cus_W", "1", False),
    ]  # fmt: skip
    assert AuditEntry.objects.get().verb == "follow_merge"


@pytest.mark.scenario(33)
def test_no_later_sync_undoes_it_and_the_same_again_is_no_news(two):
    assert merge()
    assert not merge()
    assert see(GONE, at=AT + 2 * HOUR, name="Risen").outcome == "stale"
    assert see("stripe:customer:cus_L", "billing", AT + 2 * HOUR, crm_id=GONE, currency="GBP").record_key == KEPT
    assert see("stripe:customer:cus_N", "billing", AT + 2 * HOUR, crm_id=GONE).record_key == KEPT
    assert GoldenRecord.objects.get(record_key=KEPT).content["name"] == "Blue Bikes"


def test_an_order_of_the_gone_account_is_billed_to_the_one_that_stayed(two):
    assert merge()
    links = Links()
    fetch_links(links, {"golden": {("customer", GONE)}, "xref": {("customer", GONE)}})
    assert links.golden("customer", GONE)["name"] == "Blue Bikes"
    assert links.find("customer", GONE, "stripe").external_id == "cus_W"


def test_a_survivor_without_billing_customer_takes_over_the_gone_ones(two):
    CrossReference.objects.filter(record_key=KEPT).delete()
    assert merge()
    assert [row for row in ids() if row[0] in (KEPT, GONE)] == [(GONE, "cus_L", False), (KEPT, "cus_L", True)]


def test_an_account_that_we_never_saw_leads_to_the_survivor_too(db):
    factories.make_connection("salesforce")
    see(KEPT)
    assert merge()
    assert keys_known_as("customer", ["salesforce:001L"]) == {"salesforce:001L": KEPT}
    assert see(GONE, at=AT - HOUR).outcome == "stale"
