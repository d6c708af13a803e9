"""Real workers and beats over the test's database, with a broker of their own that may be wiped or killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import redis
from django.db import connection

from q2c.embedded import Embedded
from q2c.launch import ROOT, worker_command

LOADED = 3.0


class Stage:
    """Two workers, two beats, one broker."""

    def __init__(self, home: Path, sandbox_port: int) -> None:
        home.mkdir()
        self.log = open(home / "stage.log", "wb")  # noqa: SIM115 - the processes write to it until the end
        self.broker = Embedded(home, postgres=False)
        self.sandbox_port = sandbox_port
        self.processes: list[subprocess.Popen] = []

    def open(self, *more: list[str], **given: str) -> None:
        """Start everything, and the programs of these lines beside; `given` goes into everybody's environment."""
        self.broker.start(self.log.fileno())
        self.environment = os.environ | self.broker.environment | {
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "q2c.settings",
            "Q2C_SANDBOX_PORT": str(self.sandbox_port),
            "PYTHONWARNINGS": "ignore",
        } | given  # fmt: skip
        beat = [sys.executable, "-m", "celery", "-q", "-A", "q2c.celery:app", "beat", "--pidfile="]
        for command in (worker_command("flows,doors", 1), worker_command("flows,doors", 1), beat, beat, *more):
            self.processes.append(
                subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)
            )

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.broker.stop()
        self.log.close()

    def wipe_broker(self) -> None:
        """Everything that waits in the broker is gone."""
        redis.Redis.from_url(self.broker.environment["REDIS_URL"]).flushall()

    @contextmanager
    def without_broker(self) -> Iterator[None]:
        """The broker is killed, and comes back empty."""
        (server,) = self.broker.servers
        server.process.kill()
        server.process.wait()
        server.address.unlink(missing_ok=True)
        yield
        server.spawn(self.log.fileno())


@contextmanager
def without_database() -> Iterator[None]:
    """As a restart of PostgreSQL looks to its clients: each connection is ended, and nobody is let in meanwhile."""
    name = connection.settings_dict["NAME"]
    with psycopg.connect(database_url("q2c"), autocommit=True) as wire:
        wire.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            # Autovacuum may be at work there too, and isn't ours to end.
            wire.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND backend_type = 'client backend'",
                [name],
            )
            connection.close()
            yield
        finally:
            connection.close()  # whatever failed above: the next test gets a whole one
            wire.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def database_url(name: str = "") -> str:
    """The address of the test's own database, or of another one of the same server."""
    own = connection.settings_dict
    who = f"{own['USER']}:{quote(own['PASSWORD'], safe='')}@" if own["PASSWORD"] else f"{own['USER']}@"
    where = f"?host={quote(own['HOST'], safe='')}" + (f"&port={own['PORT']}" if own["PORT"] else "")
    return f"postgresql://{who}/{name or own['NAME']}{where}"


def await_that(holds: Callable[[], object], *, seconds: float, what: str) -> None:
    """Wait for something that other processes do; three times as long as it should take, as a machine may be loaded."""
    end = time.monotonic() + LOADED * seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not in {LOADED * seconds} s"
        time.sleep(0.1)
