"""The conflict detector looks at what a set would leave behind: what stays of changed rules, what retired ones free."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from mappings import building, drafts
from mappings.drafts import Line, retirement_of
from mappings.models import MappingRule
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import check
from tests.mappings.test_change_sets import START, activate, faults_of, item

pytestmark = pytest.mark.django_db
AUGUST, SEPTEMBER = dt.date(2026, 8, 1), dt.date(2026, 9, 1)
JUNE_BEFORE = dt.date(2025, 6, 1)


@pytest.fixture
def in_gb(mira, cora) -> MappingRule:
    """SKU-1 in GB01 becomes 1, without an end."""
    activate([item("SKU-1", "1", legal_entity="GB01")], mira, cora)
    return MappingRule.objects.get()


def change(rule: MappingRule, value: str, start: dt.date, end: dt.date | None = None) -> Line:
    return item("SKU-1", value, legal_entity="GB01", act="change", rule_id=rule.pk, effective_from=start,
                effective_to=end)  # fmt: skip


def of_gbp(start: dt.date, end: dt.date | None = None) -> Line:
    return item("SKU-1", "9", currency="GBP", effective_from=start, effective_to=end)


def same(start: dt.date, end: dt.date | None = None, **facts) -> Line:
    line = Line(kind="item", key="SKU-1", value="9", legal_entity="GB01", effective_from=start, effective_to=end)
    return replace(line, **facts)


def test_what_stays_of_a_changed_rule_is_named_beside_another_row(in_gb, mira):
    stays = f"what stays of rule {in_gb.pk} (SKU-1 = 1) from"
    cases = [
        ([change(in_gb, "2", AUGUST, SEPTEMBER), of_gbp(SEPTEMBER)],
         [(1, "key", f"this and {stays} {SEPTEMBER} on (row 1) could both win")]),
        ([of_gbp(SEPTEMBER), change(in_gb, "2", AUGUST, SEPTEMBER)],
         [(1, "key", f"{stays} {SEPTEMBER} on and row 1 (SKU-1 = 9) could both win")]),
        ([change(in_gb, "2", AUGUST), same(JUNE_BEFORE, AUGUST)],
         [(1, "key", f"this and {stays} {START} on (row 1) could both win")]),
        ([retirement_of(in_gb, SEPTEMBER), of_gbp(AUGUST)],
         [(1, "key", f"this and {stays} {START} on (row 1) could both win")]),
    ]  # fmt: skip
    for lines, faults in cases:
        assert faults_of(lines, mira) == faults


def test_what_a_row_ends_is_free_for_another_from_that_day(in_gb, mira, cora):
    """As a sheet advises: retire the rule, and add a row."""
    for lines in (
        [retirement_of(in_gb, SEPTEMBER), of_gbp(SEPTEMBER)],
        [of_gbp(SEPTEMBER), retirement_of(in_gb, SEPTEMBER)],
        [retirement_of(in_gb, SEPTEMBER), same(SEPTEMBER)],
    ):
        assert drafts.check_lines(lines, by=mira) == []
    activate([retirement_of(in_gb, SEPTEMBER), of_gbp(SEPTEMBER)], mira, cora)
    rows = MappingRule.objects.filter(known_to=None).order_by("effective_from")
    assert list(rows.values_list("value", "effective_from", "effective_to")) == [
        ("1", START, SEPTEMBER), ("9", SEPTEMBER, None),
    ]  # fmt: skip


def test_a_fallback_and_another_rule_of_the_same_place_are_one_rule_on_the_same_days(in_gb, mira):
    says = "have the same key and scope on the same days"
    fallback = same(AUGUST, is_fallback=True)
    assert faults_of([fallback], mira) == [(0, "key", f"this and rule {in_gb.pk} (SKU-1 = 1) {says}")]
    lines = [replace(fallback, key="NEW"), same(AUGUST, key="NEW")]
    assert faults_of(lines, mira) == [(1, "key", f"this and row 1 (NEW = 9) {says}")]
    assert drafts.check_lines([retirement_of(in_gb, AUGUST), fallback], by=mira) == []


def test_a_draft_that_is_built_row_by_row_refuses_the_row_that_leaves_a_tie(in_gb, mira):
    building.add_to_draft("Pounds", "their own item", lines=[change(in_gb, "2", AUGUST)], by=mira)
    draft = building.add_to_draft("Pounds", "their own item", lines=[item("B", "1")], by=mira)
    with pytest.raises(drafts.DraftRefused) as refused:
        building.add_to_draft("Pounds", "their own item", lines=[of_gbp(START, AUGUST)], by=mira)
    (fault,) = refused.value.faults
    assert (fault.line, draft.lines.count()) == (0, 2)
    assert "what stays of rule" in fault.text


def test_a_change_that_ends_before_its_rule_begins_is_a_rule_of_its_own(mira, cora):
    activate([item("A", "old", effective_from=AUGUST)], mira, cora)
    rule = MappingRule.objects.get()
    line = Line(
        act="change", kind="item", key="A", value="X", rule_id=rule.pk, effective_from=JUNE_BEFORE,
        effective_to=dt.date(2025, 7, 1),
    )  # fmt: skip
    said = f"the rule begins on {AUGUST} only; add a new one for the days before"
    assert faults_of([line], mira) == [(0, "effective_to", said)]
    apart = replace(line, act="create", rule_id=None)
    activate([apart], mira, cora)
    rows = MappingRule.objects.filter(known_to=None).order_by("effective_from")
    assert list(rows.values_list("value", "effective_from", "effective_to")) == [
        ("X", JUNE_BEFORE, dt.date(2025, 7, 1)), ("old", AUGUST, None),
    ]  # fmt: skip


def test_a_sheet_retires_a_rule_and_adds_another_where_it_stood(maker):
    factories.make_entity("GB01")
    rule = make_rule("item", "SKU-1", "10482", legal_entity="GB01")
    sheet = (
        "Rule\tKey\tBecomes\tEntity\tCurrency\tFrom\tAct\tChanges from\n"
        f"{rule.pk}.1\tSKU-1\t10482\tGB01\t\t\tretire\t2026-12-01\n"
        "\tSKU-1\t10391\t\tGBP\t2026-12-01\t\t\n"
    )
    report = check(sheet, maker)
    assert report.faults == []
    assert [str(line.act) for line in report.lines] == ["retire", "create"]
