"""Two people at one rule: whoever comes second sees what the first did, and nothing is overwritten."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from mappings.models import ChangeSet, MappingRule
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db
FORM = {"key": "A", "effective_from": "2010-01-01", "why": "It was the wrong one", "connection_code": "",
        "legal_entity_code": ""}  # fmt: skip


def client_of(name: str, role: str = "mapping_admin") -> Client:
    client = Client()
    client.force_login(factories.make_person(role, username=name, display_name=name.title()))
    return client


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


@pytest.fixture
def rule() -> MappingRule:
    make_items()
    return make_rule("item", "A", "10482")


def change(client: Client, rule: MappingRule, value: str):
    return client.post(f"/mappings/rules/propose/?rule={rule.pk}", FORM | {"value": value})


def approve(change_set: ChangeSet):
    form = {"verdict": "approve", "seen_hash": change_set.proposal.content_hash}
    return client_of("cora", "controller").post(f"/mappings/change-sets/{change_set.pk}/sign/", form, follow=True)


def test_who_proposes_after_the_first_was_approved_is_told_and_keeps_what_was_typed(rule):
    mira, eve = client_of("mira"), client_of("eve")
    assert eve.get(f"/mappings/rules/propose/?rule={rule.pk}").status_code == 200
    assert change(mira, rule, "10391").status_code == 302
    first = ChangeSet.objects.get(state="proposed")
    assert "Approved" in text(approve(first))
    late = change(eve, rule, "10500")
    assert late.status_code == 422
    said = (
        f"CS-{first.pk} of Mira changed it meanwhile: A is 10391. Nothing is overwritten. Begin with what it says now"
    )
    assert said in text(late)
    assert 'value="10500"' in late.content.decode()
    now = MappingRule.objects.get(known_to=None)
    moved = eve.get(f"/mappings/rules/propose/?rule={rule.pk}", follow=True)
    assert moved.redirect_chain == [(f"/mappings/rules/propose/?rule={now.pk}", 302)]
    assert "changed it meanwhile: A is 10391" in text(moved)
    assert change(eve, now, "10500").status_code == 302


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_that_wait_the_first_approved_voids_the_other_whichever_it_is(rule, order):
    mira, eve = client_of("mira"), client_of("eve")
    assert change(mira, rule, "10391").status_code == 302
    seen = text(eve.get(f"/mappings/rules/propose/?rule={rule.pk}"))
    assert "Mira has proposed a change of it already" in seen
    assert change(eve, rule, "10500").status_code == 302
    both = list(ChangeSet.objects.filter(state="proposed").order_by("pk"))
    winner, loser = both[order[0]], both[order[1]]
    assert "Approved" in text(approve(winner))
    said = text(approve(loser))
    value = ("10391", "10500")[order[0]]
    who = ("Mira", "Eve")[order[0]]
    assert "It’s void, and has to be proposed again." in said
    assert f"CS-{winner.pk} of {who} changed it meanwhile: A is {value}." in said
    assert MappingRule.objects.get(known_to=None).value == value


def test_a_retirement_meanwhile_is_told_too(rule):
    mira, eve = client_of("mira"), client_of("eve")
    retire = {"effective_from": "2010-01-01", "why": "Not sold any more"}
    assert mira.post(f"/mappings/rules/{rule.pk}/retire/", retire).status_code == 302
    first = ChangeSet.objects.get(state="proposed")
    approve(first)
    late = eve.post(f"/mappings/rules/{rule.pk}/retire/", retire)
    assert (late.status_code, f"CS-{first.pk} of Mira retired it meanwhile" in text(late)) == (422, True)
