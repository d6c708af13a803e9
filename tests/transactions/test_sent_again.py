"""What nobody answered is sent again: a change of a record that is there already, and under which key."""

from __future__ import annotations

from decimal import Decimal

import pytest

from q2c.core.problems import AlreadyThere, Category, NeverSent, NotAnswered, Problem
from q2c.transactions import machine, restart
from q2c.transactions.models import BusinessTransaction, WorkItem
from q2c.transactions.writing import SENT_AGAIN_MAX
from tests.transactions.machine_rig import Document, ForgetfulRepeats, Rig, Target, add_transactions, flow
from tests.transactions.test_machine import make_due, states

pytestmark = pytest.mark.django_db(transaction=True)

SILENCE = NotAnswered("no answer came")
UNAVAILABLE = Problem("system_unavailable", Category.AVAILABILITY, "503")


class Records(Target):
    """A target that takes a write of a record that it has as a change of it, and answers as it is told, once each."""

    repeats = ForgetfulRepeats()

    def __init__(self, *answers: Exception | None, takes: bool = False) -> None:
        super().__init__()
        self.answers, self.takes, self.sent = list(answers), takes, 0
        self.no_look: Exception | None = None

    async def find(self, external_id):
        if self.no_look is not None:
            raise self.no_look
        return await super().find(external_id)

    async def post(self, prepared):
        self.sent += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is None or self.takes:
            await super().post(prepared)
        if answer is not None:
            raise answer
        return self.documents[prepared.external_id]


def stands_as(target, amount):
    """The target has the only transaction's record, with this amount."""
    name = f"x-{BusinessTransaction.objects.get().number}"
    target.documents[name] = Document("thing", "D1", name, Decimal(amount))


def agrees(given, prepared, was_found):
    """Whether what the target holds is what we asked for."""
    if given.total == prepared.amount:
        return None
    return Problem("posted_differently", Category.DRIFT, f"it holds {given.total}")


@pytest.mark.scenario(1, 6)
@pytest.mark.parametrize(
    ("answers", "takes", "sent"),
    [
        ([SILENCE], False, 2),
        ([SILENCE], True, 2),
        ([UNAVAILABLE], False, 2),
        ([SILENCE, UNAVAILABLE], False, 3),
        ([SILENCE, AlreadyThere("somebody else's has that name")], False, 3),
    ],
)
def test_a_change_that_was_not_answered_is_sent_until_it_is(answers, takes, sent):
    target = Records(*answers, takes=takes)
    rig = Rig(target)
    add_transactions(1)
    stands_as(target, "9.00")
    changes = flow(upsert=True)
    for _ in answers:
        machine.advance(changes, rig.tools)
        assert states() == {"unknown": 1}
        make_due()
    machine.advance(changes, rig.tools)
    (record,) = target.documents.values()
    assert (states(), record.total, target.sent, target.looks) == ({"completed": 1}, Decimal("1.00"), sent, 0)


@pytest.mark.scenario(1, 50)
@pytest.mark.parametrize("upsert", [False, True])
def test_what_is_not_answered_is_held_where_others_are_answered_and_waits_where_nobody_is(upsert):
    count = SENT_AGAIN_MAX * 3
    target = Records(*[SILENCE] * count)
    rig = Rig(target)
    (one,) = add_transactions(1)
    writes = flow(upsert=upsert)
    while target.sent < count:
        target.answers_nobody = target.sent < count - SENT_AGAIN_MAX - 1
        assert rig.held == [], "an outage isn't a document's failure"
        machine.advance(writes, rig.tools)
        make_due()
    assert (states(), [h.problem.code for h in rig.held]) == ({"held": 1}, ["outcome_unknown"])
    restart.restart([one])
    for _ in range(1 if upsert else 2):  # what isn't there gets a new key first
        machine.advance(writes, rig.tools)
        make_due()
    assert (states(), target.sent, len(target.documents)) == ({"completed": 1}, count + 1, 1)


def test_only_what_was_sent_and_not_answered_counts_not_what_waited_or_was_looked_for():
    target = Records(*[SILENCE] * (SENT_AGAIN_MAX + 1))
    rig = Rig(target)
    add_transactions(1)
    creates = flow()
    machine.advance(creates, rig.tools)
    for waits in (NeverSent("it's paused", counts=False), UNAVAILABLE):
        target.no_look = waits
        for _ in range(SENT_AGAIN_MAX * 2):
            make_due()
            machine.advance(creates, rig.tools)
            assert (states(), target.sent) == ({"unknown": 1}, 1)
    target.no_look = None
    WorkItem.objects.update(probe_count=0)
    while target.sent <= SENT_AGAIN_MAX:
        assert (states().keys() <= {"unknown", "waiting"}, rig.held) == (True, [])
        make_due()
        machine.advance(creates, rig.tools)
    assert states() == {"held": 1}


@pytest.mark.scenario(4, 5)
def test_a_change_whose_worker_died_before_it_was_sent_is_sent(monkeypatch):
    target = Records()
    rig = Rig(target)
    (one,) = add_transactions(1)
    stands_as(target, "9.00")
    changes = flow(upsert=True)
    with monkeypatch.context() as dying:
        dying.setattr(machine.Sending, "send", lambda self, runs: runs and (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            machine.advance(changes, rig.tools)
    make_due()
    machine.advance(changes, rig.tools)
    (record,) = target.documents.values()
    assert (states(), record.total, target.sent) == ({"completed": 1}, Decimal("1.00"), 1)


@pytest.mark.parametrize(("holds", "state", "sent"), [("1.00", "completed", 1), ("9.00", "held", 1)])
def test_where_what_is_found_is_compared_it_is_believed(holds, state, sent):
    target = Records(SILENCE)
    rig = Rig(target)
    add_transactions(1)
    stands_as(target, holds)
    compared = flow(upsert=True, equal=agrees)
    machine.advance(compared, rig.tools)
    make_due()
    machine.advance(compared, rig.tools)
    assert (states(), target.sent, target.looks) == ({state: 1}, sent, 1)


def test_a_change_that_is_refused_for_another_records_sake_is_held_and_not_taken_for_made():
    target = Records(AlreadyThere("a record with that name exists"))
    rig = Rig(target)
    (one,) = add_transactions(1)
    stands_as(target, "9.00")
    changes = flow(upsert=True)
    machine.advance(changes, rig.tools)
    assert (states(), [h.problem.code for h in rig.held]) == ({"held": 1}, ["document_exists"])
    assert rig.held[0].problem.summary.endswith("a record with that name exists. This change wasn't made")
    assert target.looks == 0  # so it doesn't speak of a look-up
    restart.restart([one])
    machine.advance(changes, rig.tools)
    assert (states(), target.sent) == ({"completed": 1}, 2)
