"""What is longer than the table takes is named before anybody signs; many countries in a condition aren't too long."""

from __future__ import annotations

import datetime as dt

import pytest

from mappings import approvals, drafts, scope
from mappings.drafts import Line
from mappings.models import MappingRule
from mappings.resolve import Snapshot
from tests import factories
from tests.mappings.sheet_rows import check, faults, make_items

pytestmark = pytest.mark.django_db
START = dt.date(2026, 1, 1)
COUNTRIES = [f"{a}{b}" for a in "ABCDEF" for b in "ABCDEFGH"][:46]


@pytest.fixture
def maker():
    make_items()
    return factories.make_person("mapping_admin", username="mira")


def line(**facts) -> Line:
    return Line(**({"kind": "item", "key": "S", "value": "10482", "effective_from": START} | facts))


@pytest.mark.parametrize(
    ("facts", "field", "text"),
    [
        ({"key": "K" * 251}, "key", "key takes up to 250 characters, and this has 251"),
        ({"kind": "selling_entity", "key": "EUR", "value": "GB01", "region": "R" * 41}, "region",
         "region takes up to 40 characters, and this has 41"),
        ({"product_line": "P" * 81}, "product_line", "product line takes up to 80 characters, and this has 81"),
        ({"value": "V" * 251}, "value", "value takes up to 250 characters, and this has 251"),
        ({"label": "L" * 301}, "label", "label takes up to 300 characters, and this has 301"),
        ({"currency": "EURO"}, "currency", "currency takes up to 3 characters, and this has 4"),
        ({"conditions": {"payment_method": ["\x00"]}}, "conditions",
         "a condition holds a sign that can't be seen; take it out"),
    ],
)  # fmt: skip
def test_what_is_too_long_is_named_with_its_field_and_limit(maker, facts, field, text):
    found = drafts.check_lines([line(**facts)], by=maker)
    assert (0, field, text) in [(fault.line, fault.field, fault.text) for fault in found]


@pytest.mark.parametrize("name", sorted(drafts.LONGEST))
def test_what_is_as_long_as_it_may_be_is_not_too_long(maker, name):
    found = drafts.check_lines([line(**{name: "K" * drafts.LONGEST[name]})], by=maker)
    assert not [fault for fault in found if "takes up to" in fault.text]


def test_a_sheet_names_the_row_that_is_too_long_and_keeps_the_others(maker):
    report = check(
        f"SKU\tBecomes\tProduct line\nA\t10482\tHardware\nB\t10482\t{'P' * 81}\n{'K' * 251}\t10482\t\n", maker
    )
    assert faults(report) == [
        (3, "Product line", "product line takes up to 80 characters, and this has 81."),
        (4, "Key", "key takes up to 250 characters, and this has 251."),
    ]
    assert [line.key for line in report.lines] == ["A"]


def test_a_condition_of_many_countries_comes_into_force_and_never_overlaps(maker):
    wide = line(conditions={"customer_country": COUNTRIES})
    change_set = drafts.save_draft("Map", "They are sold as one", lines=[wide], by=maker)
    approvals.propose_change_set(change_set, by=maker)
    decision = approvals.sign_change_set(
        change_set, by=factories.make_person("controller"), approve=True, alarm=lambda problem: None
    )
    assert decision.is_in_force
    rule = MappingRule.objects.get()
    assert (rule.conditions, len(rule.conditions_key)) == ({"customer_country": COUNTRIES}, 71)
    snapshot = Snapshot.load([("item", "S", {})])
    for country, value in (("AB", "10482"), ("ZZ", None)):
        found = snapshot.find("item", "S", on=START, document={"customer_country": country})
        assert (found and found.value) == value
    again = drafts.check_lines([line(conditions={"customer_country": COUNTRIES[::-1]})], by=maker)
    assert [fault.field for fault in again] == ["key"]  # it could win as well


def test_the_text_of_few_conditions_stays_as_it_was():
    few = {"customer_country": ["DE", "AT"], "document_type": "invoice"}
    assert scope.conditions_key(few) == '{"customer_country":["AT","DE"],"document_type":["invoice"]}'
    many = {"customer_country": COUNTRIES}
    assert scope.conditions_key(many) == scope.conditions_key({"customer_country": COUNTRIES[::-1]})
    assert scope.conditions_key(many) != scope.conditions_key({"customer_country": COUNTRIES[1:]})
    assert MappingRule._meta.get_field("conditions_key").max_length == scope.KEY_MAX
