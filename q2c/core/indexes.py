"""Indexes on large tables, made and dropped while the portal works: nobody who reads or writes waits for them.

An index is built CONCURRENTLY. PostgreSQL can't do that on a partitioned table, so there it's made on each partition
and attached; a partition that is made meanwhile gets its own by itself. Each short lock that is still needed is waited
for half a second at most, and tried for again: whoever waits for a lock stands in everybody's way. A migration with
these says `atomic = False`; broken off, it's run again and goes on with what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.postgres.operations import NotInTransactionMixin
from django.db import OperationalError
from django.db.backends.utils import truncate_name
from django.db.migrations.operations import AddIndex, RemoveIndex
from psycopg import errors

LOCK_MS = 500
PAUSE_SECONDS = 0.5
GIVE_UP_SECONDS = 600.0

_IS_PARTITIONED = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)"
_LACKING = """
SELECT c.relname FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
 WHERE p.inhparent = to_regclass(%s) AND NOT EXISTS (
    SELECT FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid
     WHERE i.inhparent = to_regclass(%s) AND x.indrelid = p.inhrelid)
 ORDER BY 1
"""
_IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


def patiently(cursor: Any, work: Callable[[], None]) -> None:
    """Do it as soon as its locks can be had at once: each is waited for `LOCK_MS` at most, then everybody else passes
    and it's tried again. Outside a transaction. Raises OperationalError after ten minutes of that."""
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    with _lock_timeout(cursor, LOCK_MS):
        while True:
            try:
                return work()
            except OperationalError as error:
                if not isinstance(error.__cause__, errors.LockNotAvailable) or time.monotonic() > give_up_at:
                    raise
                time.sleep(PAUSE_SECONDS)


@contextmanager
def _lock_timeout(cursor: Any, milliseconds: int) -> Iterator[None]:
    """For how long this session waits for a lock; 0: as long as it takes."""
    cursor.execute("SELECT current_setting('lock_timeout')")
    (before,) = cursor.fetchone()
    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
    try:
        yield
    finally:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [before])


class _Index:
    """One index of a model, by its name, in the database."""

    def __init__(self, model: Any, index: Any, editor: Any) -> None:
        self.model, self.index, self.editor = model, index, editor
        self.name, self.table = index.name, model._meta.db_table

    def add(self) -> None:
        """Make it, or what of it is missing."""
        with self.editor.connection.cursor() as cursor:
            if not self._ask(cursor, _IS_PARTITIONED, self.table):
                return self._build(cursor, self.name, self._quoted(self.table))
            only = self._sql(self.name, f"ONLY {self._quoted(self.table)}")
            patiently(cursor, lambda: cursor.execute(only.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1)))
            while lacking := self._rows(cursor, _LACKING, self.table, self.name):
                for (partition,) in lacking:
                    name = truncate_name(f"{partition}_{self.name}", 63)
                    self._build(cursor, name, self._quoted(partition))
                    attach = f"ALTER INDEX {self._quoted(self.name)} ATTACH PARTITION {self._quoted(name)}"
                    patiently(cursor, lambda attach=attach: cursor.execute(attach))  # type: ignore[misc]
        return None

    def drop(self) -> None:
        """Drop it: that takes a moment and every lock, so it's done when nobody has one."""
        with self.editor.connection.cursor() as cursor:
            partitioned = self._ask(cursor, _IS_PARTITIONED, self.table)
            if not partitioned:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self._quoted(self.name)}")
                return
            patiently(cursor, lambda: cursor.execute(f"DROP INDEX IF EXISTS {self._quoted(self.name)}"))

    def _build(self, cursor: Any, name: str, table: str) -> None:
        """One table's index, concurrently; what a broken-off run left is invalid, and made anew."""
        is_valid = self._ask(cursor, _IS_VALID, name)
        if is_valid:
            return
        if is_valid is not None:
            cursor.execute(f"DROP INDEX CONCURRENTLY {self._quoted(name)}")
        with _lock_timeout(cursor, 0):  # while it waits for others nobody waits for it
            cursor.execute(self._sql(name, table).replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1))

    def _sql(self, name: str, table: str) -> str:
        statement = self.index.create_sql(self.model, self.editor)
        statement.parts |= {"name": self._quoted(name), "table": table}
        return str(statement)

    def _quoted(self, name: str) -> str:
        quoted: str = self.editor.quote_name(name)
        return quoted

    def _rows(self, cursor: Any, sql: str, *names: str) -> list[tuple[Any, ...]]:
        cursor.execute(sql, [self._quoted(name) for name in names])
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def _ask(self, cursor: Any, sql: str, name: str) -> Any:
        rows = self._rows(cursor, sql, name)
        return rows[0][0] if rows else None


class AddIndexAlongside(NotInTransactionMixin, AddIndex):
    """AddIndex for a large table, partitioned or not."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _Index(model, self.index, schema_editor).add()

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self._ensure_not_in_transaction(schema_editor)
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _Index(model, self.index, schema_editor).drop()


class RemoveIndexAlongside(NotInTransactionMixin, RemoveIndex):
    """RemoveIndex for a large table, partitioned or not."""

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        self._ensure_not_in_transaction(schema_editor)
        self._index(app_label, schema_editor, from_state).drop()

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self._ensure_not_in_transaction(schema_editor)
        self._index(app_label, schema_editor, to_state).add()

    def _index(self, app_label: str, schema_editor: Any, state: Any) -> _Index:
        model = state.apps.get_model(app_label, self.model_name)
        index = state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        return _Index(model, index, schema_editor)
