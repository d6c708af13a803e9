"""Calls per second over processes, and the stated policy when Redis is away."""

import asyncio
import time
import uuid

import pytest
import redis

from connectors import throttle
from connectors.throttle import Throttle
from q2c.core.problems import NeverSent


class Clock:
    def __init__(self):
        self.now = 5000.0

    def __call__(self):
        return self.now


def _taken(line, clock, tries):
    return sum(line._take(clock.now) for _ in range(tries))


def test_two_processes_share_one_rate():
    clock = Clock()
    clock.now = throttle.time.time()
    name = f"shared-{id(clock)}"
    lines = [Throttle(name, 40.0, clock=clock) for _ in range(2)]
    assert 35 <= sum(_taken(line, clock, 100) for line in lines) <= 40


@pytest.mark.scenario(53)
def test_without_redis_each_process_keeps_to_a_quarter(monkeypatch):
    def away():
        raise redis.ConnectionError("away")

    monkeypatch.setattr(throttle, "broker", away)
    clock = Clock()
    line = Throttle("x", 40.0, clock=clock)
    assert _taken(line, clock, 100) == 10
    clock.now += 1
    assert _taken(line, clock, 100) == 10


def test_a_long_pause_of_the_vendors_is_no_attempt():
    clock = Clock()
    line = Throttle("x", None, clock=clock)
    line.pause(30)
    with pytest.raises(NeverSent) as refusal:
        asyncio.run(line.wait_turn())
    assert (refusal.value.wait_seconds, refusal.value.counts) == (30, False)
    clock.now += 30
    asyncio.run(line.wait_turn())


class LastAsked:
    """The machine's clock, and what it said last: when the throttle let the last call go out."""

    now = 0.0

    def __call__(self):
        self.now = time.monotonic()
        return self.now


def test_no_second_has_more_calls_than_the_rate_wherever_it_begins():
    """A single call, and nine tenths of a second later a backlog of two processes. On a loaded machine a while passes
    between the throttle's word and the call: a call is of a second if both are within it."""
    rate, name, went, enough = 40, uuid.uuid4().hex, [], 80

    async def process():
        clock = LastAsked()
        line = Throttle(name, float(rate), clock=clock)
        while len(went) < enough:
            await line.wait_turn()
            went.append((clock.now, time.monotonic()))

    async def story():
        await Throttle(name, float(rate)).wait_turn()
        await asyncio.sleep(0.9)
        await asyncio.gather(process(), process())

    time.sleep((1.95 - time.time() % 1) % 1)
    asyncio.run(asyncio.wait_for(story(), 60))
    most = max(sum(at <= let_out and is_out < at + 1 for let_out, is_out in went) for at, _ in went)
    assert 0.75 * rate <= most <= rate, "it's kept to, and isn't left unused"


def test_calls_that_come_one_by_one_take_no_more_of_the_rate_than_they_are():
    """Ten calls within a second, of a hundred that may go out: what is bought ahead and not used would count."""
    line = Throttle(uuid.uuid4().hex, 100.0)
    taken = []
    for _ in range(10):
        taken.append(line._take(time.monotonic()))
        time.sleep(0.06)
    assert taken == [True] * 10
