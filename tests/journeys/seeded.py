"""The seeded portal as rows: seeding takes seconds, putting its rows back takes a tenth of one."""

from __future__ import annotations

from django.apps import apps
from django.db import connection
from django.db.transaction import atomic
from psycopg import sql

# What a flush itself lays down again.
_OF_DJANGO = ("django_migrations", "django_content_type", "auth_permission")

Rows = dict[str, bytes]


def take_rows() -> Rows:
    """All rows of all tables that have some, in PostgreSQL's own format."""
    found: Rows = {}
    with atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> ALL(%s) ORDER BY oid",  # what refers to a table was made after it
            [list(_OF_DJANGO)],
        )
        for (table,) in cursor.fetchall():
            read = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(table)))
            if cursor.fetchone()[0]:
                with cursor.copy(read) as copy:
                    found[table] = b"".join(copy)
    return found


def put_rows_back(rows: Rows) -> None:
    """Into empty tables, past the triggers: what they check was checked when the rows were first made."""
    names = {trigger.get_pgid(model) for model in apps.get_models() for trigger in getattr(model._meta, "triggers", ())}
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", ["{" + ",".join(sorted(names)) + "}"])
        for table, content in rows.items():
            write = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table))
            with cursor.copy(write) as copy:
                copy.write(content)
