"""Statements on hot paths: server-side parameters (bytes stay bytes), prepared by the driver, no Django per row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from django.db import connection


def fetch_rows(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection and return its rows (an empty list if it gives none).

    Takes part in the transaction that is open, otherwise commits by itself. Raises psycopg.Error.
    """
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if cursor.description else []


def fetch_rows_again(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Like `fetch_rows`, tried a second time on a fresh connection when the server had closed ours.

    Only for statements that may safely run twice. Raises psycopg.OperationalError when the database stays away.
    """
    try:
        return fetch_rows(sql, params)
    except (psycopg.OperationalError, psycopg.InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        return fetch_rows(sql, params)


def lock_names(names: Iterable[str]) -> None:
    """Take the advisory locks of these names until the transaction ends, in one order for everybody."""
    fetch_rows(
        "SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT hashtextextended(n, 0) AS h"
        " FROM unnest(%s::text[]) AS n ORDER BY h) s",
        [list(names)],
    )
