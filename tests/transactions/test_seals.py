"""The seals over steps: whoever changes, adds or removes one is found out, even the tables' owner without triggers."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.db.models import F

from q2c.core import audit
from q2c.core.models import AuditEntry
from q2c.flows.tasks import anchor_seals
from q2c.transactions import machine, remember, seals, workers
from q2c.transactions.models import BusinessTransaction, Seal, StepRun, WorkItem
from tests.transactions.machine_rig import Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.contextmanager
def owner_without_triggers(*tables: str):
    """What only somebody who owns the database could do."""
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        try:
            yield cursor
        finally:
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.fixture
def carried():
    """Two workers, one after the other, have carried three batches."""
    rig = Rig(Target())
    for _ in range(2):
        add_transactions(3)
        machine.advance(flow(), rig.tools)
    workers.stop_worker()
    add_transactions(3)
    machine.advance(flow(), rig.tools)
    return rig


def test_what_the_machine_wrote_holds(carried):
    count = Seal.objects.count()
    assert Seal.objects.values("worker").distinct().count() == 2
    assert sum(Seal.objects.values_list("row_count", flat=True)) == StepRun.objects.count() == 18
    assert seals.verify_seals() == audit.Verdict(count)


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_commit_that_the_database_took_along_leaves_the_seals_whole(monkeypatch, lost, lands):
    """The connection goes with a commit that stands all the same, or with one that doesn't; then work goes on."""
    rig, count = Rig(Target()), [0]

    @contextlib.contextmanager
    def atomic():
        count[0] += 1
        away = OperationalError("the connection is lost") if count[0] == lost else None
        with transaction.atomic():
            yield
            if away and not lands:
                raise away
        if away:
            raise away

    monkeypatch.setattr(remember, "atomic", atomic)
    monkeypatch.setattr(remember.connection, "close", lambda: None)
    for _ in range(2):
        add_transactions(3)
        machine.advance(flow(), rig.tools)
    assert count[0] >= 4
    assert (Seal.objects.values("worker").distinct().count(), seals.verify_seals().why) == (1, "")
    assert len(rig.target.created) == 6


def test_a_copy_that_the_database_takes_along_is_no_refusal(monkeypatch):
    """What COPY raises isn't translated by Django: the connection goes in the middle of it."""
    rig, copied, copy_steps = Rig(Target()), [], remember._copy_steps

    def go_away(cursor, runs, worker):
        copied.append(len(runs))
        if len(copied) == 2:
            raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")
        copy_steps(cursor, runs, worker)

    monkeypatch.setattr(remember, "_copy_steps", go_away)
    monkeypatch.setattr(remember.connection, "close", lambda: None)
    add_transactions(1)
    machine.advance(flow(), rig.tools)
    assert set(BusinessTransaction.objects.values_list("state", "problem_code")) == {("completed", "")}
    assert (len(rig.target.created), seals.verify_seals().why) == (1, "")


def test_who_lost_the_database_and_then_its_lease_goes_on_from_the_seal_that_stands(monkeypatch):
    """A commit goes with the database; until that is back another worker has taken the work over; then work goes on."""
    rig, count, step = Rig(Target()), [0], transaction.atomic

    @contextlib.contextmanager
    def atomic():
        count[0] += 1
        with step():
            yield
            if count[0] == 2:
                raise OperationalError("the connection is lost")

    def take_over():
        WorkItem.objects.update(worker="another", token=F("token") + 1)

    monkeypatch.setattr(remember, "atomic", atomic)
    monkeypatch.setattr(remember.connection, "close", take_over)
    add_transactions(2)
    machine.advance(flow(), rig.tools)
    WorkItem.objects.update(worker="", available_at="2020-01-01T00:00:00Z")
    add_transactions(2)
    for _ in range(3):
        machine.advance(flow(), rig.tools)
    assert count[0] >= 4
    assert seals.verify_seals().why == ""


