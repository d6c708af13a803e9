"""A new customer who looks like one that the ERP has is held where policy says so, until people say who is who."""

from __future__ import annotations

import pytest

from exceptions import doubles
from exceptions.models import ExceptionCase
from mappings.models import CrossReference
from q2c.core.models import Person
from q2c.portal.decisions import decide
from q2c.records.duplicates import propose_merge, say_distinct
from q2c.records.models import DuplicatePair
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)


def person(name):
    return Person.objects.get(username=name)


def test_doubles_are_held_until_they_are_said_to_be_two_or_one_and_then_go_on_by_themselves(house):
    make_rule("posting_policy", "hold_duplicates", "80", number=next_number(), legal_entity="GB01")
    keys = [f"stripe:customer:{house.customer()}"]
    house.carry()
    keys += [f"stripe:customer:{house.customer(name=name)}" for name in ("NORTHWIND LIMITED", "Northwind")]
    house.customer(name="Southwind Ltd", email="ap@southwind.test")
    house.invoice(keys[2].rpartition(":")[2])
    house.carry()
    assert (len(house.made("netsuite", "customer")), house.held()) == (2, ["duplicate_suspected"] * 2)
    assert {case.summary.partition(" looks like Northwind Ltd: ")[2] for case in ExceptionCase.objects.all()} == {
        "the same name, e-mail at the same domain northwind.test"
    }
    pairs = {frozenset((p.one_key, p.other_key)): p for p in DuplicatePair.objects.all()}
    biller = person("billing_ops")
    say_distinct(pairs[frozenset(keys[1:])], by=biller, why="A franchise")
    assert doubles.go_on_decided(by=biller, why="A franchise") == []  # each looks like the first one too
    say_distinct(pairs[frozenset(keys[:2])], by=biller, why="A franchise")
    assert [row.is_restarted for row in doubles.go_on_decided(by=biller, why="A franchise")] == [True]
    proposal = propose_merge(pairs[frozenset((keys[0], keys[2]))], survivor=keys[0], by=biller, why="One company")
    decide(proposal, by=person("controller"), approve=True, why="", seen_hash=proposal.content_hash)
    house.carry()
    assert (len(house.made("netsuite", "customer")), house.states("invoice_to_erp")) == (3, {"completed": 1})
    known = CrossReference.objects.filter(record_key__in=keys, connection__code="netsuite", external_type="customer")
    ids = dict(known.values_list("record_key", "external_id"))
    assert ids[keys[0]] == ids[keys[2]] != ids[keys[1]]
    assert set(ExceptionCase.objects.values_list("state", flat=True)) == {"resolved"}
