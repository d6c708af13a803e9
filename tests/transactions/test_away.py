"""A database that goes while a worker carries: nothing is wrong with a document, so none is held, each goes on later,
and what was sent meanwhile is remembered."""

from __future__ import annotations

import dataclasses

import psycopg
import pytest
from django.db import OperationalError, connection

from q2c.transactions import claims, machine
from q2c.transactions.models import BusinessTransaction, WorkItem
from q2c.transactions.steps import Read
from q2c.transactions.workers import connection_parameters, this_worker
from tests.transactions.machine_rig import Document, Fact, ForgetfulRepeats, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("where", ["in the step", "in what it wants"])
def test_a_database_that_goes_in_the_middle_of_a_read_holds_nothing(where):
    away = [True]

    def ask(fact: Fact) -> str:
        if away[0]:
            raise OperationalError("the connection is closed")
        return fact.number

    def check(fact: Fact) -> str:
        return ask(fact) if where == "in the step" else fact.number

    def want(fact: Fact) -> list:
        if where != "in the step":
            ask(fact)
        return []

    steps = list(flow().steps)
    steps.insert(1, Read("check", "Check the thing", check, gives="checked", wants=want))
    asking = dataclasses.replace(flow(), steps=tuple(steps))
    rig = Rig(Target())
    add_transactions(1)
    with pytest.raises(OperationalError):
        machine.advance(asking, rig.tools)
    one = BusinessTransaction.objects.get()
    assert (one.state in ("running", "waiting"), rig.held) == (True, [])

    away[0] = False
    machine.advance(asking, rig.tools)
    one.refresh_from_db()
    assert one.state == "completed"


def end_session() -> None:
    """End this process's own session in the database, as a restart does."""
    with psycopg.connect(**connection_parameters(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def test_what_was_held_when_the_session_was_lost_is_given_back_by_the_worker_that_lives_on():
    ends = [True]

    def check(fact: Fact) -> str:
        if ends[0]:
            end_session()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        return fact.number

    steps = list(flow().steps)
    steps.insert(1, Read("check", "Check the thing", check, gives="checked"))
    asking = dataclasses.replace(flow(), steps=tuple(steps))
    rig = Rig(Target())
    add_transactions(3)
    with pytest.raises(OperationalError):
        machine.advance(asking, rig.tools)
    assert set(WorkItem.objects.values_list("worker", "death_count", "crash_group")) == {("", 0, 0)}

    ends[0] = False
    assert machine.advance(asking, rig.tools) == 3
    assert set(BusinessTransaction.objects.values_list("state", flat=True)) == {"completed"}


def test_a_session_lost_with_the_claims_answer_leaves_nothing_with_the_worker(monkeypatch):
    real = claims.claim_batch

    def claim_and_lose(**given):
        real(**given)
        end_session()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    rig = Rig(Target())
    add_transactions(2)
    with monkeypatch.context() as patched:
        patched.setattr(claims, "claim_batch", claim_and_lose)
        with pytest.raises(OperationalError):
            machine.advance(flow(), rig.tools)
    assert machine.advance(flow(), rig.tools) == 2
    assert len(rig.target.created) == 2


def test_answers_under_way_when_a_read_loses_the_database_are_remembered():
    """Of 120 writes, the first 50 answers are read on from while others are under way, and there the session goes."""
    away = [True]

    class Forgetful(Target):
        repeats = ForgetfulRepeats()  # makes a second document when asked twice

    def check(thing: Document) -> str:
        if away[0]:
            raise OperationalError("the connection is closed")
        return thing.number

    asking = dataclasses.replace(
        flow(), steps=(*flow().steps, Read("check", "Check the thing", check, gives="checked"))
    )
    rig = Rig(Forgetful())
    add_transactions(120)
    with pytest.raises(OperationalError):
        machine.advance(asking, rig.tools)
    assert WorkItem.objects.filter(intent__isnull=True, worker="").count() == 120  # each answer is remembered

    away[0] = False
    assert machine.advance(asking, rig.tools) == 120
    assert (len(rig.target.created), rig.target.looks, rig.held) == (120, 0, [])
    assert set(BusinessTransaction.objects.values_list("state", flat=True)) == {"completed"}


def test_an_open_write_that_is_given_back_is_looked_at_once_it_cant_be_under_way_any_more():
    one, other = add_transactions(2)
    free_at = "now() + interval '40 seconds'"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE transactions_workitem SET worker = %s, intent = '{{}}', intent_free_at = {free_at}"
            " WHERE transaction_id = %s",
            [this_worker().id, one],
        )
        cursor.execute(
            "UPDATE transactions_workitem SET worker = %s WHERE transaction_id = %s", [this_worker().id, other]
        )
    claims.release_all(this_worker().id)
    claimed = claims.claim_batch(flow="test_flow", worker=this_worker().id, limit=9)
    assert [c.transaction_id for c in claimed] == [other]
    item = WorkItem.objects.get(transaction_id=one)
    assert (item.worker, item.available_at) == ("", item.intent_free_at)
