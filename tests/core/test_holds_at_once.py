"""A legal hold and the drop of a month that it covers, at the same instant, on two connections: whichever comes first
is done wholly before the other looks, and neither waits for the other while it holds the audit chain."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.db import connection
from django.db.transaction import atomic

from q2c.core import audit, customer_keys, erasures, holds, retention
from q2c.core.keeping_tables import HOLDS_LOCK
from q2c.core.models import AuditEntry, Erasure, LegalHold
from q2c.portal.decisions import decide
from q2c.transactions.models import StepRun
from q2c.transactions.workers import connection_parameters
from tests.core import keeping
from tests.core.keeping import make_key, make_old, march
from tests.factories import make_hold, make_person

pytestmark = pytest.mark.django_db(transaction=True)
STEPS = march("transactions_steprun")
DROP = "SELECT row_count FROM q2c_drop_partition(%s)"


@pytest.fixture(autouse=True)
def old_months():
    """Real partitions of March 2019, gone afterwards: a flush empties tables only."""
    keeping.make_months()
    make_old()
    yield
    with connection.cursor() as cursor:
        for table in keeping.TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {march(table)}")


@pytest.fixture
def other():
    """A second session in the same database."""
    with psycopg.connect(**connection_parameters()) as wire:
        yield wire


def waits_for_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def test_a_drop_that_comes_while_a_hold_is_being_placed_waits_for_it_and_is_refused(other):
    refusals: list[str] = []

    def drop() -> None:
        try:
            other.execute(DROP, [STEPS])
        except psycopg.Error as refusal:
            refusals.append(str(refusal))

    dropping = threading.Thread(target=drop)
    with atomic():
        hold = make_hold()
        dropping.start()
        while not waits_for_lock():
            assert dropping.is_alive(), refusals
    dropping.join()
    assert (len(refusals), "legal hold LH-" in refusals[0]) == (1, True)
    assert (StepRun.objects.count(), LegalHold.objects.get().pk) == (1, hold.pk)
    assert retention.expired_partitions()[STEPS] == f"legal hold LH-{hold.pk} “Tax audit” (TA-7)"


def test_a_hold_that_comes_in_the_middle_of_a_drop_waits_and_stands_over_what_is_left(other):
    assert other.execute(DROP, [STEPS]).fetchone() == (1,)
    placed = threading.Event()

    def place() -> None:
        with atomic():
            make_hold()
        placed.set()
        connection.close()

    placing = threading.Thread(target=place)
    placing.start()
    while not waits_for_lock():
        assert placing.is_alive()
    assert not placed.is_set()  # as long as the month is on its way out, nobody is told that it is held
    other.commit()
    placing.join()
    assert (placed.is_set(), StepRun.objects.count(), LegalHold.objects.get().state) == (True, 0, "in_force")
    assert STEPS not in retention.expired_partitions()


def ask_hold():
    """A hold that waits for its second person."""
    by = make_person("controller")
    return holds.propose_hold(holds.Scope(), by=by, name="x", matter="m", why="why", asked_by="Counsel").proposal


def ask_release():
    with atomic():
        hold = make_hold(customer="stripe:cus_2")
    return holds.propose_release(hold, by=make_person("controller"), why="It is over.")


def ask_erasure():
    make_key("cus_1")
    by = make_person("controller")
    return erasures.propose_erasure("stripe:cus_1", by=by, matter="DSR-1", why="Ann asks.", may_wait=True).proposal


def agree(proposal):
    second = make_person("controller")
    return decide(proposal, by=second, approve=True, why="looked at", seen_hash=proposal.content_hash)


def take_back(proposal):
    return holds.withdraw(proposal, by=proposal.proposed_by, why="Not needed.")


def drop_month() -> None:
    """As retention does, before it says so in the audit chain."""
    with connection.cursor() as cursor:
        cursor.execute(DROP, [STEPS])


def place_hold() -> None:
    """As whoever signs a hold does, before they sign."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [HOLDS_LOCK])


@pytest.mark.parametrize(
    ("ask", "sign", "opposite", "state"),
    [
        (ask_hold, agree, drop_month, "approved"),
        (ask_hold, take_back, drop_month, "withdrawn"),
        (ask_release, agree, drop_month, "approved"),
        (ask_erasure, agree, place_hold, "approved"),
    ],
    ids=["a hold is signed", "a hold is withdrawn", "a release is signed", "an erasure is signed"],
)
def test_who_signs_waits_for_the_lock_of_holds_before_the_audit_chain_is_theirs(ask, sign, opposite, state):
    """The other one holds that lock and records last: nobody is a deadlock's victim, and both are done."""
    customer_keys.forget_keys()
    proposal, said = ask(), []

    def deciding() -> None:
        try:
            said.append(sign(proposal))
        except Exception as refused:
            said.append(repr(refused))
        finally:
            connection.close()

    signing = threading.Thread(target=deciding)
    with atomic():
        opposite()
        signing.start()
        while not waits_for_lock():
            assert signing.is_alive(), said
        audit.record(audit.PORTAL, "carry_on", "test", "1")
    signing.join()
    assert said == [state]
    assert AuditEntry.objects.filter(verb="carry_on").count() == 1
    assert Erasure.objects.filter(state="done").count() == (ask is ask_erasure)
    assert audit.verify().holds
