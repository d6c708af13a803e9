"""Two releases side by side on the same work: the older one leaves alone what it doesn't know, the newer one goes on
with what the older one began."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from django.db import connection

from q2c.flows import tasks
from q2c.transactions import machine, newer
from q2c.transactions.models import BusinessTransaction, StepRun, WorkItem
from q2c.transactions.steps import Read
from tests.transactions.machine_rig import Fact, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


class NewerFact(Fact, frozen=True, kw_only=True):
    """As the next release has it: one field more."""

    channel: str = "web"


def strict(kind: type) -> type:
    """The same type as ours are: what it doesn't know it refuses."""
    return msgspec.defstruct(kind.__name__, [(f.name, f.type) for f in msgspec.structs.fields(kind)],
                             frozen=True, forbid_unknown_fields=True,
                             namespace={"later_is": kind.later_is})  # fmt: skip


def check(fact: Fact) -> str:
    return f"checked {fact.number}"


def ours():
    """The flow of this release: strict about what it reads."""
    return dataclasses.replace(flow(), fact_type=strict(Fact))


def theirs(*, at: int = 1):
    """The flow of the next release: one step more."""
    steps = list(flow().steps)
    steps.insert(at, Read("check", "Check the thing", check, gives="checked"))
    return dataclasses.replace(flow(), steps=tuple(steps))


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in BusinessTransaction.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def make_due() -> None:
    WorkItem.objects.update(available_at="2020-01-01T00:00:00Z", intent_free_at="2020-01-01T00:00:00Z")


@pytest.mark.scenario(59)
def test_a_document_with_a_field_of_the_next_release_is_left_for_it():
    rig = Rig(Target())
    add_transactions(1)
    BusinessTransaction.objects.update(fact=msgspec.json.encode(NewerFact("INV-1", 1, channel="app")))
    machine.advance(ours(), rig.tools)
    one = BusinessTransaction.objects.get()
    assert (one.state, one.waits_for, one.attempt) == ("waiting", newer.WORDS, 1)
    assert rig.held == []
    item = WorkItem.objects.get()
    assert (item.worker, item.wait_count, item.probe_count, item.death_count) == ("", 0, 0, 0)
    assert item.available_at > one.state_at  # not at once: a newer worker has its turn
    assert StepRun.objects.count() == 0

    make_due()
    machine.advance(dataclasses.replace(flow(), fact_type=NewerFact), rig.tools)
    one.refresh_from_db()
    assert (one.state, one.waits_for) == ("completed", "")


@pytest.mark.scenario(59)
def test_a_document_that_nobody_can_read_is_held_as_ever():
    rig = Rig(Target())
    add_transactions(1)
    BusinessTransaction.objects.update(fact=b'{"number": 7, "amount": "1"}')
    machine.advance(ours(), rig.tools)
    assert states() == {"held": 1}


@pytest.mark.scenario(59)
def test_what_the_next_release_has_begun_is_left_for_it_write_and_all():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    add_transactions(1)
    machine.advance(theirs(), rig.tools)
    assert states() == {"unknown": 1}
    make_due()
    machine.advance(ours(), rig.tools)
    one = BusinessTransaction.objects.get()
    assert (one.state, one.waits_for, rig.held) == ("unknown", newer.WORDS, [])
    assert (target.looks, len(target.created)) == (0, 1)  # nobody was asked, nothing was sent

    make_due()
    machine.advance(theirs(), rig.tools)
    assert (states(), target.looks, len(target.created)) == ({"completed": 1}, 1, 1)


@pytest.mark.scenario(59)
def test_what_an_older_release_began_without_a_step_gets_it_and_goes_on():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert states() == {"unknown": 1}
    make_due()
    machine.advance(theirs(), rig.tools)
    assert (states(), len(target.created), rig.held) == ({"completed": 1}, 1, [])
    done = StepRun.objects.filter(transaction_id=one, state="done").order_by("sequence")
    assert list(done.values_list("step", flat=True)) == ["prepare", "check", "post"]


@pytest.mark.scenario(59)
def test_a_step_that_a_release_gave_up_stops_nobody():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    add_transactions(1)
    machine.advance(theirs(), rig.tools)
    make_due()
    machine.advance(dataclasses.replace(flow(), retired=("check",)), rig.tools)
    assert (states(), len(target.created)) == ({"completed": 1}, 1)


@pytest.mark.scenario(59)
def test_one_that_is_left_keeps_no_other_of_its_batch():
    rig = Rig(Target())
    add_transactions(3)
    first = BusinessTransaction.objects.order_by("id").first()
    BusinessTransaction.objects.filter(pk=first.pk).update(fact=msgspec.json.encode(NewerFact("INV-1", 1)))
    machine.advance(ours(), rig.tools)
    assert states() == {"waiting": 1, "completed": 2}


@pytest.mark.scenario(59)
def test_a_flow_of_the_next_release_is_left_for_it():
    add_transactions(1, flow_code="flow_of_tomorrow")
    assert tasks.carry("flow_of_tomorrow") == 0
    assert (states(), WorkItem.objects.get().worker) == ({"running": 1}, "")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM exceptions_exceptioncase")
        assert cursor.fetchone()[0] == 0
