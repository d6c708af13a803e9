"""A server that ends our connection costs no more than a second try, whoever looks after the connection."""

import psycopg
import pytest
from celery.signals import task_prerun
from django.db import OperationalError, connection, transaction

from q2c.core.databases import is_away
from q2c.core.hotpath import AWAY, drop_lost_connection, fetch_rows, on_living_connection
from q2c.transactions.workers import connection_parameters

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def end_ours():
    """Ends the connection of this test at the server, as a restart does; it isn't noticed before it's used."""

    def end() -> None:
        connection.ensure_connection()
        ours = connection.connection.info.backend_pid
        with psycopg.connect(**connection_parameters(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [ours])

    yield end
    connection.close()


def test_a_statement_that_may_run_twice_is_made_on_a_fresh_connection(end_ours):
    end_ours()
    assert on_living_connection(lambda: fetch_rows("SELECT 1")) == [(1,)]


def test_within_a_transaction_nothing_is_done_twice(end_ours):
    tries = []

    def work():
        tries.append(1)
        end_ours()
        return fetch_rows("SELECT 1")

    with pytest.raises(AWAY), transaction.atomic():
        on_living_connection(work)
    assert len(tries) == 1
    assert fetch_rows("SELECT 1") == [(1,)]


def test_a_refusal_on_a_living_connection_isnt_tried_again():
    tries = []

    def work():
        tries.append(1)
        return fetch_rows("SELECT 1/0")

    with pytest.raises(psycopg.DataError):
        on_living_connection(work)
    assert len(tries) == 1
    assert not drop_lost_connection()


def test_a_workers_next_task_finds_a_living_connection_also_where_the_last_one_did_not_notice(end_ours):
    end_ours()
    task_prerun.send(sender=None, task_id="1", task=type("Task", (), {"name": "q2c.flows.tasks.run_flow"}))
    assert fetch_rows("SELECT 1") == [(1,)]
    end_ours()
    with pytest.raises(AWAY):
        fetch_rows("SELECT 1")
    task_prerun.send(sender=None, task_id="2", task=type("Task", (), {"name": "q2c.flows.tasks.run_flow"}))
    assert fetch_rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (psycopg.OperationalError("the connection is lost"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.ProgramLimitExceeded(), False),  # too large an index entry: it will be so again
        (psycopg.errors.UniqueViolation(), False),
        (ValueError("a bug"), False),
    ],
)
def test_the_database_is_away_or_it_refuses(error, is_it):
    assert is_away(error) is is_it


def test_a_refusal_as_django_tells_it_is_one_too():
    told = OperationalError("index row size 5000 exceeds the maximum")
    told.__cause__ = psycopg.errors.ProgramLimitExceeded()
    assert not is_away(told)
