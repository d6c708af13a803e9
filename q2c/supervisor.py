"""Keeps parts running: prefixes their lines, restarts with back-off what dies, and ends all in order.

One thread and one loop: the signal that the kernel sends a child at its starter's death follows the starting *thread*.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from q2c.processes import die_with_parent
from q2c.servers import Server

BACK_OFF_SECONDS = (0.5, 1, 2, 5, 10, 30)
STEADY_SECONDS = 30.0  # who ran so long starts again without back-off
PATIENCE_SECONDS = 9.0  # between the kind signal and SIGKILL; both servers follow within the twenty seconds promised
TICK_SECONDS = 0.2


@dataclass
class Part:
    """One program of the portal. `orphan_signal` ends it when the supervisor is killed."""

    name: str
    command: list[str]
    environment: dict[str, str]
    orphan_signal: int = signal.SIGTERM
    process: subprocess.Popen | None = None
    started: float = 0.0
    deaths_in_row: int = 0
    next_start: float = 0.0
    rest: bytes = field(default=b"", repr=False)

    def spawn(self) -> subprocess.Popen:
        """Start the program in a process group of its own: Ctrl-C reaches the supervisor alone."""
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=die_with_parent(self.orphan_signal),
        )
        self.started = time.monotonic()
        return self.process


class Ended(Exception):
    """Somebody asked for the end (Ctrl-C, SIGTERM, SIGHUP)."""


class Supervisor:
    """The loop over all parts and servers. `servers` are watched like parts; their lines go to a file of their own."""

    def __init__(self, servers: list[Server], *, server_log: int) -> None:
        self.parts: list[Part] = []
        self.servers = servers
        self.server_log = server_log
        self.is_ending = False
        self._selector = selectors.DefaultSelector()
        self._server_waits: dict[str, tuple[int, float]] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_for_end)

    def run(self, part: Part) -> None:
        """Run a program to its end. Raises RuntimeError when it fails, Ended when the end is asked for."""
        self._begin(part)
        self.watch(until=lambda: part.process is not None and part.process.poll() is not None)
        self._drain(part)
        assert part.process is not None
        if part.process.returncode:
            raise RuntimeError(f"{part.name} failed with status {part.process.returncode}")

    def keep(self, *parts: Part) -> None:
        """Start parts and keep them running."""
        for part in parts:
            self.parts.append(part)
            self._begin(part)

    def watch(self, until: Callable[[], bool] | None = None) -> None:
        """Pass lines on and restart what dies, until something holds. Raises Ended when the end is asked for."""
        while not (until and until()):
            if self.is_ending:
                raise Ended
            self._pass_lines_on(TICK_SECONDS)
            for part in self.parts:
                self._look_after(part)
            for server in self.servers:
                self._look_after_server(server)

    def end(self) -> None:
        """End every part, kindly at first. Servers are ended by whoever started them."""
        self.is_ending = True
        living = [p.process for p in self.parts if p.process is not None and p.process.poll() is None]
        for process in living:
            process.terminate()
        until = time.monotonic() + PATIENCE_SECONDS
        while any(p.poll() is None for p in living) and time.monotonic() < until:
            self._pass_lines_on(TICK_SECONDS)
        for part in self.parts:
            if part.process is None:
                continue
            if part.process.poll() is None:
                self.say(f"{part.name} doesn't end, killing it")
            try:
                os.killpg(part.process.pid, signal.SIGKILL)  # also children that outlived their parent
            except ProcessLookupError:
                pass
            part.process.wait()
            self._drain(part)

    def say(self, text: str, name: str = "demo") -> None:
        """One line of the supervisor's own."""
        sys.stdout.write(f"{name:<14} | {text}\n")
        sys.stdout.flush()

    def _ask_for_end(self, _number: int, _frame: object) -> None:
        self.is_ending = True

    def _begin(self, part: Part) -> None:
        process = part.spawn()
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, part)

    def _look_after(self, part: Part) -> None:
        if part.process is not None:
            status = part.process.poll()
            if status is None:
                return
            self._drain(part)
            try:
                os.killpg(part.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            part.deaths_in_row = 1 if time.monotonic() - part.started > STEADY_SECONDS else part.deaths_in_row + 1
            wait = BACK_OFF_SECONDS[min(part.deaths_in_row, len(BACK_OFF_SECONDS)) - 1]
            part.process, part.next_start = None, time.monotonic() + wait
            self.say(f"{part.name} ended with status {status}, starting it again in {wait} s")
        elif time.monotonic() >= part.next_start:
            self._begin(part)

    def _look_after_server(self, server: Server) -> None:
        if server.process is None or server.process.poll() is None:
            return
        deaths, next_start = self._server_waits.get(server.name, (0, 0.0))
        now = time.monotonic()
        if now < next_start:
            return
        deaths = deaths + 1 if now - next_start < STEADY_SECONDS else 1
        self._server_waits[server.name] = (deaths, now + BACK_OFF_SECONDS[min(deaths, len(BACK_OFF_SECONDS)) - 1])
        self.say(f"{server.name} ended with status {server.process.returncode}, starting it again")
        server.spawn(self.server_log)

    def _pass_lines_on(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            self._read(key.data)

    def _read(self, part: Part) -> bool:
        """Print what the part has written; False when there's no more for now, or its output is closed."""
        assert part.process is not None
        pipe = part.process.stdout
        if pipe is None or pipe.closed:
            return False
        try:
            data = os.read(pipe.fileno(), 65536)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(pipe)
            pipe.close()
        *lines, part.rest = (part.rest + data).split(b"\n")
        if not data and part.rest:
            lines, part.rest = [*lines, part.rest], b""
        for line in lines:
            self.say(line.decode("utf-8", "replace"), part.name)
        return bool(data)

    def _drain(self, part: Part) -> None:
        while self._read(part):
            pass
        if part.process and part.process.stdout and not part.process.stdout.closed:
            self._selector.unregister(part.process.stdout)
            part.process.stdout.close()
