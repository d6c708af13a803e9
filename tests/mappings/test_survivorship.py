"""Who owns which field: defaults, dated rules, and that every field of a golden record has an owner."""

from __future__ import annotations

import datetime as dt

import pytest

from connectors.families import Family
from mappings.survivorship import DEFAULTS, owners
from q2c.canonical.catalog import Product
from q2c.canonical.contract import Order, Subscription
from q2c.canonical.party import Customer

ON = dt.date(2026, 6, 1)
RECORDS = {"customer": Customer, "product": Product, "order": Order, "subscription": Subscription}


@pytest.mark.parametrize("record_type", RECORDS)
def test_every_field_of_a_golden_record_has_an_owner(record_type):
    fields = set(RECORDS[record_type].__struct_fields__) - {"source"}
    owned = {field for kind, field in DEFAULTS if kind == record_type} - {"prices"}
    assert owned == fields


def test_owners_are_families_of_systems():
    assert set(DEFAULTS.values()) == {Family.CRM.value, Family.BILLING.value, Family.ERP.value}


@pytest.mark.parametrize(
    ("record_type", "field", "family"),
    [
        ("customer", "email", "crm"),
        ("customer", "tax_registrations", "erp"),
        ("subscription", "status", "billing"),
        ("customer", "shoe_size", ""),
    ],
)
def test_without_rules_the_defaults_hold(record_type, field, family):
    assert owners([], on=ON)(record_type, field) == family


def test_the_newest_rule_in_force_beats_older_ones_and_the_default_whatever_their_order():
    rules = [
        ("customer", "email", "erp", dt.date(2026, 5, 1)),
        ("customer", "email", "billing", dt.date(2026, 1, 1)),
        ("customer", "email", "crm", dt.date(2026, 7, 1)),
    ]
    assert owners(rules, on=ON)("customer", "email") == "erp"
    assert owners(rules, on=dt.date(2026, 7, 1))("customer", "email") == "crm"
    assert owners(rules, on=dt.date(2025, 1, 1))("customer", "email") == "crm"
