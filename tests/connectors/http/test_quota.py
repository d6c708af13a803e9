"""The last of a day's quota is kept for what is urgent; a new day is noticed by itself."""

from dataclasses import replace

import pytest
from aiohttp import web

from connectors import registry
from connectors.calls import outgoing
from connectors.lanes import BACKFILL, CRITICAL, NORMAL, lane_of
from connectors.quota import OLD_SECONDS, Quota
from q2c.core.problems import NeverSent
from tests.connectors.contract.vendor_facts import QUOTA_HEADERS, VENDORS
from tests.connectors.lines import dial, run, serving

TELLING = [code for code in VENDORS if registry.manifest(code).read_quota]


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


@pytest.mark.scenario(54, of="calls, whatever they write")
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


@pytest.mark.scenario(54)
@pytest.mark.parametrize("code", TELLING)
def test_what_others_take_of_a_shared_quota_is_noticed_with_the_next_answer_and_the_rest_is_kept(code):
    """Another program of the account uses most of the day's calls between two of ours."""
    used, lanes = iter((100, 960, 961)), []

    async def answer(request):
        lanes.append(int(request.path.rsplit("/", 1)[1]))
        return web.json_response({}, headers=QUOTA_HEADERS[code](next(used), 1000))

    async def story():
        async with serving(answer) as url:
            line = dial(url)
            line.read_quota = registry.manifest(code).read_quota

            async def call(lane):
                outgoing.set(replace(outgoing.get(), lane=lane))
                await line.call("GET", f"/calls/{lane}", verb="read")

            await call(NORMAL)  # 100 are used
            await call(BACKFILL)  # 960: the answer says so
            for lane in (NORMAL, BACKFILL):
                with pytest.raises(NeverSent) as refusal:
                    await call(lane)
                assert (refusal.value.counts, "960 of the day's 1,000" in refusal.value.summary) == (False, True)
            await call(CRITICAL)

    run(story())
    assert lanes == [NORMAL, BACKFILL, CRITICAL]
