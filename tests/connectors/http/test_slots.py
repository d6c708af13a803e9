"""Calls at once over processes and threads: never more than the account takes, whatever is killed or away."""

import asyncio
import datetime as dt
import time
import uuid

import pytest
import redis

from connectors import lanes, slots
from connectors.lanes import AGES_SECONDS, BACKFILL, CRITICAL, NORMAL, Line
from connectors.slots import Slots
from q2c.core.problems import NeverSent


@pytest.fixture
def account():
    """An account that no other test leases slots of."""
    return f"vendor@{uuid.uuid4().hex}"


@pytest.fixture
def away(monkeypatch):
    """Redis can't be reached."""

    def refuse():
        raise redis.ConnectionError("away")

    monkeypatch.setattr(slots, "broker", refuse)


class Clock:
    def __init__(self):
        self.now = 5000.0

    def __call__(self):
        return self.now


def test_many_holders_share_the_slots_of_one_account_and_each_gets_its_turn(account):
    running, most, done = 0, 0, [0] * 8

    async def call(number, holder):
        nonlocal running, most
        slot = await holder.take(3)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        holder.give(slot)
        done[number] += 1

    async def story():
        holders = [Slots(account) for _ in done]  # as many processes would: each with its own queue
        await asyncio.gather(*(call(n, holder) for n, holder in enumerate(holders) for _ in range(6)))
        for holder in holders:
            holder.drop()

    asyncio.run(story())
    assert (most, done) == (3, [6] * 8)


def test_slots_are_kept_from_call_to_call_without_asking_again(account, monkeypatch):
    asked = []
    broker = slots.broker()
    monkeypatch.setattr(slots, "broker", lambda: asked.append(1) or broker)

    async def story():
        holder = Slots(account)
        for _ in range(200):
            holder.give(await holder.take(5))
        count = len(asked)
        holder.drop()
        return count

    assert asyncio.run(story()) == 1


def test_slots_of_a_killed_process_are_free_when_their_lease_ends(account, monkeypatch):
    monkeypatch.setattr(slots, "LEASE_SECONDS", 0.2)

    async def story():
        killed, living = Slots(account), Slots(account)
        await killed.take(1)
        killed._keeper.cancel()
        living.give(await living.take(1))
        living.drop()

    asyncio.run(story())


def test_a_holder_that_was_paused_past_its_lease_finds_its_slot_gone(account, monkeypatch):
    async def story():
        paused, other = Slots(account), Slots(account)
        slot = await paused.take(1)
        slots.broker().delete(f"q2c:slots:{account}")  # its lease has ended
        taken = await other.take(1)
        paused._trip(0)
        paused.give(slot)
        assert (paused.held, paused.free, list(other.held)) == ({}, [], [taken])
        other.drop()
        paused.drop()

    asyncio.run(story())


def test_what_is_leased_is_known_again_after_redis_was_wiped(account):
    async def story():
        first, second = Slots(account), Slots(account)
        slot = await first.take(1)
        slots.broker().delete(f"q2c:slots:{account}")
        first._trip(0)
        second.at_once = 1
        granted, *_ = second._ask_redis(1)
        assert (granted, list(first.held)) == ([], [slot])
        first.drop()
        second.drop()

    asyncio.run(story())


@pytest.mark.scenario(53, of="calls, whatever they write")
def test_without_redis_a_process_waits_for_all_leases_to_end_and_keeps_to_its_share(account, away, monkeypatch):
    monkeypatch.setattr(slots, "_share_alone", lambda at_once: 2)

    async def story():
        clock = Clock()
        holder = Slots(account, clock=clock)
        calls = [asyncio.ensure_future(holder.take(5)) for _ in range(3)]
        await asyncio.sleep(0)
        holder._trip(3)
        assert holder.held == {}  # another may hold all that Redis gave before it went
        clock.now += slots.LEASE_SECONDS
        holder._trip(3)
        assert len(holder.held) == 2
        for call in calls:
            call.cancel()
        holder._keeper.cancel()

    asyncio.run(story())


@pytest.mark.scenario(53)
def test_a_call_that_gets_no_slot_was_not_sent_and_is_no_attempt(account, away, monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.01)
    with pytest.raises(NeverSent) as refusal:
        asyncio.run(Slots(account).take(5))
    assert (refusal.value.counts, refusal.value.wait_seconds) == (False, 1.0)


def test_a_free_slot_is_the_highest_lanes_first_within_a_process(account):
    served = []

    async def call(holder, lane):
        slot = await holder.take(1, lane)
        served.append(lane)
        await asyncio.sleep(0)
        holder.give(slot)

    async def story():
        holder = Slots(account)
        first = await holder.take(1)
        calls = [asyncio.ensure_future(call(holder, lane)) for lane in (BACKFILL, NORMAL, CRITICAL, NORMAL)]
        await asyncio.sleep(0)
        holder.give(first)
        await asyncio.gather(*calls)
        holder.drop()

    asyncio.run(story())
    assert served == [CRITICAL, NORMAL, NORMAL, BACKFILL]


