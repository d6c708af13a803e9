"""Where entities have ERPs of their own, a rule that names no system is read in the list of its entity's own one."""

from __future__ import annotations

import datetime as dt

import pytest
from django.urls import reverse
from django.utils import timezone
from openpyxl import load_workbook

from connectors.models import ReferenceEntry, RoleAssignment
from exceptions.models import ExceptionCase
from mappings import copies, drafts, exports, forms, suggestions
from mappings.drafts import Line
from mappings.kinds import kind_of
from mappings.models import MappingRule
from q2c.flows.lost_targets import tell_lost_targets
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import check, faults

pytestmark = pytest.mark.django_db
TODAY = dt.date(2026, 11, 21)
# The same router has another id in each, and each has an id that the other gives to something else.
LISTS = {
    "netsuite": (("10482", "RTR", "Router UK"), ("77", "CBL", "Cable UK"), ("500", "UK", "Only here")),
    "netsuite-eu": (("77", "RTR", "Router EU"), ("10482", "CBL", "Cable EU"), ("600", "EU", "Only there")),
}
ASKED = (
    "netsuite and netsuite-eu each have items with ids of their own, and this would hold in all of them; "
    "name the system"
)
NOT_THERE = "isn't in the list of items; refresh the list or choose another"


@pytest.fixture
def maker():
    """Who proposes for all entities of a company of which DE01 has an ERP of its own, and the others share one."""
    for code in ("GB01", "DE01"):
        factories.make_entity(code)
    for code, rows in LISTS.items():
        own = factories.make_entity("DE01") if code == "netsuite-eu" else None
        RoleAssignment.objects.create(family="erp", legal_entity=own, connection=factories.make_connection(code))
        for list_name in ("items", "subsidiaries", "locations", "departments"):
            for external_id, short, name in rows:
                ReferenceEntry.objects.create(
                    connection=factories.make_connection(code), list_name=list_name, external_id=external_id,
                    code=short, name=name, read_at=timezone.now(),
                )  # fmt: skip
    return factories.make_person("mapping_admin", username="mira")


@pytest.mark.parametrize(
    ("kind", "asked", "entity", "key", "expected"),
    [
        ("item", "", "GB01", "S", "netsuite"),
        ("item", "", "DE01", "S", "netsuite-eu"),
        ("item", "netsuite", "DE01", "S", "netsuite"),
        ("item", "", "", "S", ""),  # of both: it can't be told
        ("subsidiary", "", "", "GB01", "netsuite"),  # the key is the entity
        ("subsidiary", "", "", "DE01", "netsuite-eu"),
        ("location", "", "", "*", ""),
        ("location", "", "DE01", "*", "netsuite-eu"),
        ("billing_product", "", "GB01", "S", ""),  # nobody plays billing
        ("posting_policy", "", "GB01", "detail", ""),  # no list at all
    ],
)
def test_the_list_is_that_of_the_entitys_own_system(maker, kind, asked, entity, key, expected):
    assert suggestions.target_connection(kind_of(kind), asked, entity, key) == expected


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ({"legal_entity": "GB01"}, "500", []),
        ({"legal_entity": "GB01"}, "600", [("value", f"600 {NOT_THERE}")]),
        ({"legal_entity": "DE01"}, "600", []),
        ({"legal_entity": "DE01"}, "500", [("value", f"500 {NOT_THERE}")]),
        ({"connection": "netsuite-eu"}, "600", []),
        ({}, "500", [("connection", ASKED)]),
        ({}, "77", [("connection", ASKED)]),
    ],
)  # fmt: skip
def test_a_value_is_checked_against_that_list(maker, place, value, said):
    found = drafts.check_lines([Line(kind="item", key="S", value=value, effective_from=TODAY, **place)], by=maker)
    assert [(fault.field, fault.text) for fault in found] == said


def test_a_kind_without_a_system_is_asked_for_the_entity(maker):
    line = Line(kind="department", key="Hardware", value="77", effective_from=TODAY)
    assert [fault.field for fault in drafts.check_lines([line], by=maker)] == ["legal_entity"]


def test_what_holds_for_both_can_still_be_retired(maker):
    rule = make_rule("item", "S", "77")
    assert drafts.check_lines([drafts.retirement_of(rule, TODAY)], by=maker) == []


