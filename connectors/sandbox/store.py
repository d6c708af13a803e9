"""A sandbox's own memory: documents, indexed keys, numbers, settings and the append-only log, in one SQLite file.

WAL with synchronous=OFF survives a `kill -9` of the process (not a power cut), and costs no disk wait per request.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.sandbox.clock import Clock, format_time
from connectors.sandbox.request import decode_json, encode_json

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, id TEXT NOT NULL, external_id TEXT,
    at INTEGER NOT NULL, keys TEXT, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS documents_id ON documents (type, id);
CREATE INDEX IF NOT EXISTS documents_at ON documents (type, at, seq);
CREATE UNIQUE INDEX IF NOT EXISTS documents_external_id ON documents (type, external_id) WHERE external_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS keys (
    type TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (type, field, value, at, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS log (
    n INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, method TEXT, path TEXT, document_type TEXT, id TEXT,
    external_id TEXT, idempotency_key TEXT, replayed INTEGER NOT NULL, effect TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS log_not_updated BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS log_not_deleted BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TABLE IF NOT EXISTS deliveries (
    n INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, endpoint TEXT NOT NULL, url TEXT, body BLOB,
    due REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL, after INTEGER, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due, n);
CREATE INDEX IF NOT EXISTS deliveries_subject ON deliveries (subject);
"""

LOG_FIELDS = (
    "n",
    "at",
    "method",
    "path",
    "document_type",
    "id",
    "external_id",
    "idempotency_key",
    "replayed",
    "effect",
)
EFFECTS = frozenset({"created", "updated", "deleted", "none"})


