"""The screen of any record's ids: from every side to the same record, own entities only, changes proposed."""

import pytest

from mappings import identities
from mappings.identities import IdentityRefused
from mappings.models import CrossReference
from mappings.survivorship import NOBODY
from q2c.core.models import Membership, Person, Proposal
from q2c.records import overrides
from tests import factories

pytestmark = pytest.mark.django_db
KEY, OTHER = "salesforce:Account:001Ak00000abcDEIAY", "stripe:customer:cus_1"
PAGE = f"/mappings/identities/customer/{KEY}/"


@pytest.fixture
def record(db):
    """An account that is a customer of billing and of the ERP."""
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    row = factories.make_record("customer", KEY, name="Blue Bikes", legal_entity_code="GB01")
    row.sources = {**row.sources, OTHER: row.sources[KEY] | {"connection": "stripe"}}
    row.aliases = [*row.aliases, "stripe:cus_1"]
    row.save()
    common = {"record_type": "customer", "legal_entity_code": "GB01", "at": row.changed_at}
    stripe, netsuite = factories.make_connection("stripe"), factories.make_connection("netsuite")
    CrossReference.objects.create(
        record_key=KEY, connection=stripe, external_type="customer", external_id="cus_1", **common
    )
    CrossReference.objects.create(
        record_key=OTHER, connection=netsuite, external_type="customer", external_id="42", **common
    )
    return row


@pytest.mark.parametrize("asked", [("salesforce", "Account", "001Ak00000abcDEIAY"), ("stripe", "customer", "cus_1"),
                                   ("netsuite", "customer", "42")])  # fmt: skip
def test_any_of_its_ids_opens_the_record_with_all_of_them(controller, record, asked):
    found = controller.get("/mappings/identities/find/", dict(zip(("system", "type", "id"), asked, strict=True)))
    page = controller.get(found["Location"])
    known = [(row.system, row.external_id) for row in page.context["known"]]
    assert known == [("Salesforce", "001Ak00000abcDEIAY"), ("Stripe", "cus_1"), ("NetSuite", "42")]
    assert page.context["record_key"] == KEY


def test_the_search_box_finds_it_by_the_short_id(controller, record):
    assert controller.get("/search/?q=001Ak00000abcDE")["Location"] == PAGE


def test_people_of_another_entity_dont_see_it(sign_in, record):
    factories.make_entity("US01")
    stranger = sign_in("controller", entities=["US01"])
    assert stranger.get(PAGE).status_code == 404
    assert stranger.get(PAGE + "change/").status_code == 404
    assert list(stranger.get("/mappings/identities/").context["page"].rows) == []


def test_a_new_id_is_proposed_from_the_screen_and_shows_there(controller, record):
    row = CrossReference.objects.get(external_id="42")
    address = f"{PAGE}change/?act=repoint&reference={row.pk}"
    assert controller.get(address).status_code == 200
    assert controller.post(address, {"external_id": "42", "why": "It was wrong"}).status_code == 422
    assert controller.post(address, {"external_id": "43", "why": "It was wrong"})["Location"] == PAGE
    proposal = Proposal.objects.get()
    assert (proposal.content["was"], proposal.content["external_id"]) == ("42", "43")
    assert proposal in controller.get(PAGE).context["proposals"]
    again = controller.post(address, {"external_id": "44", "why": "It was wrong"})
    assert "waits for a second person" in again.content.decode()
    assert CrossReference.objects.get(pk=row.pk).external_id == "42"


def test_the_search_box_finds_the_rule_that_translates_a_key(controller):
    rule = factories.make_rule("84029G", "10390")
    assert controller.get("/search/?q=84029G")["Location"] == f"/mappings/rules/{rule.pk}/"


@pytest.fixture
def onlooker(sign_in, record):
    """Who proposes for US01, and only sees what is GB01's."""
    client = sign_in("billing_ops", entities=("US01",))
    Membership.objects.create(person=client.person, role="auditor", legal_entity=factories.make_entity("GB01"))
    record.refused = [{"field": "phone", "by": "stripe", "value": "1", "at": "2026-01-01T00:00:00+00:00"}]
    record.overrides = {"email": {"value": "a@b.c", "by": "stripe", "at": "2026-01-01T00:00:00+00:00", "over": None}}
    record.content = {**record.content, "phone": "2", "email": "a@b.c"}
    record.save()
    return client


@pytest.mark.parametrize("address", ["change/", "change/?act=unlink&reference={row}", "override/?field=email"])
def test_who_only_sees_an_entitys_record_proposes_nothing_of_it(onlooker, address):
    seen = onlooker.get(PAGE)
    assert (seen.status_code, seen.context["may_propose"]) == (200, False)
    row = CrossReference.objects.get(external_id="42")
    sent = {"why": "It was wrong", "connection": "netsuite", "external_type": "customer", "external_id": "77",
            "record_key": KEY}  # fmt: skip
    where = PAGE + address.format(row=row.pk)
    assert [onlooker.get(where).status_code, onlooker.post(where, sent).status_code] == [403, 403]
    assert not Proposal.objects.exists()


def test_the_services_ask_it_themselves(onlooker, record):
    person, said = Person.objects.get(pk=onlooker.person.pk), "None of your roles does this for GB01"
    row = CrossReference.objects.select_related("connection").get(external_id="42")
    with pytest.raises(IdentityRefused, match=said):
        identities.propose_change(identities.change_of(row), by=person, why="It was wrong")
    with pytest.raises(overrides.OverrideRefused, match=said):
        overrides.propose_end(record, "email", by=person, why="It was wrong")
    with pytest.raises(overrides.OverrideRefused, match=said):
        overrides.propose_override(
            record, "phone", refused_by="stripe", owner_of=lambda *_: NOBODY, by=person, why="So"
        )
    assert not Proposal.objects.exists()
