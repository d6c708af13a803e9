"""What waits: each wait has a patience of its own, and who was held as overdue goes on once its parent has come."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from q2c.core.problems import Awaits, NotAnswered
from q2c.transactions import claims, machine, restart
from q2c.transactions.models import BusinessTransaction, Dependency, WorkItem
from q2c.transactions.steps import Read
from tests.transactions.machine_rig import Fact, ForgetfulRepeats, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class World:
    """Which parents have come."""

    def __init__(self) -> None:
        self.came: set[str] = set()

    def flow(self, *keys: str):
        """A flow that waits for each of these before it posts."""
        steps = list(flow().steps)
        for key in reversed(keys):
            steps.insert(1, Read(f"await_{key}", f"Wait for {key}", self.waiter(key), gives=f"has_{key}"))
        return dataclasses.replace(flow(), steps=tuple(steps))

    def waiter(self, key: str):
        def await_parent(fact: Fact) -> str:
            if key not in self.came:
                raise Awaits(key, f"parent {key}", patience_seconds=3600)
            return key

        return await_parent


def due() -> None:
    WorkItem.objects.update(available_at=timezone.now())


def state() -> str:
    return BusinessTransaction.objects.get().state


def test_each_wait_has_its_own_patience():
    world, rig = World(), Rig(Target())
    waiting = world.flow("a", "b")
    add_transactions(1)
    machine.advance(waiting, rig.tools)
    Dependency.objects.filter(key="a").update(patience_until=LONG_AGO)
    world.came.add("a")
    for _ in range(3):
        due()
        machine.advance(waiting, rig.tools)
    assert state() == "waiting"
    assert list(Dependency.objects.values_list("key", flat=True)) == ["b"]


def test_a_repost_of_what_is_overdue_waits_with_new_patience():
    world, rig = World(), Rig(Target())
    waiting = world.flow("a")
    (one,) = add_transactions(1)
    machine.advance(waiting, rig.tools)
    Dependency.objects.update(patience_until=LONG_AGO)
    due()
    machine.advance(waiting, rig.tools)
    assert (state(), [h.problem.code for h in rig.held]) == ("held", ["dependency_overdue"])
    restart.restart([one])
    for _ in range(3):
        due()
        machine.advance(waiting, rig.tools)
    assert state() == "waiting"


def test_what_is_cancelled_while_it_is_held_waits_for_nothing_any_more():
    world, rig = World(), Rig(Target())
    waiting = world.flow("a")
    (one,) = add_transactions(1)
    machine.advance(waiting, rig.tools)
    Dependency.objects.update(patience_until=LONG_AGO)
    due()
    machine.advance(waiting, rig.tools)
    assert restart.cancel([one], why="billing voided it") == [one]
    assert (state(), Dependency.objects.count()) == ("cancelled", 0)


def test_what_is_overdue_is_named_once_its_parent_has_come_and_a_parent_that_isnt_enough_is_waited_for_anew():
    world, rig = World(), Rig(Target())
    waiting = world.flow("a")
    (one,) = add_transactions(1)
    machine.advance(waiting, rig.tools)
    restart.release_waits(["a"])  # a version of it, and not the one that is waited for
    machine.advance(waiting, rig.tools)
    assert Dependency.objects.get().patience_until < timezone.now() + dt.timedelta(hours=2)
    Dependency.objects.update(patience_until=LONG_AGO)
    due()
    machine.advance(waiting, rig.tools)
    assert (state(), restart.followers()) == ("held", [])
    restart.release_waits(["a"])
    assert restart.followers() == [one]


def test_the_longest_wait_is_still_a_wait():
    world, rig = World(), Rig(Target())
    waiting = world.flow("a")
    add_transactions(1)
    WorkItem.objects.update(probe_count=32_767)
    machine.advance(waiting, rig.tools)
    assert (state(), rig.held, WorkItem.objects.get().probe_count) == ("waiting", [], 30_000)


def test_looks_for_a_parent_dont_count_as_unanswered_sends():
    target = Target()
    rig = Rig(target)
    add_transactions(1)
    WorkItem.objects.update(probe_count=20)
    target.problem = NotAnswered("no answer came")
    machine.advance(flow(), rig.tools)
    assert (state(), rig.held) == ("unknown", [])
    assert WorkItem.objects.get().probe_count == 1


class Slow(ForgetfulRepeats):
    """Shows what was made after a minute, and makes a second one when asked twice."""

    settles_after_seconds = 60.0


def unanswered() -> tuple[Rig, object]:
    """A write that nobody answered, of what once waited for a parent."""
    rig = Rig(Target())
    rig.target.repeats = Slow()
    (one,) = add_transactions(1)
    Dependency.objects.create(transaction_id=one, key="a", since=LONG_AGO, patience_until=LONG_AGO)
    rig.target.lose_answers = 1
    machine.advance(flow(), rig.tools)
    assert state() == "unknown"
    return rig, one


def test_a_parent_that_comes_again_doesnt_hurry_what_its_target_may_not_show_yet():
    unanswered()
    restart.release_waits(["a"])
    assert claims.claim_batch(flow="test_flow", worker="w", limit=9) == []


def test_nor_does_a_repost():
    _, one = unanswered()
    held = BusinessTransaction.objects.get()
    intent = WorkItem.objects.get().intent
    WorkItem.objects.all().delete()
    now = timezone.now()
    free_at = (now + dt.timedelta(seconds=90)).isoformat()
    BusinessTransaction.objects.filter(pk=held.pk).update(
        state="held", state_at=now, open_intent={**intent, "free_at": free_at}
    )
    restart.restart([one])
    assert claims.claim_batch(flow="test_flow", worker="w", limit=9) == []
    wait = WorkItem.objects.get().available_at - now
    assert dt.timedelta(seconds=59) < wait < dt.timedelta(seconds=61)  # as long as its target takes to show it


def test_an_open_write_of_which_nobody_knows_when_it_is_free_is_freed_with_its_dead_worker():
    rig = Rig(Target())
    add_transactions(1)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE transactions_workitem SET worker = 'gone', batch_size = 2, intent_free_at = NULL, intent = %s",
            ['{"step": "post"}'],
        )
    assert len(claims.release_dead("test_flow")) == 1
    assert rig.held == []
