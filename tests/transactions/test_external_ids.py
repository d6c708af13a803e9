"""One document under one external id, whoever wants it; and commits whose answers are lost with the connection."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import OperationalError, transaction

from q2c.core.problems import Category, Problem
from q2c.transactions import machine, remember, restart
from q2c.transactions.models import BusinessTransaction, ExternalIdUse, StepRun, WorkItem
from q2c.transactions.writing import SENT_AGAIN_MAX
from tests.transactions.machine_rig import Document, ForgetfulRepeats, Prepared, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


class KeyedRepeats(ForgetfulRepeats):
    """A target that replays by a header, and makes a second document under another key."""

    idempotency_header = "Idempotency-Key"


def same_for_all(fact) -> Prepared:
    return Prepared("x-account", fact.amount)


ONE_ID = flow(prepare=same_for_all)


@pytest.fixture
def rig():
    target = Target()
    target.repeats = KeyedRepeats()
    return Rig(target)


def advance(rig) -> None:
    WorkItem.objects.update(available_at="2020-01-01T00:00:00Z", intent_free_at="2020-01-01T00:00:00Z")
    machine.advance(ONE_ID, rig.tools)


def states(ids) -> list[str]:
    found = dict(BusinessTransaction.objects.values_list("id", "state"))
    return [found[each] for each in ids]


def test_two_of_one_batch_make_one_document_and_the_other_finds_it(rig):
    both = add_transactions(2)
    advance(rig)
    assert sorted(states(both)) == ["completed", "waiting"]
    advance(rig)
    assert states(both) == ["completed", "completed"]
    assert rig.target.created == ["x-account"]
    assert not ExternalIdUse.objects.get().is_open


@pytest.mark.parametrize("goes_first", ["who has sent", "who would send"])
def test_nobody_else_sends_while_an_outcome_is_open(rig, monkeypatch, goes_first):
    (first,) = add_transactions(1)
    rig.target.lose_answers = 1
    advance(rig)
    (second,) = add_transactions(1)
    WorkItem.objects.filter(pk=first).update(available_at="2100-01-01T00:00:00Z")
    machine.advance(ONE_ID, rig.tools)
    assert states([first, second]) == ["unknown", "waiting"]
    assert BusinessTransaction.objects.get(pk=second).waits_for == "another transaction that makes x-account"
    load, order = machine.load_runs, [first, second] if goes_first == "who has sent" else [second, first]
    monkeypatch.setattr(machine, "load_runs", lambda *a: sorted(load(*a), key=lambda run: order.index(run.id)))
    advance(rig)
    assert states([first, second]) == ["completed", "waiting"]
    advance(rig)
    assert states([first, second]) == ["completed", "completed"]
    assert rig.target.created == ["x-account"]


def test_what_was_refused_may_be_made_by_another(rig):
    (first,) = add_transactions(1)
    rig.target.problem = Problem("vendor_refused", Category.VALIDATION, "No", connection="memory", error="no")
    advance(rig)
    rig.target.problem = None
    (second,) = add_transactions(1)
    advance(rig)
    assert states([first, second]) == ["held", "completed"]
    restart.restart([first])
    advance(rig)
    assert states([first]) == ["completed"]
    assert rig.target.created == ["x-account"]


def test_an_open_outcome_that_was_cancelled_is_looked_up_by_the_next(rig):
    (first,) = add_transactions(1)
    rig.target.lose_answers = 1
    advance(rig)
    BusinessTransaction.objects.filter(pk=first).update(state="cancelled")
    WorkItem.objects.filter(pk=first).delete()
    (second,) = add_transactions(1)
    advance(rig)
    advance(rig)
    assert states([second]) == ["completed"]
    assert rig.target.created == ["x-account"]


def test_what_exists_and_is_not_ours_is_held_and_never_sent_again():
    target = Target()
    rig = Rig(target)
    target.documents["x-account"] = Document("thing", "D9", "typed in by hand", 1)

    async def find_nothing(external_id):
        return None

    target.find = find_nothing
    (one,) = add_transactions(1)
    advance(rig)
    held = BusinessTransaction.objects.get(pk=one)
    assert (held.state, held.problem_code, held.open_intent) == ("held", "document_exists", None)
    assert target.created == []


def test_what_is_proved_absent_and_never_answered_comes_to_a_person(rig):
    async def hang_up(prepared):
        raise remember.Problem("vendor_unavailable", Category.AVAILABILITY, "503", connection="memory")

    rig.target.post = hang_up
    (one,) = add_transactions(1)
    advance(rig)
    WorkItem.objects.update(unanswered_count=SENT_AGAIN_MAX - 1)
    advance(rig)
    assert states([one]) == ["unknown"]
    advance(rig)
    held = BusinessTransaction.objects.get(pk=one)
    assert (held.state, held.problem_code, held.open_intent["is_open"]) == ("held", "outcome_unknown", True)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_commit_whose_answer_is_lost_is_not_made_twice(rig, monkeypatch, lost):
    """The first commit is the intents', the second the answers'."""
    count = [0]

    @contextmanager
    def atomic():
        with transaction.atomic():
            yield
        count[0] += 1
        if count[0] == lost:
            raise OperationalError("the connection is lost")

    ids = add_transactions(3)
    monkeypatch.setattr(remember, "atomic", atomic)
    monkeypatch.setattr(remember.connection, "close", lambda: None)
    machine.advance(flow(), rig.tools)
    assert states(ids) == ["completed"] * 3
    assert len(rig.target.created) == 3
    assert StepRun.objects.count() == 6
    assert rig.held == []
