"""The bench's own portal: a database made afresh, the sandboxes with their limits lifted, web server and workers."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors.models import Connection
from connectors.sandbox.remote import ControlDoor, SandboxAway
from q2c import launch, ports
from q2c.bench import cpu
from q2c.demo.seed import seed
from q2c.processes import die_with_parent

DATABASE = "q2c_bench"
AT_ONCE = 64  # in flight to a target whose limits are lifted
PATIENCE_SECONDS = 120.0


class Stage:
    """Everything that runs during the bench. Programs end with it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.door = ControlDoor(settings.SANDBOX_PORT)
        self.environment: dict[str, str] = {}
        self.programs: dict[str, subprocess.Popen] = {}
        self.logs = home / "bench-logs"
        self.logs.mkdir(parents=True, exist_ok=True)

    def open(self) -> None:
        """Make the database, start the sandboxes, seed the demo's company."""
        url = make_database()
        self.environment = {
            **os.environ, "DATABASE_URL": url, "DATABASE_OWNER_URL": url, "Q2C_HOME": str(self.home), "Q2C_ENV": "test",
            "Q2C_LOG_LEVEL": "WARNING", "DJANGO_SETTINGS_MODULE": "q2c.settings", "PYTHONWARNINGS": "ignore",
            # In test mode every process would make up keys of its own.
            "Q2C_SECRET_KEY": settings.SECRET_KEY,
            "Q2C_VAULT_KEYS": ",".join(base64.urlsafe_b64encode(key).decode() for key in settings.VAULT_KEYS),
        }  # fmt: skip
        self.run("prepare", launch.manage("prepare_database", "--verbosity=0"))
        self.start("sandbox", launch.manage("sandbox"))
        self.await_program("sandbox", lambda: launch.answers(settings.SANDBOX_PORT, "/_control/vendors"))
        self.door.call("POST", "reset", {"vendors": None, "keep": "reference"})
        seed(self.home)
        self.lift_limits()

    def lift_limits(self) -> None:
        """No vendor's limit and none of our own throttles: the portal is measured, not the vendor's patience."""
        for code in ("stripe", "netsuite", "salesforce"):
            self.door.call("POST", f"{code}/limits", {"enforced": False})
            row = Connection.objects.get(code=code)
            row.at_once, row.settings = AT_ONCE, {**row.settings, "is_unlimited": "1"}
            row._change_reason = "The bench lifts limits"
            row.save()
        ports.forget_kept()

    def close(self) -> None:
        """End every program."""
        for name in list(self.programs):
            self.stop(name)

    # Programs.

    def start(self, name: str, command: list[str]) -> subprocess.Popen:
        """Start a program; its lines go to a file of the bench's home."""
        log = os.open(self.logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self.programs[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=launch.ROOT, process_group=0, preexec_fn=die_with_parent(signal.SIGTERM),
            )  # fmt: skip
        finally:
            os.close(log)
        return self.programs[name]

    def run(self, name: str, command: list[str]) -> None:
        """Run a program to its end. Raises RuntimeError when it fails."""
        if self.start(name, command).wait(timeout=600):
            raise RuntimeError(f"{name} failed: {(self.logs / f'{name}.log').read_text()[-2000:]}")
        del self.programs[name]

    def stop(self, name: str) -> None:
        """End a program and all that it started."""
        process = self.programs.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def await_program(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a program is ready. Raises RuntimeError with its last words when it ends instead."""
        process = self.programs[name]
        wait_for(lambda: process.poll() is not None or is_ready(), name)
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended: {(self.logs / f'{name}.log').read_text()[-2000:]}")

    @contextmanager
    def web(self, application: str = "q2c.wsgi") -> Iterator[None]:
        """The web server as the demo starts it, under an application of choice."""
        self.start("web", [sys.executable, "-m", "gunicorn", "-c", "python:q2c.web_server", application])
        self.await_program("web", lambda: is_listening(settings.PORT))
        try:
            yield
        finally:
            self.stop("web")

    @contextmanager
    def workers(self, count: int) -> Iterator[None]:
        """The workers at the doors and `count` worker processes of the flows, with beat, as the demo has them."""
        self.start("doors", launch.worker_command("doors", dict(launch.WORKERS)["doors"]))
        self.start("flows", launch.worker_command("flows", count))
        self.start("beat", [sys.executable, "-m", "celery", "-q", "-A", "q2c.celery:app", "beat", "--pidfile="])
        try:
            yield
        finally:
            for name in ("beat", "flows", "doors"):
                self.stop(name)

    # What it costs.

    def portal_pids(self) -> dict[str, list[int]]:
        """The roots of the portal's process trees by part; the sandboxes aren't the portal."""
        found = {name: [p.pid] for name, p in self.programs.items() if name != "sandbox"}
        return {**found, "postgresql": [postmaster()], "broker": [broker()]}

    def cpu(self) -> dict[str, float]:
        """User and system seconds so far of each part, the sandboxes' apart under `sandbox`."""
        parts = {**self.portal_pids(), "sandbox": [self.programs["sandbox"].pid]}
        return {name: cpu.cpu_seconds(pids) for name, pids in parts.items()}

    def last(self, vendor: str) -> int:
        """The newest entry of a sandbox's log."""
        return int(self.door.call("GET", f"{vendor}/log?after=0&limit=1")["last"])

    def log(self, vendor: str, *, after: int) -> Iterator[dict[str, Any]]:
        """A sandbox's log after an entry."""
        while True:
            entries = self.door.call("GET", f"{vendor}/log?after={after}&limit=1000")["entries"]
            yield from entries
            if len(entries) < 1000:
                return
            after = entries[-1]["n"]


def make_database() -> str:
    """A database of the bench's own beside the given one, empty; this process uses it from here on. Returns its URL."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as wire:
        name = sql.Identifier(DATABASE)
        wire.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        wire.execute(sql.SQL("CREATE DATABASE {}").format(name))
    connection.close()
    connection.settings_dict["NAME"] = DATABASE
    return make_conninfo(settings.DATABASE_URL, dbname=DATABASE)


def postmaster() -> int:
    """The process id of PostgreSQL, which must run on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cpu.parent_of(cursor.fetchone()[0])


def broker() -> int:
    """The process id of the broker, which must run on this machine."""
    facts: Any = redis.Redis.from_url(settings.REDIS_URL).info("server")
    return int(facts["process_id"])


def is_listening(port: int) -> bool:
    """Whether an HTTP server answers at a port, whatever it says."""
    try:
        ControlDoor(port).call("GET", "")
    except SandboxAway:
        return False
    except Exception:
        return True
    return True


def wait_for(holds: Callable[[], bool], what: str, *, seconds: float = PATIENCE_SECONDS, every: float = 0.1) -> float:
    """Wait until something holds. Returns the seconds that it took. Raises TimeoutError naming it."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{what}: not in {seconds:.0f} s")
        time.sleep(every)
    return time.monotonic() - started
