"""A draft is built row by row by its author, and what was ended is proposed anew on the rules of now."""

from __future__ import annotations

import datetime as dt

import pytest

from exceptions import evidence, releases
from exceptions.tasks import gather_evidence
from mappings import building
from mappings.drafts import DraftRefused, Line, retirement_of
from mappings.models import ChangeSet, Evidence, MappingRule
from mappings.planning import overlay_of
from mappings.resolve import Snapshot
from q2c.core.approvals import ApprovalRefused
from tests.core.people import make_person
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
START, MARCH, APRIL = dt.date(2010, 1, 1), dt.date(2011, 3, 1), dt.date(2011, 4, 1)


@pytest.fixture
def maker():
    return make_person("ada", "mapping_admin")


def item(key: str, value: str, **facts) -> Line:
    return Line(kind="item", key=key, value=value, **({"effective_from": START} | facts))


def collect(maker, *lines: Line) -> ChangeSet:
    return building.add_to_draft("New SKUs", "The shop sells them", lines=lines, by=maker)


def test_rows_of_several_kinds_are_collected_in_one_draft_until_it_is_proposed(maker):
    draft = collect(maker, item("A", "1"))
    assert collect(maker, Line(kind="currency", key="GBP", value="1", effective_from=START)) == draft
    with pytest.raises(DraftRefused, match="could both win"):
        collect(maker, item("A", "2"))
    building.remove_line(draft, draft.lines.get(key="A").pk, by=maker)
    collect(maker, item("A", "3"))
    assert list(draft.lines.order_by("pk").values_list("kind", "key", "value")) == [
        ("currency", "GBP", "1"),
        ("item", "A", "3"),
    ]
    releases.propose_change_set(draft, by=maker)
    assert collect(maker, item("B", "1")) != draft
    with pytest.raises(ApprovalRefused, match="It was proposed already"):
        building.remove_line(draft, draft.lines.get(key="A").pk, by=maker)


def test_nobody_else_changes_a_draft(maker):
    draft = collect(maker, item("A", "1"))
    other = make_person("eve", "mapping_admin")
    for act in (
        lambda: building.remove_line(draft, draft.lines.get().pk, by=other),
        lambda: building.name_draft(draft, "Mine", "Because it is", by=other),
        lambda: releases.propose_change_set(draft, by=other),
    ):
        with pytest.raises(ApprovalRefused):
            act()
    assert (ChangeSet.objects.get().title, draft.lines.count()) == ("New SKUs", 1)


def test_what_a_changed_rule_voided_is_proposed_anew_on_the_rule_of_now(maker):
    make_rule("item", "A", "1")
    draft = collect(maker, item("A", "2", act="change", rule_id=MappingRule.objects.get().pk, effective_from=MARCH))
    releases.propose_change_set(draft, by=maker)
    second, checker = make_person("eve", "mapping_admin"), make_person("cora", "controller")
    rival = building.add_to_draft(
        "Other", "Another one", lines=[item("A", "3", act="change", rule_id=MappingRule.objects.get().pk)], by=second
    )
    releases.propose_change_set(rival, by=second)
    assert releases.decide_change_set(rival, by=checker, approve=True)[0].state == "approved"
    assert releases.decide_change_set(draft, by=checker, approve=True)[0].state == "void"
    draft.refresh_from_db()
    again, proposal = releases.propose_anew(draft, by=maker)
    assert (again.state, again.lines.get().old_value, proposal.state) == ("proposed", "3", "proposed")
    assert releases.decide_change_set(again, by=checker, approve=True)[0].state == "approved"
    with pytest.raises(ApprovalRefused, match="It is approved"):
        releases.propose_anew(again, by=maker)


def test_a_draft_is_answered_as_if_it_were_approved_and_changes_nothing_known(maker):
    make_rule("item", "A", "old")
    make_rule("item", "G*", "pattern", currency="GBP")
    make_rule("item", "B", "gone")
    of_a, of_b = (MappingRule.objects.get(key=key) for key in "AB")
    draft = collect(
        maker,
        item("A", "march", act="change", rule_id=of_a.pk, effective_from=MARCH, effective_to=APRIL),
        retirement_of(of_b, MARCH),
        item("GT", "exact"),
        item("C*", "c"),
    )

    def answers(snapshot: Snapshot) -> list[str | None]:
        asked = [("A", START), ("A", MARCH), ("A", APRIL), ("B", START), ("B", MARCH), ("GT", START), ("G1", START),
                 ("C9", START)]  # fmt: skip
        found = [snapshot.find("item", key, on=on, currency="GBP") for key, on in asked]
        return [f.value if f else None for f in found]

    before = answers(Snapshot.load([]))
    planned = answers(Snapshot.load([], overlay=overlay_of(draft)))
    assert before == ["old", "old", "old", "gone", "gone", "pattern", "pattern", None]
    assert planned == ["old", "march", "old", "gone", None, "exact", "pattern", "c"]
    assert answers(Snapshot.load([])) == before
    releases.propose_change_set(draft, by=maker)
    releases.decide_change_set(draft, by=make_person("cora", "controller"), approve=True)
    assert answers(Snapshot.load([])) == planned


def test_the_evidence_of_a_large_draft_is_found_out_in_a_task_which_then_proposes_it(maker, monkeypatch):
    monkeypatch.setattr(evidence, "LINES_SMALL", 1)
    draft = collect(maker, item("A", "1"), item("B", "1"))
    assert releases.propose_change_set(draft, by=maker) is None
    assert (draft.evidence.state, ChangeSet.objects.get().state) == ("computing", "draft")
    gather_evidence(draft.pk)
    assert (Evidence.objects.get().state, ChangeSet.objects.get().state) == ("ready", "proposed")


def test_evidence_is_made_anew_once_a_row_or_a_rule_has_changed(maker):
    draft = collect(maker, item("A", "1"), item("B", "1"))
    found = releases.ask_evidence(draft)
    assert evidence.is_fresh(found, draft)
    building.remove_line(draft, draft.lines.get(key="B").pk, by=maker)
    assert not evidence.is_fresh(found, draft)
    found = releases.ask_evidence(draft)
    make_rule("item", "Z", "1")
    assert not evidence.is_fresh(found, draft)


def test_a_draft_is_answered_as_if_it_had_held_since_an_earlier_day(maker):
    make_rule("item", "A", "first", until=MARCH)
    make_rule("item", "A", "second", on=MARCH)
    now = MappingRule.objects.get(value="second")
    may, february = dt.date(2011, 5, 1), dt.date(2011, 2, 1)
    draft = collect(
        maker, item("A", "new", act="change", rule_id=now.pk, effective_from=may), item("B", "b", effective_from=may)
    )
    before, early = Snapshot.load([]), Snapshot.load([], overlay=overlay_of(draft, since=february))

    def answers(snapshot: Snapshot) -> list[str | None]:
        days = [("A", START), ("A", february), ("A", MARCH), ("A", may), ("B", START), ("B", february)]
        found = [snapshot.find("item", key, on=on) for key, on in days]
        return [f.value if f else None for f in found]

    assert answers(before) == ["first", "first", "second", "second", None, None]
    assert answers(early) == ["first", "new", "new", "new", None, "b"]
