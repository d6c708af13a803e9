"""A backup of the database within itself, and its restore: what a restored portal has forgotten, it has forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from django.db.transaction import atomic

_TABLES = """
SELECT c.relname, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname NOT IN ('django_migrations') ORDER BY c.relname
"""


@dataclass(frozen=True)
class Backup:
    """All rows of all tables as they were."""

    columns: dict[str, str]

    def restore(self) -> None:
        """Everything that came later is gone."""
        tables = ", ".join(f'public."{name}"' for name in self.columns)
        with atomic(), connection.cursor() as cursor:
            for name in self.columns:
                cursor.execute(f'ALTER TABLE public."{name}" DISABLE TRIGGER USER')
            cursor.execute(f"TRUNCATE {tables}")
            for name, columns in self.columns.items():
                cursor.execute(f'INSERT INTO public."{name}" ({columns}) SELECT {columns} FROM backup."{name}"')
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for name in self.columns:
                cursor.execute(f'ALTER TABLE public."{name}" ENABLE TRIGGER USER')

    def drop(self) -> None:
        """It isn't needed any more."""
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA backup CASCADE")


def take_backup() -> Backup:
    """Copy all rows aside."""
    with atomic(), connection.cursor() as cursor:
        cursor.execute(_TABLES)
        columns = dict(cursor.fetchall())
        cursor.execute("DROP SCHEMA IF EXISTS backup CASCADE")
        cursor.execute("CREATE SCHEMA backup")
        for name in columns:
            cursor.execute(f'CREATE UNLOGGED TABLE backup."{name}" AS SELECT * FROM public."{name}"')
    return Backup(columns)
