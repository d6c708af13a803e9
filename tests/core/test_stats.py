"""Counting: appended, added up once, and read without counting anything large."""

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from q2c.core import stats
from q2c.core.models import StatDay, StatDelta, StatHour, StatTotal
from tests import factories

pytestmark = pytest.mark.django_db


def sums(model):
    return {(row.measure, row.about): row.count for row in model.objects.all()}


def test_what_one_commit_counts_is_one_row_and_is_added_up_once():
    with stats.gathering():
        for _ in range(50):
            stats.note("held", flow="f", about="mapping")
        with stats.gathering():
            stats.note("completed", flow="f", seconds=0.2, count=3)
    assert StatDelta.objects.count() == 1
    stats.note("held", flow="f", about="mapping")
    assert stats.roll_up() == 2
    assert stats.roll_up() == 0
    wanted = {("held", "mapping"): 51, ("completed", ""): 3}
    assert sums(StatHour) == sums(StatDay) == sums(StatTotal) == wanted
    timed = StatHour.objects.get(measure="completed")
    assert (timed.bucket, timed.millis) == (stats.bucket_of(0.2), 600)


def test_what_fails_counts_nothing():
    def fail():
        with stats.gathering():
            stats.note("held")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    stats.note("held", about="later")
    assert [row.rows[0]["a"] for row in StatDelta.objects.all()] == ["later"]


def test_a_day_is_the_entitys_own_and_an_hour_everybodys():
    factories.make_entity("JP01")
    stats.note("held", entity="JP01")
    stats.note("held")
    StatDelta.objects.update(at=dt.datetime(2026, 11, 30, 20, 30, tzinfo=dt.UTC))
    stats.roll_up()
    assert dict(StatDay.objects.values_list("legal_entity_code", "day")) == {
        "JP01": dt.date(2026, 12, 1), "": dt.date(2026, 11, 30),
    }  # fmt: skip
    assert set(StatHour.objects.values_list("hour", flat=True)) == {dt.datetime(2026, 11, 30, 20, tzinfo=dt.UTC)}


def test_percentiles_are_read_from_summed_histograms():
    bounds = stats.BOUNDS
    buckets = stats.add([{stats.bucket_of(0.3): 90}, {stats.bucket_of(0.3): 5, stats.bucket_of(40): 5}])
    assert stats.percentile(buckets, 0.5) == pytest.approx(0.25 + 0.25 * 50 / 95)
    assert stats.percentile(buckets, 0.99) == pytest.approx(30 + 30 * 4 / 5)
    assert stats.within(buckets, 30) == 95
    assert stats.within(buckets, 60) == 100
    assert stats.percentile({len(bounds) + 1: 1}, 0.5) == bounds[-1]
    assert stats.percentile({0: 4}, 0.5) is None
    assert [stats.bucket_of(bound) for bound in bounds] == list(range(1, len(bounds) + 1))


def test_a_second_one_that_adds_up_at_the_same_time_leaves_it_to_the_first():
    stats.note("held")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [stats._LOCK])
            assert stats.roll_up() == 0
            cursor.execute("SELECT pg_advisory_unlock(%s)", [stats._LOCK])
        assert stats.roll_up() == 1
    finally:
        other.close()


def test_old_figures_go_and_totals_stay():
    stats.note("held")
    stats.roll_up()
    long_ago = timezone.now() - dt.timedelta(days=900)
    StatHour.objects.update(hour=long_ago)
    StatDay.objects.update(day=long_ago.date())
    assert stats.let_go_of_old() == 2
    assert sums(StatTotal) == {("held", ""): 1}
