"""The machine with a small flow: what is proved for one holds for a batch."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest
from celery import signals
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from q2c.celery import leave_quickly
from q2c.core import ending as ending_program
from q2c.core import stats
from q2c.core.models import StatDelta, StatHour
from q2c.core.problems import Category, NotAnswered, Problem
from q2c.core.retries import Retry
from q2c.transactions import claims, machine, remember, restart, resuming
from q2c.transactions.models import BusinessTransaction, Restore, Seal, StepRun, WorkItem
from tests.transactions.machine_rig import Document, ForgetfulRepeats, Repeats, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in BusinessTransaction.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def make_due() -> None:
    WorkItem.objects.update(available_at="2020-01-01T00:00:00Z", intent_free_at="2020-01-01T00:00:00Z")


def test_a_batch_is_posted_once_each_and_its_work_items_go():
    rig = Rig(Target())
    add_transactions(120)
    assert machine.advance(flow(), rig.tools) == 120
    assert len(rig.target.created) == len(set(rig.target.created)) == 120
    assert states() == {"completed": 120}
    assert WorkItem.objects.count() == 0
    assert StepRun.objects.filter(state="done").count() == 240
    assert len(rig.done) == 120
    assert Seal.objects.count() > 0


@pytest.mark.scenario(1)
def test_a_lost_answer_is_unknown_and_a_look_up_decides():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert states() == {"unknown": 1}
    make_due()
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}
    assert target.created == [BusinessTransaction.objects.get().target_number]
    assert target.looks == 1


@pytest.mark.scenario(6)
def test_a_repost_is_refused_while_the_outcome_is_unknown():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert restart.restart([one])[0].why_not == "its outcome isn't known yet; a look-up decides"


def test_a_refusal_holds_with_one_problem_and_a_repost_continues():
    target = Target()
    target.problem = Problem("vendor_refused", Category.VALIDATION, "no")
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert states() == {"held": 1}
    assert [h.problem.code for h in rig.held] == ["vendor_refused"]
    target.problem = None
    assert [r.is_restarted for r in restart.restart([one, one])] == [True, True]
    assert restart.restart([one])[0].why_not == "it is running already"
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}
    steps = StepRun.objects.filter(transaction_id=one).order_by("sequence").values_list("step", "state", "supersedes")
    assert list(steps) == [
        ("prepare", "done", None),
        ("post", "failed", None),
        ("prepare", "done", 0),
        ("post", "done", None),
    ]


def refuses(code):
    """A rig whose target refuses with this code, and the connections that it was told to pause."""
    target, paused = Target(), []
    target.problem = Problem(code, Category.AUTHENTICATION, "no", connection="memory")
    rig = Rig(target)
    return replace(rig.tools, on_refused_credentials=lambda name, problem: paused.append(name)), rig, paused


@pytest.mark.parametrize(
    ("code", "state", "held", "paused"),
    [
        ("credentials_refused", "waiting", [], ["memory"]),
        ("vendor_permission", "held", ["vendor_permission"], []),
    ],
)
def test_only_refused_credentials_pause_a_connection_what_we_may_not_write_is_held_alone(code, state, held, paused):
    tools, rig, told = refuses(code)
    add_transactions(1)
    machine.advance(flow(), tools)
    assert (states(), [h.problem.code for h in rig.held], told) == ({state: 1}, held, paused)


def test_a_look_up_that_we_may_not_make_is_held_with_its_intent_and_a_repost_looks_before_it_makes():
    target = Target()
    target.lose_answers = 1
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    real = target.find

    async def refuse(external_id):
        raise Problem("vendor_permission", Category.AUTHENTICATION, "no", connection="memory")

    target.find = refuse
    make_due()
    machine.advance(flow(), rig.tools)
    assert (states(), [h.problem.code for h in rig.held]) == ({"held": 1}, ["vendor_permission"])
    assert BusinessTransaction.objects.get().open_intent is not None
    target.find = real
    restart.restart([one])
    machine.advance(flow(), rig.tools)
    assert (states(), len(target.created)) == ({"completed": 1}, 1)


def test_a_record_that_is_busy_is_waited_for_though_its_category_holds_others():
    target = Target()
    target.problem = Problem("record_busy", Category.CONFLICT, "busy", is_passing=True, connection="memory")
    rig = Rig(target)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert (states(), rig.held) == ({"waiting": 1}, [])
    target.problem = None
    make_due()
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}


def test_a_bug_in_a_step_is_held_as_internal_and_the_rest_of_the_batch_posts():
    def broken(fact):
        if fact.number == bad:
            raise ZeroDivisionError("oops")
        from tests.transactions.machine_rig import prepare

        return prepare(fact)

    rig = Rig(Target())
    ids = add_transactions(10)
    bad = BusinessTransaction.objects.get(id=ids[3]).number
    import typing

    from tests.transactions.machine_rig import Prepared

    broken.__annotations__ = {"return": Prepared, "fact": typing.Any}
    machine.advance(flow(prepare=broken), rig.tools)
    assert states() == {"completed": 9, "held": 1}
    assert [h.problem.category for h in rig.held] == [Category.INTERNAL]


def test_a_lane_runs_in_order_and_a_held_one_parks_it():
    target = Target()
    rig = Rig(target)
    add_transactions(3, lane="one")
    target.problem = Problem("vendor_refused", Category.VALIDATION, "no")
    machine.advance(flow(), rig.tools)
    target.problem = None
    assert machine.advance(flow(), rig.tools) == 0
    assert states() == {"held": 1, "running": 2}
    held = BusinessTransaction.objects.get(state="held")
    restart.restart([held.id])
    assert [machine.advance(flow(), rig.tools) for _ in range(4)] == [1, 1, 1, 0]
    assert target.created == [
        f"x-{n}" for n in BusinessTransaction.objects.order_by("lane_sequence").values_list("number", flat=True)
    ]


@pytest.mark.scenario(13)
def test_a_stale_worker_cannot_commit():
    rig = Rig(Target())
    (one,) = add_transactions(1)

    def steal(runs):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE transactions_workitem SET token = token + 1, worker = 'other'")
        return rig_context(runs)

    rig_context = rig.tools.context
    object.__setattr__(rig.tools, "context", steal)
    machine.advance(flow(), rig.tools)
    assert rig.target.created == []
    assert states() == {"running": 1}
    assert WorkItem.objects.get().worker == "other"


@pytest.mark.scenario(21)
@pytest.mark.parametrize("refusal", [ValueError("no such thing"), psycopg.errors.ProgramLimitExceeded("too large")])
def test_a_row_that_the_database_refuses_is_held_alone(refusal):
    rig = Rig(Target())
    ids = add_transactions(8)

    def refuse(runs):
        if any(r.id == ids[5] for r in runs):
            raise refusal
        rig.done.extend(runs)

    object.__setattr__(rig.tools, "on_done", refuse)
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 7, "held": 1}
    assert len(rig.target.created) == 8
    held = BusinessTransaction.objects.get(state="held")
    assert held.id == ids[5]


@pytest.mark.scenario(22)
def test_the_third_death_alone_quarantines():
    rig = Rig(Target())
    (one,) = add_transactions(1)
    WorkItem.objects.update(worker="gone", batch_size=1, death_count=2)
    machine.advance(flow(), rig.tools)
    assert states() == {"held": 1}
    assert [h.problem.code for h in rig.held] == ["quarantined"]
    assert rig.target.created == []


def test_items_of_a_dead_worker_come_back_in_halves():
    rig = Rig(Target())
    add_transactions(8)
    WorkItem.objects.update(worker="gone", batch_size=8)
    assert [machine.advance(flow(), rig.tools) for _ in range(3)] == [4, 4, 0]
    assert states() == {"completed": 8}


def test_an_open_intent_is_looked_up_before_it_is_made():
    target = Target()
    rig = Rig(target)
    add_transactions(1)

    async def die(prepared):
        raise NotAnswered("x")

    real, target.post = target.post, die
    machine.advance(flow(), rig.tools)
    make_due()
    target.post = real
    machine.advance(flow(), rig.tools)
    assert (target.looks, len(target.created)) == (1, 1)
    assert states() == {"completed": 1}


def refuse_once(monkeypatch, is_it):
    """The database refuses, once, the step rows for which `is_it` is true."""
    real, left = remember._copy_steps, [True]

    def copy_steps(cursor, runs, worker):
        if left and any(is_it(row) for run in runs for row in run.rows):
            left.clear()
            raise ValueError("no such thing")
        real(cursor, runs, worker)

    monkeypatch.setattr(remember, "_copy_steps", copy_steps)


def test_a_write_that_was_made_and_could_not_be_remembered_is_looked_up_by_the_repost(monkeypatch):
    target = Target()
    target.repeats = ForgetfulRepeats()
    rig = Rig(target)
    (one,) = add_transactions(1)
    refuse_once(monkeypatch, lambda row: row.step == "post" and row.state == "done")
    machine.advance(flow(), rig.tools)
    held = BusinessTransaction.objects.get(id=one)
    assert (held.state, held.held_step, held.open_intent["step"]) == ("held", "post", "post")
    restart.restart([one])
    make_due()
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}
    assert (target.looks, len(target.created)) == (1, 1)


def test_intents_that_the_database_refuses_are_not_open_since_nothing_was_sent(monkeypatch):
    rig = Rig(Target())
    (one,) = add_transactions(1)
    refuse_once(monkeypatch, lambda row: row.step == "prepare")
    machine.advance(flow(), rig.tools)
    held = BusinessTransaction.objects.get(id=one)
    assert (held.state, held.open_intent, rig.target.created) == ("held", None, [])
    restart.restart([one])
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}
    assert (rig.target.looks, len(rig.target.created)) == (0, 1)


@pytest.mark.scenario(60)
def test_after_a_restore_a_first_attempt_looks_before_it_makes():
    target = Target()
    target.repeats = ForgetfulRepeats()
    rig = Rig(target)
    ids = add_transactions(2)
    posted = BusinessTransaction.objects.get(id=ids[0]).number
    target.documents[f"x-{posted}"] = Document("thing", "D1", f"x-{posted}", Decimal("1.00"))
    now = timezone.now()
    Restore.objects.create(at=now, looks_until=now + dt.timedelta(days=1), by="pia", why="disk lost")
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 2}
    assert target.created == [f"x-{BusinessTransaction.objects.get(id=ids[1]).number}"]


@pytest.mark.scenario(60)
def test_once_the_time_after_a_restore_is_over_nothing_is_asked_twice():
    target = Target()
    now = timezone.now()
    Restore.objects.create(at=now, looks_until=now, by="pia", why="disk lost")
    add_transactions(1)
    machine.advance(flow(), Rig(target).tools)
    assert (target.looks, len(target.created)) == (0, 1)


class Blind(Repeats):
    """A target whose look-up is no proof of absence, and that replays and refuses nothing."""

    refuses_existing = False
    reads_own_writes = False
    looks_first = True


@pytest.mark.scenario(6)
def test_where_nothing_proves_absence_a_person_decides_and_nothing_is_sent_again():
    target = Target()
    target.repeats = Blind()
    target.lose_answers = 1
    rig = Rig(target)
    (one,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    hidden, target.documents = target.documents, {}
    make_due()
    machine.advance(flow(), rig.tools)
    assert (states(), [h.problem.code for h in rig.held]) == ({"held": 1}, ["outcome_unknown"])
    target.documents = hidden  # it appears later, and somebody looks again
    restart.restart([one])
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}
    assert len(target.created) == 1


@pytest.mark.parametrize(("number", "customer", "called"), [
    ("INV-88105", "Kestrel Freight", "INV-88105"),
    ("ch_1HT5SQNUk6aLF19iW6CQ2GOp", "Kestrel Freight", "the payment of Kestrel Freight"),
    ("", "", "the payment of GBP 1,240.00"),
])  # fmt: skip
def test_a_case_calls_a_document_by_what_people_know_of_it(number, customer, called):
    add_transactions(1)
    BusinessTransaction.objects.update(
        number=number, customer_name=customer, currency="GBP", amount=Decimal("1240.00")
    )  # fmt: skip
    paid = replace(flow(), lane_type="payment")
    (run,) = resuming.load_runs(paid, claims.claim_batch(flow=paid.code, worker="w", limit=1))
    assert run.called == called


@pytest.fixture
def ending(monkeypatch):
    """A program that may be asked to end, without patience for what is under way."""
    monkeypatch.setattr(ending_program, "PATIENCE_SECONDS", 0.0)
    yield ending_program
    ending_program.forget_ending()


def test_a_worker_that_ends_sends_nothing_more_and_another_one_goes_on(ending):
    target = Target()
    target.at_once, post = 1, target.post

    async def post_and_end(prepared):
        document = await post(prepared)
        if len(target.created) == 3:
            ending.ask_to_end()
        return document

    target.post = post_and_end
    rig = Rig(target)
    add_transactions(20)
    machine.advance(flow(), rig.tools)
    assert (len(target.created), states()) == (3, {"completed": 3, "waiting": 17})
    assert set(WorkItem.objects.values_list("wait_count", "worker", "intent")) == {(0, "", None)}
    ending.forget_ending()
    make_due()
    machine.advance(flow(), rig.tools)
    assert (len(set(target.created)), len(target.created), states()) == (20, 20, {"completed": 20})


def test_what_a_worker_abandons_at_its_end_is_unknown_until_it_was_looked_for(ending):
    target = Target()
    post = target.post

    async def post_and_hang(prepared):
        await post(prepared)
        ending.ask_to_end()
        await asyncio.Event().wait()

    target.post = post_and_hang
    rig = Rig(target)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert states() == {"unknown": 1}
    ending.forget_ending()
    target.post = post
    make_due()
    machine.advance(flow(), rig.tools)
    assert (len(target.created), target.looks, states()) == (1, 1, {"completed": 1})


def test_a_workers_kind_end_is_told_to_its_processes(ending):
    signals.worker_shutting_down.send(sender="worker", sig="SIGTERM", how="warm", exitcode=0)
    assert ending.is_ending()


def test_a_program_that_ends_collects_no_garbage():
    try:
        leave_quickly()
        assert (gc.isenabled(), gc.get_freeze_count() > 10_000) == (False, True)
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_passing_error_is_tried_as_often_as_its_policy_says_then_held_and_reposted_without_limit():
    target = Target()
    target.problem = Problem("rate_limited", Category.RATE_LIMIT, "Busy")
    target.retry = Retry(attempts=2, least=40.0, most=50.0, jitter=0.0, says="2 times, 40s to 50s, jitter 0%", rule=9)
    rig = Rig(target)
    (transaction,) = add_transactions(1)
    waits = []
    for _ in range(2):
        machine.advance(flow(), rig.tools)
        waits.append(round((WorkItem.objects.get().available_at - timezone.now()).total_seconds() / 10) * 10)
        make_due()
    machine.advance(flow(), rig.tools)
    (held,) = rig.held
    assert (waits, states()) == ([40, 50], {"held": 1})
    assert held.problem.evidence == {"retried": 2, "policy": "2 times, 40s to 50s, jitter 0%", "policy_rule": 9}
    target.problem = None
    assert restart.restart([transaction])[0].is_restarted
    machine.advance(flow(), rig.tools)
    assert states() == {"completed": 1}


def test_what_waiting_cannot_mend_is_held_at_once_whatever_a_policy_says():
    target = Target()
    target.problem = Problem("vendor_refused", Category.VALIDATION, "No")
    target.retry = Retry(attempts=50)
    rig = Rig(target)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert states() == {"held": 1}


def counted() -> dict[tuple[str, str], int]:
    stats.roll_up()
    rows = StatHour.objects.values_list("measure", "about").annotate(n=Sum("count"))
    return {(measure, about): n for measure, about, n in rows.order_by()}


def test_a_batch_counts_what_became_of_it_in_one_small_row_of_each_commit():
    target = Target()
    rig = Rig(target)
    add_transactions(40)
    machine.advance(flow(), rig.tools)
    assert StatDelta.objects.count() == 1
    assert len(StatDelta.objects.get().rows) <= 8  # a few kinds of outcome, however many documents
    assert counted() == {("completed", "straight"): 40, ("lead", ""): 40}


def test_what_was_held_and_reposted_what_healed_and_what_nobody_knew_is_counted_apart():
    target = Target()
    target.problem = Problem("vendor_refused", Category.VALIDATION, "no")
    rig = Rig(target)
    (held,) = add_transactions(1)
    machine.advance(flow(), rig.tools)
    target.problem = None
    restart.restart([held])
    machine.advance(flow(), rig.tools)
    target.problem = Problem("rate_limited", Category.RATE_LIMIT, "later")
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    target.problem, target.lose_answers = None, 1
    for _ in range(2):
        make_due()
        machine.advance(flow(), rig.tools)
    assert counted() == {
        ("held", "validation"): 1, ("replayed", ""): 1, ("completed", "replayed"): 1, ("failed", "rate_limit"): 1,
        ("unknown", ""): 1, ("completed", "healed"): 1, ("lead", ""): 2,
    }  # fmt: skip