def test_a_process_with_urgent_calls_gets_all_slots_of_one_with_back_fill(account):
    async def story():
        slow, urgent = Slots(account), Slots(account)
        held = [await slow.take(4, BACKFILL) for _ in range(4)]
        wanted = [asyncio.ensure_future(urgent.take(4, CRITICAL)) for _ in range(4)]
        more = [asyncio.ensure_future(slow.take(4, BACKFILL)) for _ in range(8)]
        while len(urgent.held) < 4:
            for slot in [s for s in held if s in slow.held]:
                slow.give(slot)
            held += [task.result() for task in more if task.done()]
            await asyncio.sleep(0.01)
        kept = len(slow.held)
        for task in [*wanted, *more]:
            task.cancel()
        slow.drop()
        urgent.drop()
        return kept

    assert asyncio.run(asyncio.wait_for(story(), 20)) == 0


def test_back_fill_gets_its_turn_beside_urgent_calls_without_end(account, monkeypatch):
    monkeypatch.setattr(lanes, "AGES_SECONDS", 0.05)

    async def story():
        slow, urgent = Slots(account), Slots(account)
        served = asyncio.Event()

        async def call_on_and_on():
            while not served.is_set():
                slot = await urgent.take(1, CRITICAL)
                await asyncio.sleep(0.002)
                urgent.give(slot)

        async def call_once():
            slot = await slow.take(1, BACKFILL)
            served.set()
            slow.give(slot)

        await asyncio.gather(call_once(), *(call_on_and_on() for _ in range(3)))
        slow.drop()
        urgent.drop()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_what_has_waited_long_enough_goes_before_a_higher_lane():
    clock = Clock()
    line = Line(clock)
    line.join("old back-fill", BACKFILL)
    clock.now += 2 * AGES_SECONDS
    line.join("urgent", CRITICAL)
    line.join("new back-fill", BACKFILL)
    assert [line.take() for _ in range(3)] == ["old back-fill", "urgent", "new back-fill"]


def test_a_refusal_for_too_many_calls_halves_the_slots_of_every_process(account):
    async def story():
        slots.lower(account, 4)
        holder, other = Slots(account), Slots(account)
        taken = [asyncio.ensure_future(h.take(4)) for h in (holder, other) for _ in range(4)]
        while sum(task.done() for task in taken) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        count = sum(task.done() for task in taken)
        for task in taken:
            task.cancel()
        holder.drop()
        other.drop()
        return count

    assert asyncio.run(story()) == 2


LOOKS = 40


@pytest.mark.parametrize("processes", [2, 10, 20])
def test_busy_processes_use_every_slot_and_none_of_them_goes_without(account, processes):
    done = [0] * processes
    in_use: list[int] = []

    async def story():
        holders = [Slots(account) for _ in done]

        async def call_on_and_on(number):
            while len(in_use) < LOOKS or not all(done):
                slot = await holders[number].take(15)
                await asyncio.sleep(0.02)
                holders[number].give(slot)
                done[number] += 1

        async def look():
            while not all(h._leased_until for h in holders):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)  # until each has told what it wants
            while len(in_use) < LOOKS or not all(done):
                in_use.append(sum(len(h.held) for h in holders))
                await asyncio.sleep(0.02)

        work = asyncio.gather(look(), *(call_on_and_on(n) for n in range(processes) for _ in range(16)))
        await asyncio.wait_for(work, 30)
        for holder in holders:
            holder.drop()

    asyncio.run(story())
    assert max(in_use) == 15
    assert sorted(in_use)[len(in_use) // 2] >= 13
    assert min(done) > 0


def test_what_is_lowered_is_known_with_its_beginning_and_its_end(account):
    assert slots.lowered_of(account) is None
    slots.lower(account, 9)
    first = slots.lowered_of(account)
    time.sleep(0.02)
    before = dt.datetime.now(dt.UTC)
    slots.lower(account, 9)  # refused again
    again = slots.lowered_of(account)
    assert (first.at_once, again.at_once, again.since) == (4, 4, first.since)
    assert again.until > first.until
    lasts, slack = dt.timedelta(seconds=slots.LOWERED_SECONDS), dt.timedelta(milliseconds=10)  # two clocks
    assert before + lasts - slack < again.until < dt.datetime.now(dt.UTC) + lasts + slack
    slots.forget_lowered()
    assert slots.lowered_of(account) is None


def test_while_redis_is_away_nothing_is_known_as_lowered(account, away):
    slots.lower(account, 9)
    assert slots.lowered_of(account) is None
