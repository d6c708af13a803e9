"""Calls at once over processes and threads: never more than the account takes, whatever is killed or away."""

import asyncio
import uuid

import pytest
import redis

from connectors import slots
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

    monkeypatch.setattr(slots, "_broker", refuse)


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
    broker = slots._broker()
    monkeypatch.setattr(slots, "_broker", lambda: asked.append(1) or broker)

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
        slots._broker().delete(f"q2c:slots:{account}")  # its lease has ended
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
        slots._broker().delete(f"q2c:slots:{account}")
        first._trip(0)
        second.at_once = 1
        granted, _, _ = second._ask_redis(1)
        assert (granted, list(first.held)) == ([], [slot])
        first.drop()
        second.drop()

    asyncio.run(story())


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


def test_a_call_that_gets_no_slot_was_not_sent_and_is_no_attempt(account, away, monkeypatch):
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.01)
    with pytest.raises(NeverSent) as refusal:
        asyncio.run(Slots(account).take(5))
    assert (refusal.value.counts, refusal.value.wait_seconds) == (False, 1.0)
