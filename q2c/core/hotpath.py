"""Statements on hot paths: server-side parameters (bytes stay bytes), prepared by the driver, no Django per row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import psycopg
from django.db import connection

from q2c.core.databases import AWAY
from q2c.core.ending import is_ending

T = TypeVar("T")
TRIES_EVERY_SECONDS = 0.25


def fetch_rows(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection and return its rows (an empty list if it gives none).

    Takes part in the transaction that is open, otherwise commits by itself. Raises psycopg.Error.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if cursor.description else []


def on_living_connection(work: Callable[[], T]) -> T:
    """Do it, and a second time on a fresh connection where the server had closed ours (it restarted, say).

    Only for what may safely be done twice. Raises what the second time raises.
    """
    try:
        return work()
    except AWAY:
        if not drop_lost_connection():
            raise
        return work()


def once_there(work: Callable[[], T]) -> T:
    """Do it, trying until there is a database again: for what must be given back by a process that lives on, and has
    nothing else to do without one. Only outside a transaction, and for what may safely be done twice. Raises what the
    database says once the process is ending, since what it held is free then."""
    while True:
        try:
            return work()
        except AWAY:
            connection.close()
            if is_ending():
                raise
            time.sleep(TRIES_EVERY_SECONDS)


def drop_lost_connection() -> bool:
    """Let go of Django's connection if the server has closed it; the next statement makes another.

    Says whether it was lost. Within a transaction it stays: the transaction is over, and its end lets go of it.
    """
    wire = connection.connection
    if wire is None or not wire.closed or connection.in_atomic_block:
        return False
    connection.close()
    return True


def lock_names(names: Iterable[str]) -> None:
    """Take the advisory locks of these names until the transaction ends, in one order for everybody."""
    fetch_rows(
        "SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT hashtextextended(n, 0) AS h"
        " FROM unnest(%s::text[]) AS n ORDER BY h) s",
        [list(names)],
    )
