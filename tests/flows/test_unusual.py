"""More held than usual, by flow and entity: told once, closed by itself, and silent while nothing is usual."""

from __future__ import annotations

import datetime as dt

import pytest

from exceptions import closing
from exceptions.fixes import Ending
from exceptions.models import ExceptionCase
from q2c.core.models import StatDay, StatHour
from q2c.flows import unusual
from tests import factories

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 18, 14, 20, tzinfo=dt.UTC)
LAST = NOW.replace(minute=0) - dt.timedelta(hours=1)  # the last full hour
WEEK = dt.timedelta(weeks=1)


def count(measure, at, number, *, flow="invoice_to_erp", entity="GB01"):
    key = {"measure": measure, "flow": flow, "legal_entity_code": entity, "about": "", "bucket": 0, "millis": 0}
    StatHour.objects.create(hour=at, count=number, connection_code="netsuite", **key)


def carries_since(weeks, *, flow="invoice_to_erp", entity="GB01"):
    key = {"flow": flow, "legal_entity_code": entity, "about": "", "bucket": 0, "millis": 0, "connection_code": ""}
    for back in range(weeks + 1):
        StatDay.objects.create(measure="begun", day=(NOW - back * WEEK).date() - dt.timedelta(days=3), count=9, **key)


def story(usual, held, *, weeks=6, **place):
    """So many held in the last hour, and in that of each of the weeks before."""
    carries_since(weeks, **place)
    for back, number in enumerate(usual, start=1):
        if number:
            count("held", LAST - back * WEEK, number, **place)
    if held:
        count("held", LAST, held, **place)


@pytest.mark.parametrize(
    ("usual", "held", "is_told"),
    [
        ((0, 0, 0, 0, 0), 10, True),
        ((0, 0, 0, 0, 0), 9, False),
        ((5, 5, 5, 5, 5), 12, True),
        ((5, 5, 5, 5, 5), 11, False),  # as chance has it
        ((40, 40, 40, 40, 40), 79, False),  # a busy day
        ((40, 40, 40, 40, 40), 80, True),
        ((0, 90, 0, 0, 90), 30, True),  # two storms make no habit
        ((90, 90, 90, 0, 0), 90, False),
    ],
)
def test_what_is_far_more_than_the_median_of_the_weeks_before_is_one_case(usual, held, is_told):
    story(usual, held)
    assert unusual.tell_of_many(NOW) == (int(is_told), 0)
    assert unusual.tell_of_many(NOW) == (0, 0)
    assert ExceptionCase.objects.count() == is_told


def test_the_case_names_flow_entity_figures_and_is_seen_by_the_entitys_people():
    factories.make_entity("GB01")
    story((2, 3, 2, 4, 3), 57)
    unusual.tell_of_many(NOW)
    case = ExceptionCase.objects.get(kind="more_held_than_usual")
    assert case.summary == "Invoice to ERP held documents of GB01 57 times in the last full hour; usual is 3"
    assert (case.severity, case.queue, case.flow, case.legal_entity_code) == (2, "platform", "invoice_to_erp", "GB01")


def test_another_entitys_or_flows_usual_is_not_ones_own():
    story((0, 0, 0, 0, 0), 20)
    story((20, 20, 20, 20, 20), 20, entity="US01")
    story((20, 20, 20, 20, 20), 20, flow="payment_to_erp")
    story((0, 0, 0, 0, 0), 20, flow="hold_to_source")  # it only says how a document stands
    assert unusual.tell_of_many(NOW) == (1, 0)
    case = ExceptionCase.objects.get()
    assert (case.flow, case.legal_entity_code) == ("invoice_to_erp", "GB01")


@pytest.mark.parametrize(("weeks", "is_told"), [(1, False), (2, False), (3, True)])
def test_nothing_is_usual_before_three_weeks(weeks, is_told):
    story((), 500, weeks=weeks)
    assert unusual.tell_of_many(NOW) == (int(is_told), 0)


def test_a_drip_that_no_hour_shows_is_told_by_its_day():
    carries_since(6)
    for back in range(24):
        count("held", LAST - dt.timedelta(hours=back), 3)
    assert unusual.tell_of_many(NOW) == (1, 0)
    assert "72 times in 24 hours; usual is 0" in ExceptionCase.objects.get().summary


def test_the_case_closes_when_as_few_are_held_as_usual_and_comes_back_with_the_next_storm():
    story((0, 0, 0, 0, 0), 50)
    unusual.tell_of_many(NOW)
    assert unusual.tell_of_many(NOW + dt.timedelta(hours=20)) == (0, 0)
    assert unusual.tell_of_many(NOW + dt.timedelta(hours=25)) == (0, 1)
    case = ExceptionCase.objects.get()
    assert (case.state, case.resolution) == ("resolved", "calm")
    count("held", LAST + dt.timedelta(hours=48), 50)
    assert unusual.tell_of_many(NOW + dt.timedelta(hours=48)) == (1, 0)
    case.refresh_from_db()
    assert (case.state, case.regressed_count) == ("open", 1)


def test_what_a_person_waived_is_not_told_again_that_day():
    story((0, 0, 0, 0, 0), 50)
    unusual.tell_of_many(NOW)
    closing.close_cases([Ending(ExceptionCase.objects.get(), "waived", "waived", "a price list went wrong")], by=None)
    assert unusual.tell_of_many(NOW) == (0, 0)


def test_judging_asks_two_statements_whatever_was_carried(django_assert_num_queries):
    for number in range(5):
        story((1, 1, 1, 1, 1), 1, entity=f"E{number}")
    with django_assert_num_queries(2):
        assert len(unusual.judge(NOW)) == 5
