"""When an entity works and when its months close: by governed rules, by what the code says where there is none."""

from __future__ import annotations

import datetime as dt

import pytest

from mappings.calendars import LEDGER, calendars
from mappings.drafts import Line, check_lines
from mappings.kinds import kind_of
from q2c.core.workdays import WorkCalendar
from tests.factories import make_entity, make_period, make_person
from tests.mappings.rules import make_rule

TODAY, OCTOBER = dt.date(2026, 11, 2), dt.date(2026, 10, 31)  # a Saturday
UTC = dt.UTC


@pytest.mark.parametrize(
    ("number", "day"),
    [(1, "2026-11-02"), (3, "2026-11-04"), (-1, "2026-10-30"), (-2, "2026-10-29"), (5, "2026-11-09")],
)
def test_working_days_of_a_close_are_counted_from_the_end_of_its_period(number, day):
    calendar = WorkCalendar(holidays=frozenset({dt.date(2026, 11, 6)}))
    assert calendar.working_day(OCTOBER, number) == dt.date.fromisoformat(day)


@pytest.mark.parametrize(("calendar", "number"), [(WorkCalendar(), 0), (WorkCalendar(weekdays=frozenset()), 1)])
def test_there_is_no_working_day_0_and_none_where_nobody_works(calendar, number):
    with pytest.raises(ValueError, match="work"):
        calendar.working_day(OCTOBER, number)


@pytest.mark.django_db
def test_a_close_is_where_the_rules_of_its_entity_put_it():
    make_entity("GB01", time_zone="Europe/London")
    make_entity("JP01", time_zone="Asia/Tokyo")
    make_rule("holiday", "2026-11-03", "Culture Day", legal_entity="JP01")
    make_rule("work_calendar", "receivables_close", "WD2 12:00", legal_entity="JP01")
    make_rule("work_calendar", "weekdays", "mon tue wed thu")
    found = calendars(["GB01", "JP01", "??"], on=TODAY)
    assert found["GB01"].closes_at(OCTOBER) == dt.datetime(2026, 11, 4, 18, tzinfo=UTC)
    assert found["GB01"].closes_at(OCTOBER, LEDGER) == dt.datetime(2026, 11, 9, 18, tzinfo=UTC)
    assert found["JP01"].closes_at(OCTOBER) == dt.datetime(2026, 11, 4, 3, tzinfo=UTC)  # not on Tuesday
    assert found["GB01"].work.weekdays == frozenset(range(4))
    assert found["??"].work == WorkCalendar()


@pytest.mark.django_db
def test_the_days_around_a_close_count_more_as_the_rules_say():
    make_period("GB01", "2026-10")
    found = calendars(["GB01"], on=TODAY)["GB01"]
    assert (min(found.fast), max(found.fast), found.pace) == (dt.date(2026, 10, 29), dt.date(2026, 11, 4), 2)
    make_rule("work_calendar", "close_days", "WD-1 to WD+1")
    make_rule("work_calendar", "close_pace", "3", legal_entity="GB01")
    found = calendars(["GB01"], on=TODAY)["GB01"]
    assert (min(found.fast), max(found.fast), found.pace) == (dt.date(2026, 10, 30), dt.date(2026, 11, 2), 3)
    make_rule("work_calendar", "close_pace", "1", on=TODAY)
    make_rule("work_calendar", "close_days", "WD-1 to close", legal_entity="GB01")  # it can't be drafted
    assert calendars(["GB01"], on=TODAY)["GB01"].fast == frozenset()


@pytest.mark.parametrize(
    ("kind", "key", "value", "fault"),
    [
        (
            "work_calendar",
            "ledger_close",
            "3 18:00",
            "3 18:00 isn't a working day after the period",
        ),
        ("work_calendar", "opens", "9", "9 isn't a time such as 09:00"),
        ("work_calendar", "close_days", "WD-1 to close", "WD-1 to close isn't working days around a period's end"),
        ("work_calendar", "close_pace", "0", "0 isn't a number from 1 to 9"),
        ("holiday", "2026-02-30", "Never", "2026-02-30 isn't a date such as 2026-12-25"),
        ("manual_rate", "KWDGBP", "2.5", "KWDGBP isn't two currencies as base/quote, such as KWD/GBP"),
        ("manual_rate", "GBP/GBP", "1", "GBP/GBP isn't two currencies as base/quote, such as KWD/GBP"),
        ("manual_rate", "KWD/GBP", "abc", "abc isn't a rate above 0, such as 2.5714"),
        ("manual_rate", "KWD/GBP", "0.00", "0.00 isn't a rate above 0, such as 2.5714"),
        ("holiday", "20261225", "Christmas", "20261225 isn't a date such as 2026-12-25"),
    ],
)
@pytest.mark.django_db
def test_what_cannot_be_a_calendar_or_a_rate_is_refused_with_what_can(kind, key, value, fault):
    assert kind_of(kind).allows_patterns is False
    faults = check_lines([Line(kind=kind, key=key, value=value, effective_from=TODAY)], by=make_person("controller"))
    assert [f.text.startswith(fault) for f in faults] == [True]
