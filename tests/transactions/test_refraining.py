"""A write that asks its target first, and then waits or is held instead of being sent."""

from __future__ import annotations

import pytest

from q2c.core.problems import Awaits, Category, NotAnswered, Problem, Refrained
from q2c.transactions import machine, restart
from q2c.transactions.models import BusinessTransaction, Dependency, WorkItem
from tests.transactions.machine_rig import Rig, Target, add_transactions, flow
from tests.transactions.test_machine import make_due, states

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_write_may_wait_for_another_and_goes_on_when_that_is_done():
    target = Target()
    target.problem = Awaits("void:src:1", "a void in the ERP")
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert (states(), rig.held, target.created) == ({"waiting": 1}, [], [])
    assert BusinessTransaction.objects.get().waits_for == "a void in the ERP"
    assert Dependency.objects.get().key == "void:src:1"
    item = WorkItem.objects.get(transaction_id=one)
    assert (item.intent, item.intent_free_at) == (None, None)
    target.problem = None
    assert restart.release_waits(["void:src:1"]) == {"test_flow"}
    machine.advance(flow(), rig.tools)
    assert (states(), len(target.created), target.looks) == ({"completed": 1}, 1, 0)


def test_what_waits_in_a_write_too_long_is_held_as_overdue():
    target = Target()
    target.problem = Awaits("void:src:1", "a void in the ERP", patience_seconds=-1)
    rig = Rig(target)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    make_due()
    machine.advance(flow(), rig.tools)
    assert [h.problem.code for h in rig.held] == ["dependency_overdue"]
    assert BusinessTransaction.objects.get().open_intent is None


@pytest.mark.parametrize(
    ("problem", "is_open"),
    [
        (Refrained("open_amount_exceeded", Category.CONFLICT, "less is open"), False),
        (Problem("vendor_refused", Category.VALIDATION, "no"), True),
    ],
)
def test_what_was_proved_absent_and_not_sent_again_leaves_no_intent_open(problem, is_open):
    target = Target()
    rig = Rig(target)
    add_transactions(1)
    target.problem = NotAnswered("no answer came")
    machine.advance(flow(), rig.tools)
    assert states() == {"unknown": 1}
    target.problem = problem
    make_due()
    machine.advance(flow(), rig.tools)
    txn = BusinessTransaction.objects.get()
    assert (txn.state, txn.problem_code, target.looks) == ("held", problem.code, 1)
    assert (txn.open_intent is not None) is is_open
