"""The transaction as a DBOS workflow of four steps from a durable queue."""

from __future__ import annotations

import os
import signal
import sys

import psycopg
import requests
from dbos import DBOS, DBOSClient, DBOSConfig, Queue, _migration

DATABASE, SINK = (sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else ("", "")
AT_ONCE = 20
SCHEMA_URL = DATABASE.replace("postgresql://", "postgresql+psycopg://")
queue = Queue("sales", worker_concurrency=AT_ONCE, polling_interval_sec=0.1)
_session = requests.Session()
_session.trust_env = False
_session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))


def _make(name: str, facts: dict[str, str]) -> str:
    answer = _session.post(f"{SINK}/documents", json={"external_id": name, **facts}, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["id"])


@DBOS.step()
def read_item() -> str:
    """The mapping."""
    with psycopg.connect(DATABASE) as wire:
        row = wire.execute("SELECT item FROM item WHERE sku = 'QB-API'").fetchone()
    return str(row[0]) if row else ""


@DBOS.step()
def build(item: str) -> dict[str, str]:
    """The document."""
    return {"item": item, "amount": "100.00"}


@DBOS.step()
def post_first(number: str, facts: dict[str, str]) -> str:
    """The first write."""
    return _make(f"one-{number}", facts)


@DBOS.step()
def post_second(number: str, facts: dict[str, str], first: str) -> str:
    """The second write."""
    return _make(f"two-{number}", {**facts, "memo": first})


@DBOS.workflow()
def carry(number: str) -> str:
    """The whole transaction."""
    facts = build(read_item())
    return post_second(number, facts, post_first(number, facts))


def _do_without_contrib() -> None:
    """Its first migration asks for uuid-ossp and uses nothing of it; a PostgreSQL without contrib has none."""
    with psycopg.connect(DATABASE) as wire:
        if wire.execute("SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp'").fetchone():
            return
    first = _migration.get_dbos_migration_one

    def without(quoted_schema: str, use_listen_notify: bool) -> str:
        return first(quoted_schema, use_listen_notify).replace('CREATE EXTENSION IF NOT EXISTS "uuid-ossp";', "")

    _migration.get_dbos_migration_one = without


def main(number: int, what: str) -> None:
    """Prepare, serve, or start so many."""
    if what == "start":
        client = DBOSClient(system_database_url=SCHEMA_URL)
        for each in range(number):
            client.enqueue({"queue_name": queue.name, "workflow_name": carry.__qualname__}, f"{os.getpid()}-{each}")
        return
    _do_without_contrib()
    config: DBOSConfig = {"name": "peer", "system_database_url": SCHEMA_URL, "log_level": "ERROR",
                          "run_admin_server": False}  # fmt: skip
    DBOS(config=config)
    DBOS.launch()
    if what == "serve":
        signal.sigwait({signal.SIGTERM})
    DBOS.destroy()


if __name__ == "__main__":
    main(int(sys.argv[3]), sys.argv[4])
