"""A change's own end is what was signed: it's never taken from the rule unseen, and it may take the rule's end away."""

from __future__ import annotations

import datetime as dt

import pytest

from mappings.forms import RuleForm
from mappings.models import ChangeLine, MappingRule
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import TODAY, check, faults
from tests.mappings.test_change_sets import APRIL, MARCH, START, activate, approve, faults_of, item, propose
from tests.mappings.test_grid import ADDRESS, form_of

pytestmark = pytest.mark.django_db
FEBRUARY = dt.date(2011, 2, 1)
YEAR_END = dt.date(2027, 1, 1)


def known(key: str = "A") -> list[tuple[str, dt.date, dt.date | None]]:
    rows = MappingRule.objects.filter(key=key, known_to=None).order_by("effective_from")
    return list(rows.values_list("value", "effective_from", "effective_to"))


@pytest.mark.parametrize(
    ("start", "end", "stands"),
    [
        (FEBRUARY, None, [("old", START, FEBRUARY), ("new", FEBRUARY, None)]),
        (FEBRUARY, APRIL, [("old", START, FEBRUARY), ("new", FEBRUARY, APRIL)]),
        (FEBRUARY, MARCH, [("old", START, FEBRUARY), ("new", FEBRUARY, MARCH), ("old", MARCH, APRIL)]),
        (START, None, [("new", START, None)]),
        (START, dt.date(2012, 1, 1), [("new", START, dt.date(2012, 1, 1))]),
    ],
)
def test_what_comes_into_force_ends_when_the_row_that_was_signed_says(mira, cora, start, end, stands):
    activate([item("A", "old", effective_to=APRIL)], mira, cora)
    rule = MappingRule.objects.get()
    line = item("A", "new", act="change", rule_id=rule.pk, effective_from=start, effective_to=end)
    change_set = propose([line], mira)
    assert change_set.proposal.content["rows"][0]["to"] == (end.isoformat() if end else None)
    assert approve(change_set, cora).is_in_force
    assert known() == stands


def test_an_end_that_is_taken_away_reaches_the_next_version_and_is_refused_by_name(mira, cora):
    activate([item("A", "1", effective_to=MARCH), item("A", "2", effective_from=MARCH)], mira, cora)
    first, second = MappingRule.objects.order_by("effective_from")
    line = item("A", "3", act="change", rule_id=first.pk)
    assert faults_of([line], mira) == [(0, "key", f"this and rule {second.pk} (A = 2) could both win")]


def test_the_form_of_a_change_begins_with_the_rules_own_end_and_takes_what_is_left_of_it(client, maker):
    rule = make_rule("item", "A", "10482", connection="netsuite", until=YEAR_END)
    form = RuleForm(kind="item", user=maker, rule=rule)
    assert form.initial["effective_to"] == YEAR_END
    assert 'value="1 Jan 2027"' in str(client.get(f"/mappings/rules/propose/?rule={rule.pk}").content)
    sent = {"key": "A", "value": "10391", "effective_from": "2026-12-01", "why": "It has moved", "then": "collect"}
    for until, stored in (("2027-01-01", YEAR_END), ("", None)):
        client.post(f"/mappings/rules/propose/?rule={rule.pk}", {**sent, "effective_to": until})
        line = ChangeLine.objects.get()
        assert (line.act, line.effective_to) == ("change", stored)
        line.change_set.delete()


def test_the_form_of_a_rule_that_begins_later_begins_with_its_first_day(maker):
    rule = make_rule("item", "A", "10482", connection="netsuite", on=dt.date(2099, 1, 1))
    assert RuleForm(kind="item", user=maker, rule=rule).initial["effective_from"] == dt.date(2099, 1, 1)


def sheet(rule: MappingRule, becomes: str, until: str | None) -> str:
    heads = "Rule\tKey\tBecomes\tSystem" + ("" if until is None else "\tUntil")
    cells = f"{rule.pk}.{rule.version}\tA\t{becomes}\tnetsuite" + ("" if until is None else f"\t{until}")
    return f"{heads}\n{cells}\n"


@pytest.mark.parametrize("until", [None, "2027-01-01"])
def test_a_sheets_corrected_version_ends_where_the_planned_one_begins(maker, until):
    rule = make_rule("item", "A", "10482", connection="netsuite", until=YEAR_END)
    make_rule("item", "A", "10500", connection="netsuite", on=YEAR_END)
    report = check(sheet(rule, "10391", until), maker)
    assert faults(report) == []
    (line,) = report.lines
    assert (line.act, line.effective_from, line.effective_to, line.value) == ("change", TODAY, YEAR_END, "10391")


def test_a_row_without_a_rules_number_and_without_an_end_speaks_of_the_value_alone(maker):
    make_rule("item", "A", "10482", connection="netsuite", until=YEAR_END)
    make_rule("item", "A", "10500", connection="netsuite", on=YEAR_END)
    report = check("Key\tBecomes\tSystem\tUntil\nA\t10391\tnetsuite\t\n", maker)
    assert faults(report) == []
    assert [(line.act, line.effective_to) for line in report.lines] == [("change", YEAR_END)]


def test_a_sheet_takes_an_end_away_where_no_other_version_follows(maker):
    rule = make_rule("item", "A", "10482", connection="netsuite", until=YEAR_END)
    (line,) = check(sheet(rule, "10482", ""), maker).lines
    assert (line.act, line.effective_from, line.effective_to) == ("change", rule.effective_from, None)
    later = make_rule("item", "A", "10500", connection="netsuite", on=YEAR_END)
    said = f"this and rule {later.pk} (A = 10500) could both win."
    assert faults(check(sheet(rule, "10482", ""), maker)) == [(2, "Key", said)]


def test_the_grids_corrected_version_ends_where_the_planned_one_begins(client, maker):
    make_rule("item", "A", "10482", connection="netsuite", until=YEAR_END)
    make_rule("item", "A", "10500", connection="netsuite", on=YEAR_END)
    sent = form_of(client)
    place = next(name[-1] for name, text in sent.items() if name.startswith("value-") and text == "10482")
    assert client.post(ADDRESS, sent | {f"value-{place}": "10391"}).status_code == 302
