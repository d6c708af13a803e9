"""An entity's rules for a new one, and targets renumbered from a day on: shown first, then proposed like any others."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from connectors.models import ReferenceEntry
from mappings import copies
from mappings.models import ChangeSet, Sheet
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
APRIL = dt.date(2027, 4, 1)


@pytest.fixture
def maker(maker):
    for code in ("GB01", "DE01"):
        factories.make_entity(code)
    return maker


def facts(lines):
    return [(line.act, line.kind, line.key, line.legal_entity, line.value, line.effective_from) for line in lines]


def test_an_entitys_rules_are_copied_without_those_that_the_other_has_and_those_that_ended(maker):
    make_rule("item", "A", "10482", connection="netsuite", legal_entity="GB01", conditions={"charge_type": ["usage"]})
    make_rule("item", "B", "10482", connection="netsuite", legal_entity="GB01")
    make_rule("item", "B", "10391", connection="netsuite", legal_entity="DE01")
    make_rule("item", "OLD", "10482", connection="netsuite", legal_entity="GB01", until=dt.date(2020, 1, 1))
    make_rule("item", "EVERYWHERE", "10482", connection="netsuite")
    make_rule("department", "Hardware", "7", legal_entity="GB01")
    lines, left_out = copies.copy_entity("GB01", "DE01", kinds=["item"], on=APRIL)
    assert facts(lines) == [("create", "item", "A", "DE01", "10482", APRIL)]
    assert lines[0].conditions == {"charge_type": ["usage"]}
    assert left_out == 1


MAY, JUNE = dt.date(2027, 5, 1), dt.date(2027, 6, 1)


@pytest.mark.parametrize(
    ("own", "until", "copied"),
    [
        ([], None, [(APRIL, None)]),
        ([(dt.date(2020, 1, 1), APRIL)], None, [(APRIL, None)]),  # it has ended: that isn't having it
        ([(dt.date(2020, 1, 1), MAY)], None, []),
        ([(MAY, None)], None, [(APRIL, MAY)]),
        ([(MAY, JUNE)], None, [(APRIL, MAY)]),
        ([(dt.date(2020, 1, 1), dt.date(2021, 1, 1)), (JUNE, None)], MAY, [(APRIL, MAY)]),
    ],
)
def test_a_rule_is_copied_for_the_days_on_which_the_other_has_none(maker, own, until, copied):
    make_rule("item", "A", "10482", legal_entity="GB01", until=until)
    for start, end in own:
        make_rule("item", "A", "10391", legal_entity="DE01", on=start, until=end)
    lines, left_out = copies.copy_entity("GB01", "DE01", kinds=["item"], on=APRIL)
    assert [(line.effective_from, line.effective_to) for line in lines] == copied
    assert left_out == 1 - len(copied)


def test_what_was_left_out_is_said(client, maker):
    for key in ("A", "B"):
        make_rule("item", key, "10482", connection="netsuite", legal_entity="GB01")
    sent = {"source": "GB01", "to": "DE01", "on": "2027-04-01", "kinds": ["item"]}
    make_rule("item", "A", "10391", connection="netsuite", legal_entity="DE01")
    shown = client.post("/mappings/rules/copy/", sent, follow=True).content.decode()
    assert "1 rule was left out: DE01 has its own on that day." in shown
    assert Sheet.objects.get().report["line_count"] == 1
    make_rule("item", "B", "10391", connection="netsuite", legal_entity="DE01")
    refused = client.post("/mappings/rules/copy/", sent)
    assert (
        "DE01 has its own rule on that day for each of the 2 of these kinds that GB01 has." in refused.content.decode()
    )
    refused = client.post("/mappings/rules/copy/", {**sent, "kinds": ["department"]})
    assert "GB01 has no rule of these kinds on that day." in refused.content.decode()


def test_a_copy_is_shown_and_proposed(client, maker):
    make_rule("item", "A", "10482", connection="netsuite", legal_entity="GB01")
    sent = {"source": "GB01", "to": "DE01", "on": "2027-04-01", "kinds": ["item", "department"]}
    answer = client.post("/mappings/rules/copy/", sent)
    sheet = Sheet.objects.get()
    assert answer["Location"] == f"/mappings/sheets/{sheet.pk}/"
    assert (sheet.report["faults"], sheet.report["line_count"]) == ([], 1)
    client.post(f"/mappings/sheets/{sheet.pk}/draft/", {"title": "DE01", "why": "It opens", "propose": "yes"})
    assert ChangeSet.objects.get(number=None).state == "proposed"


def test_accounts_are_renumbered_over_all_kinds_and_later_rules_from_their_own_day(maker):
    later = dt.date(2027, 9, 1)
    make_rule("account", "bank", "100", legal_entity="GB01")
    make_rule("account", "fees", "200", legal_entity="GB01")
    make_rule("gateway_bank", "stripe", "100", connection="netsuite")
    make_rule("gateway_bank", "paypal", "100", on=later)
    make_rule("item", "A", "100")
    make_rule("account", "rounding", "100", connection="other")
    lines = copies.renumber({"100": "110"}, list_name="accounts", connection="netsuite", on=APRIL)
    assert facts(lines) == [
        ("change", "account", "bank", "GB01", "110", APRIL),
        ("change", "gateway_bank", "paypal", "", "110", later),
        ("change", "gateway_bank", "stripe", "", "110", APRIL),
    ]


def test_a_renumbering_is_shown_with_its_faults_and_proposed_from_its_day(client, maker):
    netsuite = factories.make_connection("netsuite")
    for number in ("100", "110"):
        ReferenceEntry.objects.create(
            connection=netsuite, list_name="accounts", external_id=number, code=number, name=f"Bank {number}",
            attributes={"account_class": "asset"}, read_at=timezone.now(),
        )  # fmt: skip
    make_rule("account", "bank", "100", connection="netsuite")
    sent = {"list_name": "accounts", "connection": "netsuite", "on": "2027-04-01", "pairs": "100\t110\n"}
    client.post("/mappings/rules/renumber/", sent)
    sheet = Sheet.objects.get()
    assert sheet.report["faults"] == []
    assert [(d["act"], d["old"], d["new"], d["effective_from"]) for d in sheet.report["differences"]] == [
        ("change", "100", "110 Bank 110", "2027-04-01")
    ]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [("100", "Line 1 hasn’t both"), ("100,1\n100,2", "Line 2 says another"), ("9,8", "No rule becomes any of these")],
)
def test_pairs_that_cant_be_used_say_why(client, maker, pairs, said):
    sent = {"list_name": "accounts", "connection": "netsuite", "on": "2027-04-01", "pairs": pairs}
    answer = client.post("/mappings/rules/renumber/", sent)
    assert answer.status_code == 422
    assert said in answer.content.decode()