class Store:
    """One vendor's documents. `at` (whole seconds, UTC) orders lists; a type's keys are looked up by equality."""

    def __init__(self, path: Path | str, clock: Clock):
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.clock = clock
        self.db = sqlite3.connect(path, isolation_level=None, cached_statements=512)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "temp_store=MEMORY", "cache_size=-32000"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is committed together, or not at all. Inside another one it simply belongs to that."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # documents

    def get(self, type: str, id: str) -> Any:
        """The document of that type and id, or None."""
        row = self.db.execute("SELECT body FROM documents WHERE type=? AND id=?", (type, id)).fetchone()
        return decode_json(row[0]) if row else None

    def get_raw(self, type: str, id: str) -> bytes | None:
        """The same as the JSON text that was stored."""
        row = self.db.execute("SELECT body FROM documents WHERE type=? AND id=?", (type, id)).fetchone()
        return row[0] if row else None

    def get_by_external_id(self, type: str, external_id: str) -> dict | None:
        """The document that was stored under that external id, or None."""
        row = self.db.execute(
            "SELECT body FROM documents WHERE type=? AND external_id=?", (type, external_id)
        ).fetchone()
        return decode_json(row[0]) if row else None

    def put(
        self,
        type: str,
        id: str,
        obj: dict | list,
        *,
        external_id: str | None = None,
        keys: dict[str, Any] | None = None,
        at: float | None = None,
    ) -> bool:
        """Store a document, new or changed; True when it was new.

        `keys` are the fields that find() can look up; None values are left out. A changed document keeps its place
        and time unless `at` is given. Raises sqlite3.IntegrityError when another document has the external id.
        """
        values = {field: str(value) for field, value in keys.items() if value is not None} if keys else {}
        packed = encode_json(values).decode() if values else None
        body = encode_json(obj)
        row = self.db.execute("SELECT seq, at, keys FROM documents WHERE type=? AND id=?", (type, id)).fetchone()
        if row is None:
            moment = int(self.clock.time() if at is None else at)
            seq = self.db.execute(
                "INSERT INTO documents (type, id, external_id, at, keys, body) VALUES (?,?,?,?,?,?)",
                (type, id, external_id, moment, packed, body),
            ).lastrowid
        else:
            seq, moment, old = row
            self.db.execute(
                "UPDATE documents SET external_id=?, at=?, keys=?, body=? WHERE seq=?",
                (external_id, moment if at is None else int(at), packed, body, seq),
            )
            if old == packed and (at is None or int(at) == moment):
                return False
            self._drop_keys(type, old, moment, seq)
            moment = moment if at is None else int(at)
        for field, value in values.items():
            self.db.execute("INSERT INTO keys VALUES (?,?,?,?,?)", (type, field, value, moment, seq))
        return row is None

    def delete(self, type: str, id: str) -> bool:
        """Remove a document; True when it was there."""
        row = self.db.execute("SELECT seq, at, keys FROM documents WHERE type=? AND id=?", (type, id)).fetchone()
        if row is None:
            return False
        self._drop_keys(type, row[2], row[1], row[0])
        self.db.execute("DELETE FROM documents WHERE seq=?", (row[0],))
        return True

    def _drop_keys(self, type: str, packed: str | None, at: int, seq: int) -> None:
        for field, value in decode_json(packed).items() if packed else ():
            self.db.execute(
                "DELETE FROM keys WHERE type=? AND field=? AND value=? AND at=? AND seq=?",
                (type, field, value, at, seq),
            )

    def find(
        self,
        type: str,
        /,
        *,
        after: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        since: float | None = None,
        until: float | None = None,
        **fields: Any,
    ) -> list[dict]:
        """Documents of a type in order of time, those whose keys equal `fields`, `since` <= at < `until`.

        `after` is the id behind which the page begins. Served by an index whatever the table's size.
        """
        values: list[Any] = [type]
        wheres, table = ["d.type=?"], "documents d"
        source = "d"
        for number, (field, value) in enumerate(fields.items()):
            key = f"k{number}"
            if number == 0:
                table, source = "keys k0 JOIN documents d ON d.seq=k0.seq", "k0"
            else:
                table += f" JOIN keys {key} ON {key}.seq=d.seq"
            wheres.append(f"{key}.type=? AND {key}.field=? AND {key}.value=?")
            values += [type, field, str(value)]
        if since is not None:
            wheres.append(f"{source}.at>=?")
            values.append(int(since) if since == int(since) else int(since) + 1)
        if until is not None:
            wheres.append(f"{source}.at<?")
            values.append(int(until))
        if after is not None:
            place = self.db.execute("SELECT at, seq FROM documents WHERE type=? AND id=?", (type, after)).fetchone()
            if place is None:
                return []
            wheres.append(f"({source}.at, {source}.seq) {'<' if newest_first else '>'} (?, ?)")
            values += place
        order = "DESC" if newest_first else "ASC"
        sql = (
            f"SELECT d.body FROM {table} WHERE {' AND '.join(wheres)} "
            f"ORDER BY {source}.at {order}, {source}.seq {order}"
        )
        if limit is not None:
            sql += " LIMIT ?"
            values.append(limit)
        return [decode_json(row[0]) for row in self.db.execute(sql, values)]

    def find_text(self, type: str, text: str, *, limit: int = 10000) -> list[dict]:
        """Documents of a type whose stored JSON contains a text, newest first: a scan, for search endpoints."""
        rows = self.db.execute(
            "SELECT body FROM documents WHERE type=? AND instr(body, ?) > 0 ORDER BY at DESC, seq DESC LIMIT ?",
            (type, text.encode(), limit),
        )
        return [decode_json(row[0]) for row in rows]

    def forget(self, type: str, *, before: float) -> None:
        """Remove the documents of a type (one without keys) that are older."""
        self.db.execute("DELETE FROM documents WHERE type=? AND at<?", (type, int(before)))

    def count(self, type: str) -> int:
        """How many documents of that type there are."""
        return self.db.execute("SELECT count(*) FROM documents WHERE type=?", (type,)).fetchone()[0]

    def types(self) -> list[str]:
        """The types of which there are documents."""
        return [row[0] for row in self.db.execute("SELECT DISTINCT type FROM documents ORDER BY type")]

    def clear(self, *, keep: frozenset[str] = frozenset()) -> None:
        """Forget all documents but those of the types to keep, and what was to be delivered. The log stays."""
        for type in self.types():
            if type not in keep:
                self.db.execute("DELETE FROM documents WHERE type=?", (type,))
                self.db.execute("DELETE FROM keys WHERE type=?", (type,))
        self.db.execute("DELETE FROM deliveries")

    # numbers and settings

    def next_number(self, name: str, *, first: int = 1) -> int:
        """The next of a series that has no gaps and never restarts."""
        return self.db.execute(
            "INSERT INTO numbers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value=value+1 RETURNING value",
            (name, first),
        ).fetchone()[0]

    def setting(self, name: str, default: Any = None) -> Any:
        """What was last kept under that name."""
        row = self.db.execute("SELECT value FROM settings WHERE name=?", (name,)).fetchone()
        return decode_json(row[0]) if row else default

    def keep_setting(self, name: str, value: Any) -> None:
        """Keep a value (JSON) under a name."""
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?,?)", (name, encode_json(value).decode()))

    # the log

    def log(
        self,
        method: str,
        path: str,
        document_type: str,
        id: str,
        *,
        external_id: str | None = None,
        idempotency_key: str | None = None,
        replayed: bool = False,
        effect: str = "created",
    ) -> None:
        """Write down one accepted document. Refusals aren't logged, reads neither."""
        if effect not in EFFECTS:
            raise ValueError(effect)
        self.db.execute(
            "INSERT INTO log (at, method, path, document_type, id, external_id, idempotency_key, replayed, effect)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (
                format_time(self.clock.time()),
                method,
                path,
                document_type,
                id,
                external_id,
                idempotency_key,
                int(replayed),
                effect,
            ),
        )

    def log_entries(self, *, after: int = 0, limit: int = 1000) -> list[dict]:
        """Entries whose number is greater than `after`, oldest first."""
        sql = f"SELECT {', '.join(LOG_FIELDS)} FROM log WHERE n>? ORDER BY n LIMIT ?"
        entries = [dict(zip(LOG_FIELDS, row, strict=True)) for row in self.db.execute(sql, (after, limit))]
        for entry in entries:
            entry["replayed"] = bool(entry["replayed"])
        return entries

    def last_log_number(self) -> int:
        """The number of the newest log entry, 0 when there's none."""
        return self.db.execute("SELECT coalesce(max(n), 0) FROM log").fetchone()[0]
