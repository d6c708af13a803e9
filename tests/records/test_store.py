"""Golden records: who wins a field, what lost, what came too late."""

import datetime as dt

import pytest

from mappings.survivorship import NOBODY, Owner
from q2c.canonical import contract, events, party
from q2c.canonical.base import Source
from q2c.flows.sightings import sighting_of
from q2c.links import Links
from q2c.records.documents import Billed, store_documents
from q2c.records.models import BilledDocument, GoldenRecord
from q2c.records.selectors import parents_above
from q2c.records.store import keys_known_as, store_records, survive_again

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TAX = ("customer", "tax_registrations")
OWNERS = {
    ("customer", "email"): Owner("billing"),
    ("customer", "name"): Owner("crm"),
    TAX: Owner("erp", is_alone=True, opens_case=True),
}


def owner_of(record_type, field, legal_entity):
    return OWNERS.get((record_type, field), NOBODY)


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
    return [stored.outcome for stored in store_records(list(sightings), owner_of=owner_of)]


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


VAT = party.TaxRegistration(country="GB", number="GB123456789")


def ledger(at=AT, **changes):
    """What an ERP says of the same customer."""
    source = Source(connection="netsuite", object_type="customer", object_id="42")
    fields = {"name": "Blue Bikes Limited", "crm_id": "salesforce:Account:001A"} | changes
    return sighting_of(events.CustomerChanged(occurred_at=at, customer=party.Customer(source=source, **fields)), "erp")


def test_a_billing_contact_is_taken_and_a_tax_registration_from_anywhere_but_the_erp_isnt():
    store(account())
    (told,) = store_records([payer(tax_registrations=(VAT,))], owner_of=owner_of)
    record = GoldenRecord.objects.get()
    said = {"country": "GB", "number": "GB123456789"}
    assert (record.content["email"], record.content.get("tax_registrations")) == ("pay@x.test", None)
    assert [(r["field"], r["value"], r["by"], r["at"], r["kept"]) for r in told.refused] == [
        ("tax_registrations", [said], "stripe", AT.isoformat(), "")
    ]
    store(ledger(tax_registrations=(VAT,)))
    record.refresh_from_db()
    assert (record.content["tax_registrations"], record.owners["tax_registrations"]) == ([said], "netsuite")


def test_a_refused_update_is_told_once():
    store(account())
    (first,) = store_records([payer(tax_registrations=(VAT,))], owner_of=owner_of)
    (again,) = store_records([payer(at=AT + HOUR, tax_registrations=(VAT,), phone="7")], owner_of=owner_of)
    assert (len(first.refused), again.outcome, again.refused) == (1, "changed", ())


def test_records_follow_owners_that_changed():
    store(account(), payer())
    record = GoldenRecord.objects.get()
    assert survive_again([record], owner_of=owner_of) == 0
    assert survive_again([record], owner_of=lambda *_: Owner("crm")) == 1
    record.refresh_from_db()
    assert (record.content["email"], record.version) == ("crm@x.test", 3)


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
