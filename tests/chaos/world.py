"""The real processes: servers, sandboxes, web, two workers, two beats, and the gates between them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from connectors.sandbox.remote import ControlDoor
from connectors.sandbox.testing import Sandboxes
from q2c import launch
from q2c.embedded import Embedded
from q2c.servers import Server
from q2c.supervisor import Part, Supervisor
from tests.chaos.disk import WAL_SETTINGS
from tests.chaos.gates import Gate, Gates
from tests.chaos.plan import VENDORS

QUEUES = "doors,flows,reconciliation"
RETRY_SECONDS = 1.0
WAIT_SECONDS = 180


class Keeper(Supervisor):
    """The demo's supervisor, whose lines go to a file."""

    def __init__(self, log: Path) -> None:
        super().__init__([], server_log=-1)
        self.log = log.open("a", buffering=1)

    def say(self, text: str, name: str = "chaos") -> None:
        """One line of the run's log."""
        self.log.write(f"{time.strftime('%H:%M:%S')} {name:<10} | {text}\n")


class World:
    """Everything that runs. `step` is called again and again by the supervisor's loop."""

    def __init__(self, embedded: Embedded, *, home: Path, server_log: int, has_disk: bool) -> None:
        self.embedded, self.home, self.server_log = embedded, home, server_log
        self.port, self.sandbox_port = launch.port(), launch.sandbox_port()
        self.keeper = Keeper(home / "chaos.log")
        self.servers: dict[str, Server] = {server.name: server for server in embedded.servers}
        if has_disk:
            self.servers["postgres"].command += WAL_SETTINGS
        self.back_at: dict[str, float] = {}
        shown = self.sandbox_port + len(VENDORS) + 1
        self.shown_port = shown
        sockets = self.servers["postgres"].address
        self.gates = Gates(
            *(Gate(code, shown + n, self.sandbox_port + n) for n, code in enumerate(sorted(VENDORS), start=1)),
            Gate("webhooks", self.port + 1, self.port),
            Gate("postgresql", self.port + 2, sockets),
            Gate("broker", self.port + 3, self.servers["valkey"].address),
        )
        self.sandboxes = Sandboxes(home, port=self.sandbox_port)
        self.door = ControlDoor(self.sandbox_port)
        self.told: dict[str, Any] = {}

    def open(self) -> None:
        """Make the database, seed the company, start every process, and wait until all of it is ready."""
        self.gates.open()
        owner, self.portal = self._environments()
        shown = [sys.executable, "-m", "connectors.sandbox", "--home", str(self.home), "--port", str(self.sandbox_port),
                 "--shown-port", str(self.shown_port)]  # fmt: skip
        keeper = self.keeper
        keeper.keep(Part("sandbox", shown, self.portal))
        keeper.run(Part("migrate", launch.manage("prepare_database", "--verbosity=0"), owner))
        keeper.watch(until=launch.each_second(lambda: launch.answers(self.sandbox_port, "/_control/vendors")))
        keeper.run(Part("seed", launch.manage("seed_demo"), self.portal))
        self.told = json.loads((self.home / "demo.seed.json").read_text())
        keeper.keep(*self._parts())
        keeper.watch(until=launch.each_second(lambda: launch.answers(self.port, "/readyz")))

    def close(self) -> None:
        """End every process; the servers are ended by whoever started them."""
        for part in self.keeper.parts:
            if part.process is not None and part.process.poll() is None:
                _signal_group(part.process.pid, signal.SIGCONT)
        self.keeper.end()
        self.gates.close()

    def step(self) -> None:
        """Start a server again that has died, once its time has come."""
        now = time.monotonic()
        for name, server in self.servers.items():
            if server.process is not None and server.process.poll() is not None and now >= self.back_at.get(name, 0.0):
                self.keeper.say(f"{name} ended with status {server.process.returncode}, starting it again")
                server.address.unlink(missing_ok=True)
                server.spawn(self.server_log)
                self.back_at[name] = now + RETRY_SECONDS

    def part(self, name: str) -> Part:
        """A program by its name."""
        return next(part for part in self.keeper.parts if part.name == name)

    def pids_below(self, name: str) -> list[int]:
        """The children of a program: its pool's or web server's processes."""
        process = self.part(name).process
        if process is None or process.poll() is not None:
            return []
        try:
            text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        except OSError:
            return []
        return sorted(int(each) for each in text.split())

    def faults_of(self, vendor: str, do: str, **order: Any) -> None:
        """Order a fault at a vendor's sandbox."""
        self.sandboxes.control("POST", f"{vendor}/faults", {"do": do, **order})

    def _environments(self) -> tuple[dict[str, str], dict[str, str]]:
        """As the demo's; the portal's own programs reach database and broker through the gates."""
        owner, portal = launch.environments(self.home, self.embedded.environment)
        password = conninfo_to_dict(portal["DATABASE_URL"])["password"]
        broker = urlsplit(portal["REDIS_URL"]).password
        portal |= {
            "DATABASE_URL": f"postgresql://q2c_app:{password}@127.0.0.1:{self.port + 2}/q2c",
            "REDIS_URL": f"redis://:{broker}@127.0.0.1:{self.port + 3}/0",
            "Q2C_BASE_URL": f"http://127.0.0.1:{self.port + 1}",
            "Q2C_LOG_LEVEL": "WARNING",
        }
        return owner, portal

    def _parts(self) -> list[Part]:
        python = sys.executable
        beat = [python, "-m", "celery", "-q", "-A", "q2c.celery:app", "beat", "--pidfile="]
        found = [Part("web", [python, "-m", "gunicorn", "-c", "python:q2c.web_server", "q2c.wsgi"], self.portal)]
        for name in ("worker-1", "worker-2"):
            command = launch.worker_command(QUEUES, 2)
            command[command.index("--hostname") + 1] = f"{name}-{os.getpid()}@%h"
            found.append(Part(name, command, self.portal, orphan_signal=signal.SIGQUIT))
        return [*found, Part("beat-1", beat, self.portal), Part("beat-2", beat, self.portal)]


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