def test_a_commit_that_the_database_refuses_leaves_the_seals_whole():
    rig = Rig(Target())
    ids = add_transactions(4)

    def refuse(runs):
        if any(run.id == ids[1] for run in runs):
            raise ValueError("no such thing")

    object.__setattr__(rig.tools, "on_done", refuse)
    machine.advance(flow(), rig.tools)
    assert BusinessTransaction.objects.filter(state="held").count() == 1
    assert seals.verify_seals().why == ""


@pytest.mark.parametrize(
    "change",
    [
        "output = '\\x00'", "problem = '{\"code\": \"other\"}'", "used = '{\"rules\": [[1, 1]]}'", "state = 'undone'",
        "content_hash = ''", "idempotency_key = 'other'", "at = at - interval '1 day'", "change_set = 1",
    ],
)  # fmt: skip
def test_a_changed_step_is_found_with_its_seal(carried, change):
    victim = StepRun.objects.filter(kind="write").order_by("-transaction_id").first()
    with owner_without_triggers("transactions_steprun") as cursor:
        cursor.execute(
            f"UPDATE transactions_steprun SET {change} WHERE transaction_id = %s AND sequence = %s",
            [victim.transaction_id, victim.sequence],
        )
    verdict = seals.verify_seals()
    covering = [s.pk for s in Seal.objects.all() if seals.row_key(*victim.pk) in bytes(s.row_keys)]
    assert (verdict.broken_at, verdict.why) == (covering[0], "a step that it covers was changed")
    with pytest.raises(CommandError, match=f"seal {covering[0]}: a step that it covers was changed"):
        call_command("verify_audit")


def test_a_removed_step_an_added_step_and_a_removed_seal_are_found(carried):
    first = StepRun.objects.order_by("transaction_id", "sequence").first()
    again = {f.attname: getattr(first, f.attname) for f in StepRun._meta.concrete_fields}
    with owner_without_triggers("transactions_steprun"):
        StepRun.objects.filter(transaction_id=first.transaction_id, sequence=first.sequence).delete()
    assert seals.verify_seals().why == "a step that it covers is gone"
    StepRun.objects.create(**again)
    assert seals.verify_seals().holds
    StepRun.objects.create(**again | {"sequence": 99})
    assert seals.verify_seals().why == f"step 99 of {first.transaction_id} was added without a seal"
    middle = Seal.objects.exclude(previous="").order_by("pk").first()
    with owner_without_triggers("transactions_seal"):
        Seal.objects.filter(previous="", worker=middle.worker).delete()
    assert (seals.verify_seals().broken_at, seals.verify_seals().why) == (
        middle.pk,
        "the seal before it is gone or another",
    )


def test_the_last_seals_cannot_be_cut_off_with_their_steps_once_they_are_anchored(carried):
    anchor_seals()
    anchor_seals()
    entry = AuditEntry.objects.get()  # nothing new: not anchored again
    newest = Seal.objects.order_by("-pk").first()
    assert entry.data["heads"][newest.worker] == [newest.pk, newest.seal]
    with owner_without_triggers("transactions_seal", "transactions_steprun"):
        for seal in Seal.objects.filter(worker=newest.worker):
            for key in seals._keys_of(seal):
                StepRun.objects.filter(transaction_id=key[:16].hex(), sequence=int.from_bytes(key[16:], "big")).delete()
        Seal.objects.filter(worker=newest.worker).delete()
    verdict = seals.verify_seals()
    assert (verdict.broken_at, verdict.why) == (newest.pk, "the seals were cut: an anchored one is gone or another")


def test_what_retention_dropped_is_missed_only_where_the_audit_chain_does_not_tell_of_it(carried):
    first = StepRun.objects.order_by("transaction_id").first().transaction_id
    with owner_without_triggers("transactions_steprun"):
        StepRun.objects.filter(transaction_id=first).delete()
    assert seals.verify_seals().why == "a step that it covers is gone"
    bounds = {"table": "transactions_steprun", "from": first, "to": first.int.to_bytes(16, "big")[:15].hex() + "ff"}
    audit.record("portal", "drop_partition", "partition", "transactions_steprun_2026_11", data=bounds)
    assert seals.verify_seals() == audit.Verdict(Seal.objects.count())
