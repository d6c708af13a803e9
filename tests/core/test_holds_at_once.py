"""A legal hold and the drop of a month that it covers, at the same instant, on two connections: whichever comes first
is done wholly before the other looks."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.db import connection
from django.db.transaction import atomic

from q2c.core import retention
from q2c.core.models import LegalHold
from q2c.transactions.models import StepRun
from q2c.transactions.workers import connection_parameters
from tests.core import keeping
from tests.core.keeping import make_old, march
from tests.factories import make_hold

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
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
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
