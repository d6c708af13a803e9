"""Starts PostgreSQL and Valkey out of their wheels, for whoever gives no DATABASE_URL or REDIS_URL.

    python -m q2c.embedded HOME COMMAND...      runs a command with the addresses in its environment

Both listen on unix sockets in a folder of mode 0700, ask for a password, and end when their starter ends, however it
ends. PostgreSQL's superuser can't sign in at all: `q2c_owner` owns the tables, `q2c_app` is what the portal runs as.
One owner holds a lock on HOME; whoever finds it taken uses the owner's servers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from q2c.processes import die_with_parent, take_lock, wait_until, write_private
from q2c.servers import Place, Server

RETRY_SECONDS_MAX = 15


class Embedded:
    """The servers of one home. `environment` holds the addresses once `start` has returned."""

    def __init__(self, home: Path, *, postgres: bool = True, valkey: bool = True):
        self.home = home.absolute()
        self.wants_postgres, self.wants_valkey = postgres, valkey
        self.environment: dict[str, str] = {}
        self.servers: list[Server] = []
        self._lock: int | None = None

    def start(self, stdout: int | None = None) -> Embedded:
        """Start what is wanted, or join the servers of a living owner. `stdout` takes the servers' own messages."""
        if not (self.wants_postgres or self.wants_valkey):
            return self
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock = take_lock(self.home / "embedded.lock")
        if self._lock is None:
            self._join()
            return self
        place = Place(self.home)
        if self.wants_postgres:
            place.make_cluster()
            self._begin(place.postgres(), stdout)
            self.environment |= place.postgres_urls()
        if self.wants_valkey:
            self._begin(place.valkey(), stdout)
            self.environment["REDIS_URL"] = place.valkey_url()
        if self.wants_postgres:
            self._await_postgres()
        write_private(self.home / "embedded.json", json.dumps(self.environment))
        return self

    def stop(self) -> None:
        """End the servers that this owner started, the database last."""
        for server in reversed(self.servers):
            server.stop()
            server.address.unlink(missing_ok=True)
        if self._lock is not None:
            (self.home / "embedded.json").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _begin(self, server: Server, stdout: int | None) -> None:
        """Start a server, again if need be: the children of a killed one hold its memory for a moment."""
        self.servers.append(server)
        until = time.monotonic() + RETRY_SECONDS_MAX
        while True:
            server.spawn(stdout)
            try:
                return wait_until(server.is_listening, process=server.process)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _await_postgres(self) -> None:
        import psycopg

        def answers() -> bool:
            try:
                psycopg.connect(self.environment["DATABASE_OWNER_URL"], connect_timeout=5).close()
            except psycopg.OperationalError:  # starting up, or recovering from a crash
                return False
            return True

        wait_until(answers, process=self.servers[0].process)

    def _join(self) -> None:
        found = self.home / "embedded.json"
        wait_until(found.exists)
        self.environment = json.loads(found.read_text())


def missing_servers(home: Path) -> Embedded:
    """What has to be started here: whatever the environment names no address for."""
    return Embedded(home, postgres=not os.environ.get("DATABASE_URL"), valkey=not os.environ.get("REDIS_URL"))


def adopt_running_demo(home: Path) -> bool:
    """Put a running demo's addresses into the environment, where it names none itself; whether there was one. A
    database that the environment names is the demo's only when it's the one that the demo was given too, and the
    environment says of no other kind of portal."""
    database, kind = os.environ.get("DATABASE_URL"), os.environ.get("Q2C_ENV")
    if kind in ("production", "test") or (database and kind):
        return False
    try:
        found = json.loads((home / "running.json").read_text())
    except (FileNotFoundError, PermissionError):
        return False
    if database and database != found.get("DATABASE_URL"):
        return False
    for name, value in found.items():
        os.environ.setdefault(name, value)
    return True


def main(arguments: list[str]) -> int:
    """Run a command beside the servers, as the tables' owner; signals are passed on, the servers end last."""
    home, *command = arguments
    Path(home).mkdir(parents=True, exist_ok=True)
    messages = os.open(Path(home) / "servers.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    servers = missing_servers(Path(home)).start(messages)
    child: subprocess.Popen | None = None

    def pass_on(number: int, _frame: object) -> None:
        if child is not None:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the command by itself; wait for it
    try:
        environment = os.environ | servers.environment
        if "DATABASE_OWNER_URL" in servers.environment:
            environment["DATABASE_URL"] = servers.environment["DATABASE_OWNER_URL"]
        child = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent(signal.SIGTERM))
        return child.wait()
    finally:
        servers.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
