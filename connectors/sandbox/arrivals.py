"""Every write that arrived at a vendor's door, whatever became of it: beside the log, which knows accepted ones only.

A target that refuses a known id, or gives the first answer again, leaves the same log whether it was asked once or
twice. Here each asking has its line.
"""

import hashlib

from connectors.sandbox.clock import format_time
from connectors.sandbox.request import Request
from connectors.sandbox.store import Store

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS arrivals ("
    " n INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,"
    " external_id TEXT, idempotency_key TEXT, digest TEXT NOT NULL, status INTEGER NOT NULL, verdict TEXT NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS arrivals_not_updated BEFORE UPDATE ON arrivals"
    " BEGIN SELECT RAISE(ABORT, 'arrivals are append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS arrivals_not_deleted BEFORE DELETE ON arrivals"
    " BEGIN SELECT RAISE(ABORT, 'arrivals are append-only'); END",
)
FIELDS = ("n", "at", "method", "path", "external_id", "idempotency_key", "digest", "status", "verdict")
DONE, REFUSED, REPLAYED = "done", "refused", "replayed"
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Arrivals:
    """The writes that arrived at one vendor's door, in the order in which their fate was decided."""

    def __init__(self, store: Store):
        self.store = store
        for statement in SCHEMA:
            store.db.execute(statement)

    def note(self, request: Request, *, external_id: str | None, key: str | None, status: int, verdict: str) -> None:
        """Write one down. `status` is what was decided, also where the answer is lost; 0 where nothing was."""
        digest = hashlib.blake2b(request.body, digest_size=8).hexdigest()
        self.store.db.execute(
            f"INSERT INTO arrivals ({', '.join(FIELDS[1:])}) VALUES (?,?,?,?,?,?,?,?)",
            (
                format_time(self.store.clock.time()),
                request.method,
                request.path,
                external_id,
                key,
                digest,
                status,
                verdict,
            ),
        )

    def entries(self, *, after: int = 0, limit: int = 1000) -> list[dict]:
        """Those whose number is greater than `after`, oldest first."""
        sql = f"SELECT {', '.join(FIELDS)} FROM arrivals WHERE n>? ORDER BY n LIMIT ?"
        return [dict(zip(FIELDS, row, strict=True)) for row in self.store.db.execute(sql, (after, limit))]

    def last_number(self) -> int:
        """The number of the newest, 0 when there's none."""
        return self.store.db.execute("SELECT coalesce(max(n), 0) FROM arrivals").fetchone()[0]
