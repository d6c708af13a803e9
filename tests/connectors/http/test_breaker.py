"""When calls stop, and how they begin again."""

import asyncio

import pytest
from aiohttp import web

from connectors.breaker import Breaker, breaker_of
from q2c.core.problems import NeverSent, NotAnswered, Problem
from tests.connectors.lines import dial, run, serving


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker("netsuite", clock)


def test_five_failures_in_a_row_open_it(breaker):
    for _ in range(4):
        breaker.note_failure("timeout")
    breaker.let_through()
    breaker.note_failure("timeout")
    with pytest.raises(NeverSent) as refusal:
        breaker.let_through()
    assert refusal.value.counts is False
    assert refusal.value.wait_seconds == 5


def test_half_of_twenty_calls_in_a_minute_open_it(breaker):
    for _ in range(10):
        breaker.note_success(5)
        breaker.note_failure("timeout")
    assert breaker.state == "open"


def test_failures_older_than_a_minute_are_forgotten(breaker, clock):
    for _ in range(9):
        breaker.note_failure("timeout")
        breaker.note_success(5)
    clock.now += 61
    for _ in range(9):
        breaker.note_success(5)
        breaker.note_failure("timeout")
    assert breaker.state == "closed"


def test_one_probe_goes_out_and_closes_it(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    with pytest.raises(NeverSent):
        breaker.let_through()
    breaker.note_success(7)
    breaker.let_through()
    assert (breaker.state, breaker.failures_in_row, breaker.latency_ms) == ("closed", 0, 7)


def test_a_failed_probe_doubles_the_pause(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    breaker.note_failure("timeout")
    clock.now += 5
    with pytest.raises(NeverSent):
        breaker.let_through()
    clock.now += 5
    breaker.let_through()


def test_a_probe_that_never_left_lets_the_next_one_try(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    breaker.drop_probe()
    breaker.let_through()
    assert breaker.state == "half_open"


def test_server_errors_open_it_and_refusals_do_not():
    statuses = iter([400] * 30 + [503] * 5)
    seen = []

    async def answer(request):
        seen.append(1)
        return web.Response(status=next(statuses))

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            for _ in range(35):
                with pytest.raises(Problem):
                    await telephone.call("POST", "/x", verb="x")
            with pytest.raises(NeverSent):
                await telephone.call("POST", "/x", verb="x")

    run(story())
    assert len(seen) == 35
    assert breaker_of("vendor").state == "open"


def test_an_outage_lets_only_one_probe_reach_the_vendor():
    seen, release = [], asyncio.Event()

    async def answer(request):
        seen.append(1)
        await release.wait()
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            breaker = breaker_of("vendor")
            for _ in range(5):
                breaker.note_failure("timeout")
            breaker.open_until = breaker.clock()
            telephone = dial(url)
            calls = [asyncio.ensure_future(telephone.call("POST", "/x", verb="x")) for _ in range(10)]
            while not seen:
                await asyncio.sleep(0)
            release.set()
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run(story())
    assert len(seen) == 1
    assert sum(isinstance(o, NeverSent) for o in outcomes) == 9
    assert not any(isinstance(o, NotAnswered) for o in outcomes)
