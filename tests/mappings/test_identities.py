"""Cross-references that people change: proposed, approved by another, told apart as each system tells ids apart."""

from __future__ import annotations

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic

from connectors.registry import spell_id
from mappings import identities
from mappings.identities import Change, IdentityRefused, change_of, propose_change
from mappings.models import CrossReference
from mappings.references import RECORD_TYPES, Reference, store_references
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Proposal
from q2c.portal.decisions import decide
from tests import factories

pytestmark = pytest.mark.django_db
CUSTOMER = "stripe:customer:cus_1"


@pytest.fixture
def people():
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    return factories.make_person("billing_ops"), factories.make_person("controller")


def linked(external_id="42", key=CUSTOMER, **fields):
    return Change(record_type="customer", record_key=key, connection="netsuite", external_type="customer",
                  external_id=external_id, **fields)  # fmt: skip


def agree(change, people):
    proposal = propose_change(change, by=people[0], why="It is the same company")
    return decide(proposal, by=people[1], approve=True, why="", seen_hash=proposal.content_hash)


def stored():
    return list(CrossReference.objects.order_by("id").values_list("record_key", "external_id", "is_shared"))


def test_a_link_holds_once_another_person_approves_and_the_id_is_as_its_system_spells_it(people):
    proposal = propose_change(linked("0042"), by=people[0], why="It is the same company")
    assert stored() == []
    with pytest.raises(ApprovalRefused):
        decide(proposal, by=people[0], approve=True, why="", seen_hash=proposal.content_hash)
    assert decide(proposal, by=people[1], approve=True, why="", seen_hash=proposal.content_hash) == "approved"
    assert stored() == [(CUSTOMER, "42", False)]


def test_a_change_says_what_it_was_and_is_refused_once_that_moved(people):
    agree(linked("42"), people)
    row = CrossReference.objects.select_related("connection").get()
    late = propose_change(change_of(row, external_id="43"), by=people[0], why="A better match")
    CrossReference.objects.update(external_id="44")
    with pytest.raises(ValueError, match="changed meanwhile: it is 44"):
        decide(late, by=people[1], approve=True, why="", seen_hash=late.content_hash)
    assert (Proposal.objects.get(pk=late.pk).state, stored()) == ("proposed", [(CUSTOMER, "44", False)])


def test_repointing_and_unlinking_leave_their_history(people):
    agree(linked("42"), people)
    row = CrossReference.objects.select_related("connection").get()
    agree(change_of(row, external_id="43"), people)
    row.refresh_from_db()
    agree(change_of(row), people)
    assert stored() == []
    told = identities.proposals_about("customer", [CUSTOMER]).order_by("proposed_at")
    assert [(p.content["was"], p.content["external_id"], p.state) for p in told] == [
        ("", "42", "approved"), ("42", "43", "approved"), ("43", "", "approved"),
    ]  # fmt: skip


def test_two_customers_share_an_id_only_where_somebody_says_so(people):
    agree(linked("42"), people)
    other = linked("42", "stripe:customer:cus_2")
    with pytest.raises(IdentityRefused, match=f"42 is {CUSTOMER} already. Say so"):
        propose_change(other, by=people[0], why="The same")
    agree(linked("42", "stripe:customer:cus_2", is_shared=True), people)
    assert stored() == [(CUSTOMER, "42", False), ("stripe:customer:cus_2", "42", True)]
    with pytest.raises(IdentityRefused, match="43 is no other record's id"):
        propose_change(linked("43", "stripe:customer:cus_3", is_shared=True), by=people[0], why="The same")


def test_a_document_shares_its_id_with_none_in_the_database_too(people):
    row = factories.make_reference(factories.make_transaction(), external_id="9001")
    same = Change(record_type="invoice", record_key="stripe:invoice:in_2", connection="netsuite",
                  external_type=row.external_type, external_id="9001", is_shared=True)  # fmt: skip
    with pytest.raises(IdentityRefused, match="may be one record's only"):
        propose_change(same, by=people[0], why="The same")
    with pytest.raises(IntegrityError), atomic():
        CrossReference.objects.filter(pk=row.pk).update(is_shared=True)


def test_the_database_lets_share_what_the_types_declare():
    rule = next(c for c in CrossReference._meta.constraints if c.name == "shared_only_where_declared")
    declared = sorted(code for code, facts in RECORD_TYPES.items() if facts.may_share)
    assert ("record_type__in", declared) in rule.condition.children


def test_a_flow_that_finds_a_shared_id_again_has_no_news(people):
    agree(linked("42"), people)
    agree(linked("42", "stripe:customer:cus_2", is_shared=True), people)
    again = Reference("customer", "stripe:customer:cus_2", "netsuite", "customer", "42")
    assert store_references([again], CrossReference.objects.first().at) == []


@pytest.mark.parametrize(
    ("vendor", "given", "spelled"),
    [
        ("salesforce", "001Ak00000abcDE", "001Ak00000abcDEIAY"),
        ("salesforce", "001ak00000ABCdeiay", "001Ak00000abcDEIAY"),
        ("netsuite", "0042", "42"),
        ("netsuite", "42:3:GBP", "42:3:GBP"),
        ("stripe", "cus_aB", "cus_aB"),
    ],
)
def test_an_id_is_told_apart_as_its_vendor_does(vendor, given, spelled):
    assert spell_id(factories.make_connection(vendor), given) == spelled


def test_what_cant_be_an_id_of_that_system_is_refused(people):
    wrong = Change(record_type="customer", record_key=CUSTOMER, connection="salesforce", external_type="Account",
                   external_id="cus_1")  # fmt: skip
    with pytest.raises(IdentityRefused, match="Salesforce can't have such an id"):
        propose_change(wrong, by=people[0], why="The same")
