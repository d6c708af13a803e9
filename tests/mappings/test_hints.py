"""Suggestions for what is missing: each with its reason and its record, never applied by themselves, never first again
once refused."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from mappings import choices, drafts, hints
from mappings.approvals import propose_change_set, sign_change_set
from mappings.drafts import Line
from mappings.kinds import BY_CODE
from mappings.models import ChangeSet, MappingRule, SuggestionChoice, SuggestionRate
from q2c.records.models import GoldenRecord
from tests import factories
from tests.core.people import make_person
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db
START = dt.date(2026, 1, 1)
ITEM = BY_CODE["item"]


@pytest.fixture
def maker(client):
    make_items()
    for code in ("GB01", "DE01"):
        factories.make_entity(code)
    person = factories.make_person("mapping_admin", username="mira")
    client.force_login(person)
    return person


def hints_for(key: str, **facts) -> list[tuple[str, str]]:
    found = hints.find_hints(ITEM, [key], connection="netsuite", **facts)[key]
    return [(hint.target.id, hint.reason) for hint in found]


def decide(person, key: str, value: str, *, approve: bool) -> ChangeSet:
    """A proposed row of GB01, decided by somebody else."""
    line = Line(kind="item", key=key, value=value, legal_entity="GB01", connection="netsuite", effective_from=START)
    change_set = drafts.save_draft("Map", "It was missing", lines=[drafts.line_for(line)], by=person)
    propose_change_set(change_set, by=person)
    sign_change_set(
        change_set, by=make_person(f"cora{change_set.pk}", "controller"), approve=approve, alarm=print, why="looked at"
    )
    return change_set


def test_the_same_key_elsewhere_the_same_code_and_what_is_alike_are_suggested_with_their_reasons(maker):
    make_rule("item", "GTX-A", "10391", legal_entity="DE01")
    make_rule("item", "GTX-ROUTER-5G", "10482", legal_entity="DE01")
    found = hints.find_hints(ITEM, ["GTX-A", "gtx-mnt-l", "GTX-ROUTER-5X", "ZZ"], connection="netsuite")
    assert (found["GTX-A"][0].target.id, found["GTX-A"][0].says) == ("10391", "the same key becomes it in DE01")
    assert (found["gtx-mnt-l"][0].target.id, found["gtx-mnt-l"][0].says) == ("10391", "it has the same code")
    like = next(h for h in found["GTX-ROUTER-5X"] if h.reason == hints.LIKE_KEY)
    assert (like.target.id, like.says) == (
        "10482", "GTX-ROUTER-5G becomes it, a key 92 % alike that two people agreed on",
    )  # fmt: skip
    assert found["ZZ"] == []
    named = hints.find_hints(ITEM, ["ZZ"], connection="netsuite", names={"ZZ": "Wall mount L"})["ZZ"]
    assert [(h.target.id, h.reason) for h in named][:1] == [("10391", "like_name")]


def test_what_was_rejected_or_passed_over_is_not_offered_first_again(maker):
    make_rule("item", "A", "10482", legal_entity="DE01")
    make_rule("item", "A", "10391", legal_entity="DE01", currency="EUR")
    make_rule("item", "A", "10391", legal_entity="DE01", currency="USD")
    assert hints_for("A")[0] == ("10391", "same_key")
    decide(maker, "A", "10391", approve=False)
    assert [value for value, _ in hints_for("A")][:2] == ["10482", "10391"]
    line = Line(kind="item", key="A", value="10391", legal_entity="GB01", effective_from=START)
    choices.note_choice(line, offered="10482", reason="same_key", by=maker)
    assert {h.was_refused for h in hints.find_hints(ITEM, ["A"], connection="netsuite")["A"]} == {True}


def test_the_record_counts_what_was_taken_and_stayed_and_is_appended_to(maker):
    make_rule("item", "A", "10391", legal_entity="DE01")
    for key, taken, approve in (
        ("A", "10391", True),
        ("B", "10391", True),
        ("C", "10391", False),
        ("D", "10482", True),
    ):
        line = Line(kind="item", key=key, value=taken, legal_entity="GB01", connection="netsuite", effective_from=START)
        choices.note_choice(line, offered="10391", reason="same_key", by=maker)
        decide(maker, key, taken, approve=approve)
    open_ = Line(kind="item", key="E", value="10391", legal_entity="GB01", connection="netsuite", effective_from=START)
    choices.note_choice(open_, offered="10391", reason="same_key", by=maker)  # nobody has decided about it
    assert choices.count_rates() == 1
    assert choices.rates_of("item") == {"same_key": (4, 2)}
    assert choices.count_rates() == 0
    decide(maker, "B", "10482", approve=True)  # it didn't stay
    assert choices.count_rates() == 1
    assert list(SuggestionRate.objects.order_by("pk").values_list("tried", "right")) == [(4, 2), (4, 1)]
    hint = hints.find_hints(ITEM, ["A"], connection="netsuite")["A"][0]
    assert hint.record == "right 1 of 4 times"


def test_a_hole_of_the_matrix_is_filled_into_the_persons_draft_by_one_press(client, maker):
    GoldenRecord.objects.create(
        record_type="product", record_key="salesforce:Product2:A", content={"sku": "A", "name": "A"},
        changed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    make_rule("item", "A", "10391", legal_entity="DE01")
    shown = client.get("/mappings/matrix/?kind=item").content.decode()
    assert "the same key becomes it in DE01; no such suggestion was decided yet" in shown
    taken = re.search(r'name="take" value="([^"]*)"', shown)[1].replace("&amp;", "&")
    answer = client.post("/mappings/matrix/take/", {"take": taken, "here": "kind=item"})
    assert answer["Location"] == "/mappings/matrix/?kind=item"
    draft = ChangeSet.objects.get(state="draft")
    assert list(draft.lines.values_list("key", "value", "legal_entity_code", "act")) == [
        ("A", "10391", "GB01", "create")
    ]
    assert MappingRule.objects.filter(legal_entity_code="GB01").count() == 0
    assert list(SuggestionChoice.objects.values_list("key", "offered", "chosen", "reason")) == [
        ("A", "10391", "10391", "same_key")
    ]
    assert f"CS-{draft.pk}" in client.get("/mappings/matrix/?kind=item").content.decode()


def test_the_grid_asks_for_a_rows_suggestions_and_keeps_which_was_offered(client, maker):
    make_rule("item", "A", "10391", legal_entity="DE01")
    shown = client.get("/mappings/hints/?kind=item&key=A&legal_entity=GB01&for=value-1").content.decode()
    assert 'data-offered="10391 same_key"' in shown
    assert 'data-take="10391" data-for="value-1"' in shown
    sent = {"rows": "1", "key-0": "A", "legal_entity-0": "GB01", "value-0": "10482", "offered-0": "10391 same_key"}
    client.post("/mappings/grid/?kind=item", sent)
    assert list(SuggestionChoice.objects.values_list("offered", "chosen")) == [("10391", "10482")]
