"""A worker process: its liveness row, and the event loop on which its writes go out side by side."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import psycopg
import uvloop
from django.conf import settings
from django.db import connection

from q2c.core.ending import await_unless_ending
from q2c.core.ids import uuid7

LAPSES_SECONDS = 5.0
BEATS_EVERY_SECONDS = 1.0


class WorkerProcess:
    """This process as a worker. Made once per process, after the fork (`this_worker`)."""

    def __init__(self) -> None:
        self.id = f"{socket.gethostname()[:30]}:{os.getpid()}:{str(uuid7())[-8:]}"
        self.pid = os.getpid()
        self.loop = uvloop.new_event_loop()
        self.carried_count = 0
        self.head_seal = ""
        self.new_seal = ""  # of a commit that isn't known to stand
        self.peers: tuple[str, ...] = (self.id,)  # the workers that lived at the last beat, this one among them
        self._stopping = threading.Event()
        threading.Thread(target=self._run_loop, name="q2c-wire", daemon=True).start()
        self._enrol()
        self._beater = threading.Thread(target=self._beat, name="q2c-beat", daemon=True)
        self._beater.start()

    def stop(self) -> None:
        """Stop beating: this process claims nothing more."""
        self._stopping.set()
        self._beater.join(timeout=5)

    def keep_seal(self) -> None:
        """The commit stands: the next seal names this one."""
        if self.new_seal:
            self.head_seal, self.new_seal = self.new_seal, ""

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine on the wire's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _enrol(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO transactions_worker (id, host, process, started_at, beat_at, head_seal, carried_count)"
                " VALUES (%s, %s, %s, now(), now(), '', 0)",
                [self.id, socket.gethostname()[:100], self.pid],
            )
            cursor.execute("DELETE FROM transactions_worker WHERE beat_at < now() - interval '1 day'")

    def _beat(self) -> None:
        """Keep the liveness row fresh on a connection of its own, so that a long commit doesn't look like death."""
        wire: psycopg.Connection | None = None
        while not self._stopping.is_set():
            try:
                if wire is None or wire.closed:
                    wire = psycopg.connect(**connection_parameters(), autocommit=True)
                wire.execute(
                    "INSERT INTO transactions_worker (id, host, process, started_at, beat_at, head_seal, carried_count)"
                    " VALUES (%s, %s, %s, now(), now(), %s, %s) ON CONFLICT (id) DO UPDATE SET beat_at = now(),"
                    " head_seal = excluded.head_seal, carried_count = excluded.carried_count",
                    [self.id, socket.gethostname()[:100], self.pid, self.head_seal, self.carried_count],
                )
                living = wire.execute(
                    "SELECT id FROM transactions_worker WHERE beat_at > now() - %s * interval '1 second' ORDER BY id",
                    [LAPSES_SECONDS],
                )
                self.peers = tuple(row[0] for row in living)
            except psycopg.Error:
                if wire is not None:
                    wire.close()
                wire = None
            self._stopping.wait(BEATS_EVERY_SECONDS)
        if wire is not None:
            wire.close()


def connection_parameters() -> dict[str, Any]:
    """psycopg's parameters of the portal's own database, for a connection beside Django's: the same rules hold for it
    (behind a pooler nothing is prepared, a server that vanished is given up)."""
    own = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    where = {names[k]: own[k] for k in names if own.get(k)}
    return where | own["OPTIONS"] | {"application_name": f"{settings.PRODUCT_NAME} beat", "connect_timeout": 3}


_worker: WorkerProcess | None = None
_lock = threading.Lock()


def this_worker() -> WorkerProcess:
    """This process's worker; a forked child makes its own."""
    global _worker
    with _lock:
        if _worker is None or _worker.pid != os.getpid():
            _worker = WorkerProcess()
        return _worker


def living_worker() -> WorkerProcess | None:
    """This process's worker, if it is one."""
    return _worker if _worker is not None and _worker.pid == os.getpid() else None


def stop_worker() -> None:
    """End this process's worker, if it has one; the next `this_worker` makes a new one."""
    global _worker
    with _lock:
        if _worker is not None and _worker.pid == os.getpid():
            _worker.stop()
        _worker = None


def run_now(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Wait for one coroutine on this process's loop: for screens, commands and polls, never for the hot path. Raises
    Problem `system_unavailable` when the process is ended meanwhile."""
    return this_worker().submit(await_unless_ending(work())).result()
