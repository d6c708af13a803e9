"""Who owns a field, by rules; what two people let stand; and that records follow when the rules change."""

import datetime as dt

import pytest
from django.utils import timezone

from exceptions.models import ExceptionCase
from mappings.models import ChangeSet
from mappings.survivorship import Owner
from q2c import ports
from q2c.canonical import events, party
from q2c.canonical.base import Source
from q2c.flows.field_owners import field_owners, follow_owners
from q2c.flows.intake import carry_due_events
from q2c.flows.sightings import sighting_of
from q2c.inbox.receive import receive
from q2c.portal.decisions import decide
from q2c.records.models import GoldenRecord
from q2c.records.overrides import OverrideRefused, propose_end, propose_override
from q2c.records.store import store_records
from tests import factories
from tests.inbox.conftest import arrival
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
KEY = "salesforce:Account:001A"
VAT = party.TaxRegistration(country="GB", number="GB123456789")
PLAIN = [{"country": "GB", "number": "GB123456789"}]


@pytest.fixture(autouse=True)
def fresh():
    ports.forget_kept()
    yield
    ports.forget_kept()


def customer(system, kind, key, **fields):
    return party.Customer(source=Source(connection=system, object_type=kind, object_id=key), **fields)


def see(family, document, at=AT):
    store_records([sighting_of(events.CustomerChanged(occurred_at=at, customer=document), family)],
                  owner_of=field_owners())  # fmt: skip
    return GoldenRecord.objects.get()


def agree(proposal):
    controller = factories.make_person("controller")
    return decide(proposal, by=controller, approve=True, why="", seen_hash=proposal.content_hash)


def test_rules_have_dates_and_entities_and_the_default_stands_behind():
    make_rule("field_owner", "customer|email", "billing", on=dt.date(2026, 6, 1), until=dt.date(2026, 7, 1))
    make_rule("field_owner", "customer|email", "erp alone", legal_entity="DE01")
    make_rule("refused_update", "customer|email", "case", legal_entity="DE01")
    in_june, in_july = field_owners(dt.date(2026, 6, 30)), field_owners(dt.date(2026, 7, 1))
    assert in_june("customer", "email", "GB01") == Owner("billing")
    assert in_july("customer", "email", "GB01") == Owner("crm")
    assert in_june("customer", "email", "DE01") == Owner("erp", is_alone=True, opens_case=True)
    assert in_june("customer", "shoe_size", "DE01") == Owner()


def test_records_follow_a_new_rule_by_themselves_and_once():
    see("crm", customer("salesforce", "Account", "001A", name="Blue", email="crm@x.test"))
    see("billing", customer("stripe", "customer", "cus_1", name="Blue", email="pay@x.test", crm_id=KEY))
    assert follow_owners() == 0
    rule = make_rule("field_owner", "customer|email", "billing")
    ChangeSet.objects.filter(number=rule.known_from).update(approved_at=timezone.now())
    ports.forget_kept()
    assert (follow_owners(), follow_owners()) == (1, 0)
    assert GoldenRecord.objects.get().content["email"] == "pay@x.test"


def test_two_people_let_a_refused_value_stand_until_the_owner_speaks():
    maker = factories.make_person("billing_ops")
    record = see("billing", customer("stripe", "customer", "cus_1", name="Blue", tax_registrations=(VAT,)))
    assert "tax_registrations" not in record.content
    with pytest.raises(OverrideRefused, match="has said nothing of phone"):
        propose_override(record, "phone", refused_by="stripe", owner_of=field_owners(), by=maker, why="Seen")
    asked = propose_override(
        record, "tax_registrations", refused_by="stripe", owner_of=field_owners(), by=maker, why="Seen the certificate"
    )
    assert agree(asked) == "approved"
    record.refresh_from_db()
    assert (record.content["tax_registrations"], record.owners["tax_registrations"]) == (PLAIN, "stripe")
    crm_id = "stripe:customer:cus_1"
    other = party.TaxRegistration(country="GB", number="GB999")
    record = see("erp", customer("netsuite", "customer", "42", name="B", tax_registrations=(other,), crm_id=crm_id))
    assert record.owners["tax_registrations"] == "netsuite"
    assert record.overrides == {}


def test_an_override_is_ended_the_way_it_was_made_and_a_moved_value_voids_the_proposal():
    maker = factories.make_person("billing_ops")
    see("crm", customer("salesforce", "Account", "001A", name="Blue", email="crm@x.test"))
    record = see("billing", customer("stripe", "customer", "cus_1", name="Blue", email="pay@x.test", crm_id=KEY))
    owners = field_owners()
    agree(propose_override(record, "email", refused_by="stripe", owner_of=owners, by=maker, why="They asked us to"))
    record.refresh_from_db()
    assert record.content["email"] == "pay@x.test"
    agree(propose_end(record, "email", by=maker, why="It bounced"))
    record.refresh_from_db()
    assert (record.content["email"], record.overrides) == ("crm@x.test", {})
    late = propose_override(record, "email", refused_by="stripe", owner_of=owners, by=maker, why="Once more")
    see("crm", customer("salesforce", "Account", "001A", name="Blue", email="new@x.test"), AT + dt.timedelta(hours=1))
    with pytest.raises(OverrideRefused, match="changed meanwhile"):
        agree(late)


def test_a_refused_tax_registration_opens_a_case_and_a_refused_name_doesnt(acme):
    seen = customer("acme", "customer", "cus_1", name="Blue", tax_registrations=(VAT,))
    receive(acme.id, [arrival(events.CustomerChanged(occurred_at=AT, customer=seen), "c1")], via="webhook")
    carry_due_events()
    case = ExceptionCase.objects.get(kind="update_refused")
    assert case.subject == {"connection": "acme", "record": "acme:customer:cus_1", "field": "tax_registrations"}
    assert GoldenRecord.objects.get().content.get("tax_registrations") is None
