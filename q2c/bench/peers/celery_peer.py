"""The transaction as a Celery chain of five tasks over Redis, acknowledged late: results travel in the messages."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import requests
from celery import Celery, chain

DATABASE, SINK = os.environ.get("PEER_DATABASE", ""), os.environ.get("PEER_SINK", "")
# kombu says redis+socket where redis-py says unix
BROKER = os.environ.get("REDIS_URL", "").replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
app = Celery("peer", broker=BROKER)
app.conf.update(
    task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=8, task_ignore_result=True,
    task_default_queue="bench-peer", worker_hijack_root_logger=False,
)  # fmt: skip
_session = requests.Session()
_session.trust_env = False
_wires: dict[int, psycopg.Connection] = {}


def _wire() -> psycopg.Connection:
    return _wires.get(os.getpid()) or _wires.setdefault(os.getpid(), psycopg.connect(DATABASE, autocommit=True))


def _make(name: str, facts: dict[str, str]) -> str:
    answer = _session.post(f"{SINK}/documents", json={"external_id": name, **facts}, timeout=30)
    answer.raise_for_status()
    made: str = answer.json()["id"]
    return made


@app.task(name="read_item")
def read_item(number: str) -> dict[str, str]:
    """The mapping."""
    row = _wire().execute("SELECT item FROM item WHERE sku = 'QB-API'").fetchone()
    return {"number": number, "item": row[0] if row else ""}


@app.task(name="build")
def build(facts: dict[str, str]) -> dict[str, str]:
    """The document."""
    return {**facts, "amount": "100.00"}


@app.task(name="post_first")
def post_first(facts: dict[str, str]) -> dict[str, str]:
    """The first write."""
    return {**facts, "first": _make(f"one-{facts['number']}", facts)}


@app.task(name="post_second")
def post_second(facts: dict[str, str]) -> dict[str, str]:
    """The second write."""
    return {**facts, "second": _make(f"two-{facts['number']}", facts)}


@app.task(name="finish")
def finish(facts: dict[str, str]) -> None:
    """The result."""
    _wire().execute("INSERT INTO done VALUES (%s, %s)", [facts["number"], facts["second"]])


def main(database: str, sink: str, number: int, what: str) -> None:
    """Prepare, serve (two processes), or start so many."""
    if what == "prepare":
        with psycopg.connect(database) as wire:
            wire.execute("CREATE TABLE done (number text, second text)")
    elif what == "serve":
        command = [sys.executable, "-m", "celery", "-A", "q2c.bench.peers.celery_peer:app", "worker", "-c", "2",
                   "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR"]  # fmt: skip
        os.environ |= {"PEER_DATABASE": database, "PEER_SINK": sink}
        raise SystemExit(subprocess.call(command))
    else:
        for each in range(number):
            steps = chain(read_item.s(f"{os.getpid()}-{each}"), build.s(), post_first.s(), post_second.s(), finish.s())
            steps.apply_async()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
