"""Who owns which field: defaults, rules in words, and that every field of a golden record has an owner."""

from __future__ import annotations

import re

import pytest

from connectors.families import Family
from mappings.survivorship import DEFAULTS, NOBODY, OWNER_PATTERN, Owner, owner_of, words_of
from q2c.canonical.catalog import Product
from q2c.canonical.contract import Order, Subscription
from q2c.canonical.party import Customer

RECORDS = {"customer": Customer, "product": Product, "order": Order, "subscription": Subscription}


@pytest.mark.parametrize("record_type", RECORDS)
def test_every_field_of_a_golden_record_has_an_owner(record_type):
    fields = set(RECORDS[record_type].__struct_fields__) - {"source"}
    owned = {field for kind, field in DEFAULTS if kind == record_type} - {"prices"}
    assert owned == fields


def test_owners_are_families_of_systems():
    assert {owner.family for owner in DEFAULTS.values()} == {Family.CRM.value, Family.BILLING.value, Family.ERP.value}


@pytest.mark.parametrize(
    ("record_type", "field", "words"),
    [
        ("customer", "email", "crm"),
        ("customer", "tax_registrations", "erp alone"),
        ("subscription", "status", "billing"),
        ("customer", "shoe_size", ""),
    ],
)
def test_without_rules_the_defaults_hold(record_type, field, words):
    assert words_of(owner_of(record_type, field)) == words


@pytest.mark.parametrize("said", ["crm", "billing", "erp alone", "erp:netsuite", "billing:stripe-eu alone"])
def test_an_owner_is_read_and_told_in_the_same_words(said):
    assert re.fullmatch(OWNER_PATTERN, said)
    assert words_of(owner_of("customer", "email", said=said)) == said


def test_a_rule_says_whose_it_is_and_another_what_a_refusal_does():
    assert owner_of("customer", "email", said="erp", refusal="case") == Owner("erp", opens_case=True)
    assert owner_of("customer", "tax_registrations", refusal="keep") == Owner("erp", is_alone=True)
    assert owner_of("customer", "tax_registrations", said="billing").opens_case


def test_one_of_several_connections_of_a_family_may_own_a_field():
    owner = owner_of("customer", "email", said="erp:netsuite")
    assert (owner.owns("erp", "netsuite"), owner.owns("erp", "sap"), owner.owns("crm", "netsuite")) == (
        True, False, False,
    )  # fmt: skip
    assert not NOBODY.owns("", "netsuite")
