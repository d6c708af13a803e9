"""Hosts: network namespaces of their own on one bridge, each with a name and a clock, and cables that can be pulled.

What a host needs of this machine beside the network (the vendors' sandboxes) it reaches through a unix socket, which no
cable is between: a host that is cut off from its database still reaches its vendors, which is the worst case.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from q2c.launch import ROOT
from q2c.processes import die_with_parent

NET = "10.231.7"
DATABASE, BROKER = f"{NET}.1:5432", f"{NET}.1:6379"
WRONG_CLOCK = Path(__file__).with_name("wrong_clock")


def why_not() -> str:
    """What is lacking here for hosts of our own; empty where nothing is."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs root, `ip` and `unshare`"
    name = f"q2c-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    if tried.returncode == 0:
        tried = subprocess.run(["ip", "netns", "exec", name, "ip", "link", "add", "q2c0", "type", "bridge"],
                               capture_output=True)  # fmt: skip
        _ip("netns", "del", name)
    return "" if tried.returncode == 0 else "network namespaces can't be made here"


class Host:
    """One host: a namespace with an address on the bridge."""

    def __init__(self, network: Network, name: str, number: int, *, clock_off: float = 0.0) -> None:
        self.network, self.name, self.clock_off = network, name, clock_off
        self.space, self.cable = f"q2c{os.getpid()}-{name}", f"q2c{number}"
        self.processes: list[subprocess.Popen] = []
        _ip("netns", "add", self.space)
        _ip("-n", self.space, "link", "set", "lo", "up")
        _ip("-n", network.space, "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        _ip("-n", network.space, "link", "set", self.cable, "master", "office", "up")
        _ip("-n", self.space, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
        _ip("-n", self.space, "link", "set", "eth0", "up")

    def run(self, command: list[str], **environment: str) -> subprocess.Popen:
        """A program on this host, under its name and by its clock."""
        line = ["ip", "netns", "exec", self.space, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"',
                self.name, *command]  # fmt: skip
        clock = {"PYTHONPATH": f"{WRONG_CLOCK}:{ROOT}", "HOST_CLOCK_OFF": str(self.clock_off)}
        process = subprocess.Popen(
            line, cwd=ROOT, env=os.environ | environment | clock, stdout=self.network.log, stderr=self.network.log,
            preexec_fn=die_with_parent(signal.SIGKILL), start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def pass_on(self, **doors: str) -> None:
        """Doors of this host that lead to unix sockets: `{address: path}`."""
        self.run(_passing(doors))

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Its cable is pulled: no byte, and no word that a connection ended."""
        _ip("-n", self.network.space, "link", "set", self.cable, "down")
        try:
            yield
        finally:
            _ip("-n", self.network.space, "link", "set", self.cable, "up")

    def close_programs(self) -> None:
        """End what runs on it."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """End everything of it."""
        self.close_programs()
        _ip("netns", "del", self.space)


class Network:
    """A bridge in a namespace of its own, so that nothing of this machine's network is touched."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.log = open(home / "hosts.log", "wb")  # noqa: SIM115 - the processes write to it until the end
        self.path = home / "hosts.log"
        self.space = f"q2c{os.getpid()}-office"
        self.hosts: list[Host] = []
        _ip("netns", "add", self.space)
        _ip("-n", self.space, "link", "add", "office", "type", "bridge")
        _ip("-n", self.space, "link", "set", "office", "up")

    def host(self, name: str, *, clock_off: float = 0.0) -> Host:
        """One more host, whose wall clock is off by so many seconds."""
        self.hosts.append(Host(self, name, len(self.hosts) + 1, clock_off=clock_off))
        return self.hosts[-1]

    def close(self) -> None:
        """Everything is gone."""
        for host in self.hosts:
            host.close()
        _ip("netns", "del", self.space)
        self.log.close()


def pass_on_here(doors: dict[str, str]) -> subprocess.Popen:
    """The same on this machine itself: `{socket: address}`."""
    return subprocess.Popen(_passing(doors), cwd=ROOT, preexec_fn=die_with_parent(signal.SIGKILL))


def _passing(doors: dict[str, str]) -> list[str]:
    return [sys.executable, "-m", "tests.journeys.passing", *(f"{a}={b}" for a, b in doors.items())]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
