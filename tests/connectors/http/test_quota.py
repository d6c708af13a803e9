"""The last of a day's quota is kept for what is urgent; a new day is noticed by itself."""

import uuid
from dataclasses import replace

import pytest
import redis
from aiohttp import web

from connectors import quota as quotas
from connectors import registry
from connectors.breaker import breaker_of
from connectors.calls import outgoing
from connectors.lanes import BACKFILL, CRITICAL, NORMAL, lane_of
from connectors.quota import COUNT_OLD_SECONDS, DAY_SECONDS, OLD_SECONDS, Count, Quota
from q2c.core.problems import NeverSent
from tests.connectors.contract.vendor_facts import QUOTA_HEADERS, VENDORS
from tests.connectors.lines import LIMITS, dial, run, serving

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


NOON = 20_000 * DAY_SECONDS + DAY_SECONDS / 2


@pytest.fixture
def processes():
    """Two processes' counts of one account, each with its clock, at noon."""
    account, clocks = uuid.uuid4().hex, (Clock(), Clock())
    for clock in clocks:
        clock.now = NOON
    return [Count(account, "netsuite", clock) for clock in clocks]


def make_calls(count, lane, per_day, tries):
    """How many of so many calls went out."""
    went = 0
    for _ in range(tries):
        if goes(count, lane, per_day=per_day):
            count.take(per_day=per_day)
            went += 1
    return went


def later(seconds, *counts):
    for count in counts:
        count.clock.now += seconds


@pytest.mark.scenario(54)
@pytest.mark.parametrize("per_day", [10, 100, 5_000])
def test_where_the_vendor_does_not_tell_calls_are_counted_and_the_lanes_stop_in_order(processes, per_day):
    one, other = processes
    assert make_calls(one, BACKFILL, per_day, 2 * per_day) == -(-80 * per_day // 100)
    later(COUNT_OLD_SECONDS, other)
    assert not goes(other, BACKFILL, per_day=per_day), "counted over processes"
    slack = 2 * max(1, per_day // 2_000)  # each has some ahead
    assert abs(make_calls(other, NORMAL, per_day, per_day) - 0.15 * per_day) <= 1 + slack
    later(COUNT_OLD_SECONDS, one)
    assert abs(make_calls(one, CRITICAL, per_day, per_day) - 0.04 * per_day) <= 1 + slack
    later(DAY_SECONDS / 2, one, other)
    assert [goes(count, BACKFILL, per_day=per_day) for count in processes] == [True, True], "another day"
    assert one.used == 0


def test_without_a_ceiling_nothing_is_counted(processes, monkeypatch):
    monkeypatch.setattr(quotas, "broker", refuse)
    assert goes(processes[0], BACKFILL)
    assert processes[0].take() is None


def refuse():
    raise redis.ConnectionError("away")


def test_a_wipe_of_redis_forgets_nothing_that_a_process_knows_and_while_it_is_away_each_counts_on(
    processes, monkeypatch
):
    one, other = processes
    assert make_calls(one, BACKFILL, 100, 50) == 50
    for key in quotas.broker().scan_iter(f"q2c:calls:{one.account}:*"):
        quotas.broker().delete(key)
    later(COUNT_OLD_SECONDS, one, other)
    assert make_calls(one, BACKFILL, 100, 10) == 10
    later(COUNT_OLD_SECONDS, other)
    goes(other, BACKFILL, per_day=100)
    assert other.used == 60
    with monkeypatch.context() as away:
        away.setattr(quotas, "broker", refuse)
        later(COUNT_OLD_SECONDS, one, other)
        assert [make_calls(one, BACKFILL, 100, 5), make_calls(one, BACKFILL, 100, 30)] == [5, 15]
    later(COUNT_OLD_SECONDS, one, other)
    assert [goes(count, BACKFILL, per_day=100) for count in processes] == [False, False], "what it made alone is told"


def test_a_connection_of_a_vendor_that_does_not_tell_stops_at_its_ceiling():
    came = []

    async def answer(request):
        came.append(1)
        return web.json_response({})

    async def story():
        async with serving(answer) as url:
            line = dial(url, limits=replace(LIMITS, per_day=10))
            outgoing.set(replace(outgoing.get(), lane=BACKFILL))
            for _ in range(8):
                await line.call("GET", "/calls", verb="read")
            with pytest.raises(NeverSent, match="8 of the day's 10 calls") as refusal:
                await line.call("GET", "/calls", verb="read")
            assert refusal.value.counts is False

    run(story())
    assert len(came) == 8
    assert (breaker_of("vendor").quota_used, breaker_of("vendor").quota_limit) == (8, 10)


def test_a_call_that_is_not_sent_is_not_counted():
    async def story():
        line = dial("http://127.0.0.1:9", limits=replace(LIMITS, per_day=10))
        own = breaker_of("vendor")
        own.shared, own.state, own.open_until = None, "open", own.clock() + 60
        for _ in range(12):
            with pytest.raises(NeverSent, match="isn't answering"):
                await line.call("GET", "/calls", verb="read")

    run(story())
    assert breaker_of("vendor").quota_used is None
