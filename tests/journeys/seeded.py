"""The seeded portal as rows: seeding takes seconds, putting its rows back takes a tenth of one."""

from __future__ import annotations

from django.db import connection
from django.db.transaction import atomic
from psycopg import sql

from tests.emptying import ignore_triggers, tables_in_order

Rows = dict[str, bytes]


def take_rows() -> Rows:
    """All rows of all tables that have some, in PostgreSQL's own format."""
    found: Rows = {}
    with atomic(), connection.cursor() as cursor:
        for table in tables_in_order(cursor):
            read = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(table)))
            if cursor.fetchone()[0]:
                with cursor.copy(read) as copy:
                    found[table] = b"".join(copy)
    return found


def put_rows_back(rows: Rows) -> None:
    """Into empty tables, past the triggers: what they check was checked when the rows were first made."""
    with atomic(), connection.cursor() as cursor:
        ignore_triggers(cursor)
        for table, content in rows.items():
            write = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table))
            with cursor.copy(write) as copy:
                copy.write(content)
