"""Carries the plan out, blow by blow, and takes everything back at the end."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import redis

from tests.chaos import disk
from tests.chaos.plan import VENDORS, Blow
from tests.chaos.world import World

WRITES = "POST"


class Tormentor:
    """`step` strikes what has become due; `lift` ends every torment that still lasts."""

    def __init__(self, world: World, plan: list[Blow]) -> None:
        self.world, self.plan = world, plan
        self.counts: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.started = time.monotonic()
        self.later: list[tuple[float, Callable[[], None]]] = []

    def step(self) -> None:
        """Strike what is due by now, and end what has lasted."""
        now = time.monotonic()
        for until, end in [each for each in self.later if each[0] <= now]:
            self.later.remove((until, end))
            end()
        while self.plan and self.plan[0].at <= now - self.started:
            blow = self.plan.pop(0)
            self.world.keeper.say(f"{blow.torment}: {blow.aim} {blow.seconds or ''} {blow.amount or ''}", "torment")
            (self.counts if self._strike(blow) else self.missed)[blow.torment] += 1

    def lift(self) -> None:
        """Everything goes on as if nothing had been."""
        for _until, end in self.later:
            end()
        self.later.clear()
        for gate in self.world.gates.gates.values():
            self.world.gates.tell(gate.calm)
        for vendor in VENDORS:
            self.world.sandboxes.control("DELETE", f"{vendor}/faults")
        self.world.sandboxes.control("POST", "clock", {"reset": True})
        disk.empty(self.world.embedded.home)

    def _strike(self, blow: Blow) -> bool:
        """Whether there was anything to hit."""
        act: Callable[[Blow], bool] = getattr(self, "_" + blow.torment.lower().replace(" ", "_").replace("'", ""))
        return act(blow)

    def _after(self, seconds: float, end: Callable[[], None]) -> None:
        self.later.append((time.monotonic() + seconds, end))

    # Processes.

    def _kill(self, blow: Blow) -> bool:
        process = self.world.part(blow.aim).process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return True

    def _kill_a_child(self, blow: Blow) -> bool:
        pids = self.world.pids_below(blow.aim)
        if not pids:
            return False
        os.kill(pids[int(blow.amount * len(pids)) % len(pids)], signal.SIGKILL)
        return True

    def _pause(self, blow: Blow) -> bool:
        process = self.world.part(blow.aim).process
        if process is None or process.poll() is not None:
            return False
        _signal(process.pid, signal.SIGSTOP)
        self._after(blow.seconds, lambda: _signal(process.pid, signal.SIGCONT) if process.poll() is None else None)
        return True

    # Servers.

    def _restart_postgresql(self, blow: Blow) -> bool:
        return self._stop_server("postgres", signal.SIGQUIT, blow.seconds)

    def _stop_the_broker(self, blow: Blow) -> bool:
        return self._stop_server("valkey", signal.SIGKILL, blow.seconds)

    def _stop_server(self, name: str, number: int, seconds: float) -> bool:
        server = self.world.servers[name]
        if server.process is None or server.process.poll() is not None:
            return False
        self.world.back_at[name] = time.monotonic() + seconds
        server.process.send_signal(number)
        return True

    def _wipe_the_broker(self, blow: Blow) -> bool:
        try:
            redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=2).flushall()
        except redis.RedisError:
            return False
        return True

    def _fill_the_disk(self, blow: Blow) -> bool:
        disk.fill(self.world.embedded.home)
        self._after(blow.seconds, lambda: disk.empty(self.world.embedded.home))
        return True

    # Connections.

    def _cut(self, blow: Blow) -> bool:
        gate = self.world.gates[blow.aim]
        had = bool(gate.writers)
        self.world.gates.tell(gate.cut)
        return had

    def _shut(self, blow: Blow) -> bool:
        gate = self.world.gates[blow.aim]
        self.world.gates.tell(gate.shut, True)
        self._after(blow.seconds, lambda: self.world.gates.tell(gate.shut, False))
        return True

    def _delay(self, blow: Blow) -> bool:
        gate = self.world.gates[blow.aim]
        self.world.gates.tell(gate.delay, blow.amount)
        self._after(blow.seconds, lambda: self.world.gates.tell(gate.delay, 0.0))
        return True

    def _truncate(self, blow: Blow) -> bool:
        self.world.gates.tell(self.world.gates[blow.aim].truncate, int(blow.amount))
        return True

    # Vendors.

    def _fault(self, blow: Blow, do: str, *, method: str | None = None, **order: object) -> bool:
        when = {"times": max(1, round(blow.amount)), **({"method": method} if method else {})}
        self.world.faults_of(blow.aim, do, when=when, **order)
        return True

    def _answer_late(self, blow: Blow) -> bool:
        return self._fault(blow, "delay", seconds=blow.seconds)

    def _lose_answers(self, blow: Blow) -> bool:
        return self._fault(blow, "lose_answer", method=WRITES)

    def _refuse(self, blow: Blow) -> bool:
        return self._fault(blow, "status", method=WRITES, status=400)

    def _break_down(self, blow: Blow) -> bool:
        return self._fault(blow, "status", status=503)

    def _throttle(self, blow: Blow) -> bool:
        return self._fault(blow, "rate_limit")

    def _lie(self, blow: Blow) -> bool:
        return self._fault(blow, "html_200")

    def _cut_answers_short(self, blow: Blow) -> bool:
        return self._fault(blow, "truncate")

    def _expire_tokens(self, blow: Blow) -> bool:
        self.world.faults_of(blow.aim, "expire_token", when={"times": 1})
        return True

    def _lose_webhooks(self, blow: Blow) -> bool:
        return self._fault(blow, "webhook_lose")

    def _repeat_webhooks(self, blow: Blow) -> bool:
        return self._fault(blow, "webhook_duplicate")

    def _mix_webhooks_up(self, blow: Blow) -> bool:
        return self._fault(blow, "webhook_reorder", seconds=blow.seconds)

    def _jump_the_vendors_clock(self, blow: Blow) -> bool:
        self.world.sandboxes.control("POST", "clock", {"offset_seconds": blow.amount})
        self._after(blow.seconds, lambda: self.world.sandboxes.control("POST", "clock", {"reset": True}))
        return True


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
