"""For tests: start the sandboxes in a process of their own, on free ports with a temporary home, and talk to them."""

import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
PORTS = 12  # the control door and room for vendors


class Sandboxes:
    """A process with sandboxes that a test may kill and start again at the same address."""

    def __init__(self, home: Path, *, vendors: list[str] | None = None, port: int | None = None):
        self.home = Path(home)
        self.vendors = vendors
        self.port = port or find_free_ports(PORTS)
        self.process: subprocess.Popen | None = None
        self.session = requests.Session()
        self.session.trust_env = False

    @property
    def control_url(self) -> str:
        """Where the control door is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Sandboxes":
        """Start the process and wait until all its doors are open. Raises RuntimeError when it ends instead."""
        command = [sys.executable, "-m", "connectors.sandbox", "--home", str(self.home), "--port", str(self.port)]
        if self.vendors:
            command += ["--vendors", ",".join(self.vendors)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        if self.process.stdout is None or not self.process.stdout.readline().startswith(b"ready"):
            raise RuntimeError(f"the sandboxes ended with {self.process.wait()}")
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the process and wait for its end."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=60)
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def kill(self) -> None:
        """`kill -9`."""
        self.stop(signal.SIGKILL)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the control door; its answer decoded. Raises requests.HTTPError for a refusal."""
        answer = self.session.request(
            method,
            f"{self.control_url}/_control/{path}",
            data=None if body is None else json.dumps(body),
            headers={} if body is None else {"Content-Type": "application/json"},
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json()

    def vendor(self, code: str) -> dict:
        """`{"url", "credentials"}` of a vendor."""
        return self.control("GET", "vendors")[code]

    def log(self, code: str, *, after: int = 0, **wanted: Any) -> list[dict]:
        """All log entries after a number; with keywords only those whose fields have these values."""
        return self._pages(f"{code}/log", after, wanted)

    def arrivals(self, code: str, *, after: int = 0, **wanted: Any) -> list[dict]:
        """All writes that arrived after a number, whatever became of them; with keywords only those."""
        return self._pages(f"{code}/arrivals", after, wanted)

    def _pages(self, path: str, after: int, wanted: dict[str, Any]) -> list[dict]:
        entries: list[dict] = []
        while True:
            page = self.control("GET", f"{path}?after={entries[-1]['n'] if entries else after}")["entries"]
            if not page:
                break
            entries += page
        return [entry for entry in entries if all(entry[name] == value for name, value in wanted.items())]

    def fault(self, code: str, do: str, *, when: dict | None = None, **rest: Any) -> int:
        """Order a fault; its id."""
        return self.control("POST", f"{code}/faults", {"do": do, "when": when or {}, **rest})["id"]

    def make(self, code: str, type: str, *objects: dict) -> list[str]:
        """Make documents as a user of the vendor; their ids."""
        return self.control("POST", f"{code}/documents/{type}", list(objects))["ids"]


@contextmanager
def running_sandboxes(home: Path, *, vendors: list[str] | None = None, port: int | None = None) -> Iterator[Sandboxes]:
    """Sandboxes for the time of a `with` block."""
    sandboxes = Sandboxes(home, vendors=vendors, port=port).start()
    try:
        yield sandboxes
    finally:
        sandboxes.stop()


def find_free_ports(count: int) -> int:
    """The first of so many neighbouring ports that are free now."""
    for _ in range(200):
        first = random.SystemRandom().randrange(20000, 32000)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports")