@pytest.mark.parametrize(("entity", "expected"), [("GB01", ("10482", "Router UK")), ("DE01", ("77", "Router EU"))])
def test_a_code_is_translated_by_that_list(maker, entity, expected):
    sent = {"key": "S", "value": "RTR", "legal_entity_code": entity, "effective_from": "2026-11-21", "why": "It is new"}
    form = forms.RuleForm(sent, kind="item", user=maker)
    assert form.is_valid(), form.errors
    assert (form.as_line().value, form.as_line().label) == expected
    report = check(f"SKU\tBecomes\tEntity\nS\tRTR\t{entity}\n", maker)
    assert faults(report) == []
    assert [(line.value, line.label) for line in report.lines] == [expected]


def test_a_sheet_asks_for_the_system_where_both_have_a_list(maker):
    assert faults(check("SKU\tBecomes\nS\tRTR\n", maker)) == [(2, "System", f"{ASKED}.")]


def test_what_is_offered_while_typing_is_of_the_entity_in_the_form_and_in_the_row(client, maker):
    client.force_login(maker)

    def offered(query: str) -> list[str]:
        text = client.get(f"/mappings/targets/?kind=item&{query}").content.decode()
        return [name for rows in LISTS.values() for _, _, name in rows if name in text]

    assert offered("value=RTR&legal_entity_code=GB01&connection_code=")[:1] == ["Router UK"]
    assert "Router EU" in offered("value-3=RTR&legal_entity-3=DE01&connection-3=&key-3=S")
    assert "Router UK" not in offered("value-3=RTR&legal_entity-3=DE01&connection-3=&key-3=S")
    assert offered("value=RTR&legal_entity_code=") == []
    form = client.get(reverse("mappings:propose") + "?kind=item").content.decode()
    assert 'hx-include="[name=connection_code],[name=legal_entity_code],[name=key]"' in form


def test_an_export_offers_each_rules_own_list(maker):
    make_rule("item", "S", "600", legal_entity="DE01")
    file, _ = exports.write_workbook(MappingRule.objects.all(), by=maker, asked={})
    offered = [row[0] for row in load_workbook(file)["Lists"].values if row[0]]
    assert offered == ["10482 · CBL · Cable EU", "600 · EU · Only there", "77 · RTR · Router EU"]


def test_renumbering_leaves_alone_what_stands_in_anothers_list(maker):
    make_rule("item", "UK", "77", legal_entity="GB01")
    make_rule("item", "EU", "77", legal_entity="DE01")
    make_rule("item", "BOTH", "77")
    lines = copies.renumber({"77": "600"}, list_name="items", connection="netsuite-eu", on=TODAY)
    assert [(line.key, line.value) for line in lines] == [("BOTH", "600"), ("EU", "600")]


def test_a_target_that_is_gone_is_looked_for_in_the_entitys_own_list(maker):
    make_rule("item", "UK", "500", legal_entity="GB01")
    make_rule("item", "UK-WRONG", "600", legal_entity="GB01")
    make_rule("item", "EU", "600", legal_entity="DE01")
    make_rule("item", "EU-WRONG", "500", legal_entity="DE01")
    make_rule("subsidiary", "DE01", "500")
    make_rule("subsidiary", "GB01", "500")
    assert tell_lost_targets("netsuite") == (1, 0)
    assert tell_lost_targets("netsuite-eu") == (2, 0)
    found = ExceptionCase.objects.order_by("pk").values_list("connection_code", "subject__kind", "subject__key")
    assert list(found) == [
        ("netsuite", "item", "UK-WRONG"),
        ("netsuite-eu", "item", "EU-WRONG"),
        ("netsuite-eu", "subsidiary", "DE01"),
    ]


@pytest.mark.parametrize("with_default", [False, True])
def test_a_target_of_all_entities_is_looked_for_in_each_list_where_nobody_plays_the_role_for_all(maker, with_default):
    if not with_default:
        RoleAssignment.objects.filter(legal_entity=None).update(legal_entity=factories.make_entity("GB01"))
    make_rule("item", "UK-ONLY", "500")
    make_rule("item", "BOTH", "77")
    make_rule("item", "NOWHERE", "900")
    make_rule("item", "DE-OWN", "900", legal_entity="DE01")
    make_rule("subsidiary", "GB*", "900")
    make_rule("subsidiary", "DE01", "500")
    for code in LISTS:
        tell_lost_targets(code)
    told = {(case.connection_code, case.subject["key"]) for case in ExceptionCase.objects.all()}
    ours = {("netsuite", "NOWHERE"), ("netsuite", "GB*"), ("netsuite-eu", "DE-OWN"), ("netsuite-eu", "DE01")}
    also = {("netsuite-eu", "NOWHERE"), ("netsuite-eu", "UK-ONLY"), ("netsuite-eu", "GB*")}
    assert told == (ours if with_default else ours | also)
