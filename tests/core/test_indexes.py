"""Indexes are made while others write: on a plain and on a partitioned table, whatever a run before has left, and with
no lock that a writer would wait for."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection, models
from django.db.migrations.state import ModelState, ProjectState

from q2c.core import indexes
from q2c.core.indexes import AddIndexAlongside, RemoveIndexAlongside
from tests.journeys.stage import database_url

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = int(os.environ.get("Q2C_INDEX_ROWS", "20000"))
STOPS_WRITERS = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
INDEX = models.Index(fields=["amount"], name="by_amount", condition=models.Q(amount__gt=0))
PARTITIONED = "indexes_partitioned"
TABLES = [PARTITIONED, "indexes_plain"]


def migrated(table: str) -> ProjectState:
    """A model of the table, in a state of migrations."""
    state = ProjectState()
    fields = [("id", models.BigIntegerField(primary_key=True)), ("amount", models.IntegerField())]
    state.add_model(ModelState("indexes", "Row", fields, options={"db_table": table, "indexes": []}))
    return state


@pytest.fixture(params=TABLES)
def table(request) -> Iterator[str]:
    name = request.param
    with connection.cursor() as cursor:
        parts = " PARTITION BY RANGE (id)" if name == PARTITIONED else ""
        cursor.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, amount int NOT NULL){parts}")
        if parts:
            edges = [0, ROWS // 2, ROWS, ROWS * 100]
            for number, (low, high) in enumerate(itertools.pairwise(edges)):
                cursor.execute(f"CREATE TABLE {name}_{number} PARTITION OF {name} FOR VALUES FROM ({low}) TO ({high})")
            cursor.execute(f"CREATE TABLE {name}_default PARTITION OF {name} DEFAULT")
        for each, _ in sorted(expected(name)):
            if each != PARTITIONED:  # nobody but the test locks them
                cursor.execute(f"ALTER TABLE {each} SET (autovacuum_enabled = off)")
        cursor.execute(f"INSERT INTO {name} SELECT n, n %% 1000 FROM generate_series(0, %s) n", [ROWS - 1])
    yield name
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}")


def run(operation, table: str, before: ProjectState | None = None) -> ProjectState:
    """One operation as a migration with `atomic = False` runs it; the state behind it."""
    before = before or migrated(table)
    after = before.clone()
    operation.state_forwards("indexes", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("indexes", editor, before, after)
    return after


def valid_indexes(table: str) -> set[tuple[str, bool]]:
    """The indexes that fill the test's index, by table, with whether they're valid."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT x.indrelid::regclass::text, x.indisvalid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid"
            " WHERE c.relname LIKE '%%by_amount%%' AND x.indrelid::regclass::text LIKE %s",
            [f"{table}%"],
        )
        return set(cursor.fetchall())


def first_part(table: str) -> str:
    """Where the first rows lie."""
    return f"{table}_0" if table == PARTITIONED else table


def expected(table: str) -> set[tuple[str, bool]]:
    parts = [f"{table}_{n}" for n in (0, 1, 2, "default")] if table == PARTITIONED else []
    return {(name, True) for name in (table, *parts)}


@contextmanager
def beside(work) -> Iterator[list[BaseException]]:
    """Do something on another thread's own connection, meanwhile."""
    failed: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    yield failed
    thread.join(timeout=120)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def locks_of(wire: psycopg.Connection, table: str) -> set[str]:
    """The locks, had or waited for, that a migration's session has on the table itself and on what is behind it."""
    found = wire.execute(
        "SELECT l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE c.relname LIKE %s AND c.relkind IN ('r', 'p') AND a.query LIKE '%%INDEX%%'"
        " AND l.pid <> pg_backend_pid() AND a.datname = current_database()",
        [f"{table}%"],
    )
    return {row[0] for row in found}


@pytest.mark.scenario(59)
def test_while_an_index_is_made_nobody_who_writes_waits(table, record_property):
    """Somebody's long transaction holds the build up in its middle: there one sees what it holds meanwhile."""
    with psycopg.connect(database_url(), autocommit=True) as writer, psycopg.connect(database_url()) as long_one:
        long_one.execute(f"UPDATE {first_part(table)} SET amount = amount WHERE id = 1")
        writer.execute("SET lock_timeout = '900ms'")
        with beside(lambda: run(AddIndexAlongside("row", INDEX), table)):
            seen: set[str] = set()
            until = time.monotonic() + 60
            while "ShareUpdateExclusiveLock" not in seen:
                assert time.monotonic() < until, "the build never began"
                seen |= locks_of(writer, table)
            waits = []
            for number in range(40):
                started = time.perf_counter()
                writer.execute(f"INSERT INTO {table} VALUES (%s, 5)", [ROWS + number])  # or LockNotAvailable
                writer.execute(f"UPDATE {table} SET amount = 6 WHERE id = 2")
                waits.append(time.perf_counter() - started)
                seen = locks_of(writer, table)
                assert not seen & STOPS_WRITERS, seen
            long_one.rollback()
    assert valid_indexes(table) == expected(table)
    record_property("said", f"index on {ROWS:,} rows of {table}: a writer waited {max(waits) * 1000:.0f} ms at most")


def test_a_run_that_was_broken_off_is_gone_on_with(table):
    on, name = (f"{table}_1", f"{table}_1_by_amount") if table == PARTITIONED else (table, "by_amount")
    with psycopg.connect(database_url(), autocommit=True) as broken, psycopg.connect(database_url()) as holder:
        if table == PARTITIONED:
            broken.execute(f"CREATE INDEX by_amount ON ONLY {table} (amount) WHERE amount > 0")
        holder.execute(f"UPDATE {on} SET amount = amount WHERE id = {ROWS // 2 + 1}")
        broken.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            broken.execute(f"CREATE INDEX CONCURRENTLY {name} ON {on} (amount) WHERE amount > 0")
    assert (on, False) in valid_indexes(table)
    state = run(AddIndexAlongside("row", INDEX), table)
    assert valid_indexes(table) == expected(table)
    run(RemoveIndexAlongside("row", "by_amount"), table, state)
    assert valid_indexes(table) == set()


def test_a_lock_that_isnt_free_is_waited_for_briefly_again_and_again(table, monkeypatch):
    monkeypatch.setattr(indexes, "LOCK_MS", 50)
    monkeypatch.setattr(indexes, "PAUSE_SECONDS", 0.05)
    tries: list[int] = []
    with psycopg.connect(database_url()) as holder:
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        with connection.cursor() as cursor:

            def work() -> None:
                tries.append(1)
                if len(tries) == 3:
                    holder.rollback()
                cursor.execute(f"ALTER TABLE {table} ADD COLUMN note text")

            indexes.patiently(cursor, work)
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("0",)
    assert len(tries) == 3
