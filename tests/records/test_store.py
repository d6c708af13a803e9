"""Golden records: who wins a field, what lost, what came too late."""

import datetime as dt

import pytest

from q2c.canonical import contract, events, party
from q2c.canonical.base import Source
from q2c.flows.sightings import sighting_of
from q2c.links import Links
from q2c.records.documents import Billed, store_documents
from q2c.records.models import BilledDocument, GoldenRecord
from q2c.records.selectors import parents_above
from q2c.records.store import keys_known_as, store_records

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
OWNERS = {("customer", "email"): "billing", ("customer", "name"): "crm"}


def winner(record_type, field):
    return OWNERS.get((record_type, field), "")


def account(at=AT, **changes):
    source = Source(connection="salesforce", object_type="Account", object_id="001A")
    customer = party.Customer(source=source, **({"name": "Blue Bikes", "email": "crm@x.test"} | changes))
    return sighting_of(events.CustomerChanged(occurred_at=at, customer=customer), "crm")


def payer(at=AT, **changes):
    source = Source(connection="stripe", object_type="customer", object_id="cus_1")
    fields = {"name": "BLUE BIKES LTD", "email": "pay@x.test", "crm_id": "salesforce:Account:001A"} | changes
    return sighting_of(
        events.CustomerChanged(occurred_at=at, customer=party.Customer(source=source, **fields)), "billing"
    )


def store(*sightings):
    return [stored.outcome for stored in store_records(list(sightings), winner=winner)]


def test_two_systems_make_one_record_and_each_field_has_its_owner():
    store(account())
    store(payer())
    record = GoldenRecord.objects.get()
    assert record.record_key == "salesforce:Account:001A"
    assert (record.content["name"], record.owners["name"]) == ("Blue Bikes", "salesforce")
    assert (record.content["email"], record.owners["email"]) == ("pay@x.test", "stripe")
    lost = {(r["field"], r["value"], r["by"], r["kept"]) for r in record.refused}
    assert lost == {("name", "BLUE BIKES LTD", "stripe", "salesforce"), ("email", "crm@x.test", "salesforce", "stripe")}


def test_a_field_that_nobody_owns_is_the_first_sources_or_whoever_has_one():
    store(account(phone="1"), payer(phone="2", payment_terms="Net 30"))
    content = GoldenRecord.objects.get().content
    assert (content["phone"], content["payment_terms"]) == ("1", "Net 30")


def test_a_record_is_found_by_the_id_of_any_of_its_sources():
    store(account(), payer())
    assert keys_known_as("customer", ["stripe:cus_1", "salesforce:001A", "stripe:cus_2"]) == {
        "stripe:cus_1": "salesforce:Account:001A", "salesforce:001A": "salesforce:Account:001A",
    }  # fmt: skip
    assert keys_known_as("product", ["stripe:cus_1"]) == {}


def test_the_same_again_changes_nothing_and_an_older_state_is_stale():
    assert store(account()) == ["changed"]
    assert store(account(at=AT + HOUR)) == ["unchanged"]
    assert store(account(at=AT + HOUR, name="Red Bikes")) == ["changed"]
    assert store(account(at=AT, name="Blue Bikes")) == ["stale"]
    assert GoldenRecord.objects.get().content["name"] == "Red Bikes"


def test_several_states_of_one_thing_in_one_batch_end_in_the_newest():
    assert store(account(), account(at=AT + HOUR, name="Red"), account(name="Blue Bikes")) == [
        "changed",
        "changed",
        "stale",
    ]
    record = GoldenRecord.objects.get()
    assert (record.name, record.version) == ("Red", 2)


def test_each_version_is_kept_in_the_history():
    store(account())
    store(account(at=AT + HOUR, name="Red Bikes"))
    versions = GoldenRecord.history.order_by("version").values_list("version", "name")
    assert list(versions) == [(1, "Blue Bikes"), (2, "Red Bikes")]


def test_a_hierarchy_names_its_parent_as_that_system_knows_it():
    store(account(parent_id="001P"))
    assert GoldenRecord.objects.get().parent_key == "salesforce:Account:001P"


def test_a_batch_of_two_hundred_takes_few_statements(django_assert_max_num_queries):
    source = [Source(connection="stripe", object_type="customer", object_id=f"cus_{n}") for n in range(200)]
    seen = [
        sighting_of(
            events.CustomerChanged(occurred_at=AT, customer=party.Customer(source=s, name=s.object_id)), "billing"
        )
        for s in source
    ]
    with django_assert_max_num_queries(8):
        store(*seen)
    assert GoldenRecord.objects.count() == 200


def subscription(status, at=AT):
    source = Source(connection="stripe", object_type="subscription", object_id="sub_1")
    made = contract.Subscription(source=source, order_id="006A", customer_id="cus_1", currency="GBP", status=status,
                                 start_date=AT.date(), is_active=status == "active")  # fmt: skip
    return sighting_of(events.SubscriptionChanged(occurred_at=at, subscription=made), "billing")


def test_of_two_states_in_one_second_the_one_that_came_further_counts():
    assert store(subscription("active"), subscription("incomplete")) == ["changed", "stale"]
    assert GoldenRecord.objects.get().content["status"] == "active"
    assert store(subscription("past_due", AT + HOUR), subscription("active", AT + 2 * HOUR)) == ["changed", "changed"]


def billed(status, at=AT):
    return Billed("stripe", "invoice", "in_1", status, at)


def test_an_invoice_finalized_and_paid_within_one_second_is_paid_in_either_order():
    store_documents([billed("paid"), billed("open")])
    assert BilledDocument.objects.get().status == "paid"
    store_documents([billed("open", AT + HOUR), billed("paid", AT + HOUR), billed("payment_failed", AT)])
    assert BilledDocument.objects.get().status == "paid"


def test_accounts_that_go_round_are_a_ring_and_a_parent_that_nobody_told_is_none():
    for child, parent in (("001A", "001B"), ("001B", "001C"), ("001C", "001B"), ("001D", "001X"), ("001E", "001D")):
        source = Source(connection="salesforce", object_type="Account", object_id=child)
        told = events.CustomerChanged(
            occurred_at=AT, customer=party.Customer(source=source, name=child, parent_id=parent)
        )
        store(sighting_of(told, "crm"))
    links = Links()
    links.parents = parents_above(f"salesforce:Account:{each}" for each in ("001A", "001E"))
    assert links.is_ring("salesforce:Account:001A")
    assert links.is_ring("salesforce:Account:001C")
    assert not links.is_ring("salesforce:Account:001E")
    assert links.parents["salesforce:Account:001E"] == "salesforce:Account:001D"
