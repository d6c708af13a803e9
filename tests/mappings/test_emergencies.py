"""What an emergency put in force ends by itself: what stood before holds again, and later agreements stay."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from mappings import approvals, emergencies
from mappings.drafts import retirement_of
from mappings.models import ChangeSet, MappingRule
from mappings.resolve import latest_change_set
from q2c.core import audit
from q2c.core import emergencies as uses
from tests.core.people import make_person
from tests.mappings.test_change_sets import APRIL, MARCH, START, activate, item, never, propose, value_of

FEBRUARY = dt.date(2011, 2, 1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def dev():
    return make_person("dev", "emergency")


def in_emergency(lines, mira, dev, hours: int = 4) -> ChangeSet:
    change_set = propose(lines, mira)
    decision = approvals.sign_change_set(
        change_set, by=dev, approve=True, alarm=never, why="The bank run leaves at noon", emergency_hours=hours
    )
    assert decision.state == "approved"
    return change_set


def later(hours: int = 5):
    return time_machine.travel(timezone.now() + dt.timedelta(hours=hours))


def rule(key: str) -> MappingRule:
    return MappingRule.objects.get(key=key, known_to=None)


def answers() -> list[str | None]:
    asked = [("A", START), ("A", MARCH), ("A", APRIL), ("B", START), ("B", MARCH), ("C", MARCH)]
    return [value_of(key, on) for key, on in asked]


def test_after_its_hours_all_is_as_it_was_and_what_was_known_meanwhile_stays_known(mira, cora, dev):
    activate([item("A", "1"), item("B", "1")], mira, cora)
    before = answers()
    change = item("A", "2", act="change", rule_id=rule("A").pk, effective_from=MARCH, effective_to=APRIL)
    change_set = in_emergency([change, retirement_of(rule("B"), MARCH), item("C", "9")], mira, dev)
    meanwhile = answers()
    assert meanwhile == ["1", "2", "1", "1", None, "9"]
    assert emergencies.end_due(by=cora) == []  # its hours aren't over
    with later():
        (ended,) = emergencies.end_due(by=cora)
        assert emergencies.end_due(by=cora) == []
    assert answers() == before == ["1", "1", "1", "1", "1", None]
    assert [value_of("A", MARCH, change_set=n) for n in (1, change_set.number, ended.number)] == ["1", "2", "1"]
    assert list(ended.lines.order_by("pk").values_list("act", "key", "old_value", "value")) == [
        ("change", "A", "2", "1"), ("create", "B", "", "1"), ("retire", "C", "9", "9"),
    ]  # fmt: skip
    restored = MappingRule.objects.get(key="A", known_to=None, effective_from=MARCH)
    assert (restored.proposed_by, restored.approved_by) == (mira, cora)
    assert audit.verify().holds


def test_what_two_people_agreed_on_meanwhile_stays(mira, cora, dev):
    activate([item("A", "1"), item("B", "1")], mira, cora)
    change = item("A", "2", act="change", rule_id=rule("A").pk)
    in_emergency([change, retirement_of(rule("B"), START)], mira, dev)
    activate([item("A", "3", act="change", rule_id=rule("A").pk), item("B", "3", effective_from=MARCH)], mira, cora)
    with later():
        emergencies.end_due(by=cora)
    assert answers()[:5] == ["3", "3", "3", "1", "3"]


@pytest.mark.parametrize(
    ("act", "stands"),
    [
        ("retire", [("1", START, APRIL)]),
        ("change", [("1", START, MARCH), ("3", MARCH, APRIL), ("1", APRIL, None)]),
        ("change until further notice", [("1", START, MARCH), ("3", MARCH, None)]),
    ],
)
def test_only_what_the_emergency_still_holds_goes_back(mira, cora, dev, act, stands):
    """A=1, in an emergency A=2; meanwhile two people speak of A from a day on: of those days nothing is restored."""
    activate([item("A", "1")], mira, cora)
    in_emergency([item("A", "2", act="change", rule_id=rule("A").pk)], mira, dev)
    if act == "retire":
        line = retirement_of(rule("A"), APRIL)
    else:
        until = APRIL if act == "change" else None
        line = item("A", "3", act="change", rule_id=rule("A").pk, effective_from=MARCH, effective_to=until)
    activate([line], mira, cora)
    with later():
        emergencies.end_due(by=cora)
    rows = MappingRule.objects.filter(key="A", known_to=None).order_by("effective_from")
    assert list(rows.values_list("value", "effective_from", "effective_to")) == stands


def test_of_what_it_retired_nothing_goes_back_on_days_of_which_two_people_spoke_since(mira, cora, dev):
    activate([item(key, "1") for key in "ABC"], mira, cora)
    in_emergency([retirement_of(rule(key), MARCH) for key in "ABC"], mira, dev)
    activate([item("A", "3", effective_from=MARCH)], mira, cora)
    activate([retirement_of(MappingRule.objects.get(known_to=None, value="3"), APRIL)], mira, cora)
    activate([retirement_of(rule("B"), FEBRUARY)], mira, cora)
    with later():
        emergencies.end_due(by=cora)
    rows = MappingRule.objects.filter(known_to=None).order_by("key", "effective_from")
    assert list(rows.values_list("key", "value", "effective_from", "effective_to")) == [
        ("A", "1", START, MARCH), ("A", "3", MARCH, APRIL), ("B", "1", START, FEBRUARY),
        ("C", "1", START, MARCH), ("C", "1", MARCH, None),
    ]  # fmt: skip


def test_what_another_emergency_said_meanwhile_is_no_agreement_once_it_is_over(mira, cora, dev):
    activate([item("B", "1")], mira, cora)
    in_emergency([retirement_of(rule("B"), START)], mira, dev, hours=4)
    in_emergency([item("B", "9")], mira, dev, hours=1)
    with later(2):
        emergencies.end_due(by=cora)
    with later(5):
        emergencies.end_due(by=cora)
    assert value_of("B", MARCH) == "1"


def test_it_restores_nothing_that_could_win_beside_what_was_agreed_on_meanwhile(mira, cora, dev):
    activate([item("A", "1", legal_entity="GB01")], mira, cora)
    in_emergency([retirement_of(rule("A"), START)], mira, dev)
    activate([item("A", "3", currency="GBP")], mira, cora)
    with later():
        emergencies.end_due(by=cora)
    assert MappingRule.objects.get(known_to=None).value == "3"


def test_two_emergencies_on_one_rule_end_with_what_stood_before_both(mira, cora, dev):
    activate([item("A", "1")], mira, cora)
    in_emergency([item("A", "2", act="change", rule_id=rule("A").pk)], mira, dev, hours=1)
    in_emergency([item("A", "3", act="change", rule_id=rule("A").pk)], mira, dev, hours=4)
    with later(2):
        emergencies.end_due(by=cora)
        assert value_of("A", MARCH) == "3"
    with later(5):
        emergencies.end_due(by=cora)
    assert value_of("A", MARCH) == "1"


def test_an_objection_ends_it_at_once_and_a_confirmation_never(mira, cora, dev):
    activate([item("A", "1")], mira, cora)
    stays = in_emergency([item("B", "2")], mira, dev)
    wrong = in_emergency([item("A", "2", act="change", rule_id=rule("A").pk)], mira, dev)

    def end(use):
        emergencies.end_emergency(use, by=cora)

    for change_set, verdict in ((stays, "stays"), (wrong, "objected")):
        uses.review(change_set.proposal.emergency, by=cora, verdict=verdict, says="Read both", found={}, end=end)
    assert (value_of("A", MARCH), value_of("B", MARCH)) == ("1", "2")
    with later():
        assert emergencies.end_due(by=cora) == []
    assert value_of("B", MARCH) == "2"
    assert latest_change_set() == 4
