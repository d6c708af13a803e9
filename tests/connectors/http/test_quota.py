"""The last of a day's quota is kept for what is urgent; a new day is noticed by itself."""

import pytest

from connectors import registry
from connectors.lanes import BACKFILL, CRITICAL, NORMAL, lane_of
from connectors.quota import OLD_SECONDS, Quota
from q2c.core.problems import NeverSent


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def goes(quota, lane, **more):
    try:
        quota.let_through(lane, **more)
    except NeverSent as refusal:
        return bool(refusal.counts)
    return True


@pytest.mark.parametrize(
    ("used", "goes_on"),
    [(799, [True, True, True]), (800, [True, True, False]), (950, [True, False, False]), (990, [False, False, False])],
)
def test_lower_lanes_stop_before_the_quota_ends(used, goes_on):
    quota = Quota("salesforce", Clock())
    quota.note(used, 1000)
    assert [goes(quota, lane) for lane in (CRITICAL, NORMAL, BACKFILL)] == goes_on


def test_a_ceiling_of_ours_counts_below_the_vendors_and_without_a_word_of_the_vendor_nothing_stops():
    quota = Quota("salesforce", Clock())
    assert goes(quota, BACKFILL, per_day=10)
    quota.note(400, 1000)
    assert [goes(quota, NORMAL, per_day=500), goes(quota, NORMAL, per_day=400)] == [True, False]


def test_one_call_asks_again_when_what_was_told_is_old():
    clock = Clock()
    quota = Quota("salesforce", clock)
    quota.note(1000, 1000)
    clock.now += OLD_SECONDS
    assert [goes(quota, CRITICAL), goes(quota, CRITICAL)] == [True, False]
    quota.note(3, 1000)
    assert goes(quota, BACKFILL)


def test_a_work_items_priority_names_its_lane():
    assert [lane_of(n) for n in (1, 3, 4, 6, 7, 9)] == [CRITICAL, CRITICAL, NORMAL, NORMAL, BACKFILL, BACKFILL]


@pytest.mark.parametrize(
    ("text", "ceiling"), [("25", 25), ("50000", 50_000), ("", None), (None, None), ("50,000", None), ("-1", None),
                          ("0", None), ("inf", None), ("nan", None), ("25/s", None)],
)  # fmt: skip
def test_a_ceiling_that_is_no_number_above_0_holds_nothing_up(text, ceiling):
    assert registry.read_ceiling(text) == ceiling


@pytest.mark.parametrize(("priority", "lane"), [(1, 0), (3, 0), (5, 1), (7, 2), (9, 2), (-1, 2), (-5, 1), (-9, 0)])
def test_old_work_that_was_raised_keeps_the_lane_of_its_calls(priority, lane):
    assert lane_of(priority) == lane
