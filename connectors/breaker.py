"""Opens when a connection fails too often, lets one probe through, closes when it succeeds; and remembers its health.

One per connection, and one per object type of it: what fails for invoices alone stops invoices. It counts in memory;
that it's open, who probes (one, over all processes) and that it's well again is shared (`probes`), asked only while
something is wrong. So is how many writes failed of processes that have seldom any: a night's only document is tried by
another process each time. `registry.save_health` stores what it saw. Counted are availability failures only (no
connection, no answer, 5xx): a refusal is an answer.

Where writes about an object type failed, only a write proves that it's well: a look-up that is answered neither ends
their row of failures nor closes it, and hands the probe on, mostly to the write that it was made for.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import redis

from connectors import probes
from connectors.resumes import Since
from q2c.core.problems import NeverSent

WINDOW_SECONDS = 60.0
CALLS_LEAST = 20
FAILED_SHARE = 0.5
FAILURES_IN_ROW = 5
OPEN_SECONDS_FIRST = 5.0
OPEN_SECONDS_MAX = 120.0


@dataclass
class Breaker:
    """State of one connection, or of one object type of it: closed, open until an instant, or half-open while its probe
    is out. Without `shared` it's this process's own."""

    connection: str
    clock: Callable[[], float] = time.monotonic
    object_type: str = ""
    shared: probes.Probes | None = None
    state: str = "closed"
    has_turned: bool = False  # it opened (again), or closed, since its state was stored
    open_until: float = 0.0
    failures_in_row: int = 0
    writes_failed_in_row: int = 0
    writes_answered: bool = False  # since others were last told so
    asks_a_write: bool = False  # writes failed, here or in another process: reads prove nothing
    last_success_at: dt.datetime | None = None
    last_failure_at: dt.datetime | None = None
    last_failure: str = ""
    latency_ms: int | None = None
    quota_used: int | None = None
    quota_limit: int | None = None
    is_changed: bool = False
    _resumed: Since | None = None
    _write_answered_at: float = -math.inf
    _write_failed_at: float = -math.inf
    _open_seconds: float = OPEN_SECONDS_FIRST
    _calls: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=2000))

    @property
    def name(self) -> str:
        """What it's called among processes."""
        return f"{self.connection}/{self.object_type}" if self.object_type else self.connection

    def let_through(self, *, probe_seconds: float = OPEN_SECONDS_MAX) -> bool:
        """Returns when a call may go out: whether it's the probe, which takes at most so long. Raises NeverSent, which
        isn't an attempt, while it's open or a probe is out."""
        if self.state == "closed":
            return False
        if self._resumed is not None and self._resumed.is_over():
            self._close()
            return False
        wait = self.open_until - self.clock()
        if wait <= 0:
            what, wait = self._ask(probe_seconds)
            if what == probes.WELL:
                self._close()
                return False
            if what == "probe":
                self.state, self.is_changed, self.has_turned = "half_open", True, True
                self.open_until = self.clock() + probe_seconds  # a probe that is lost doesn't lock us out for good
                return True
            self.open_until = self.clock() + wait
        about = f" about {self.object_type.replace('_', ' ')}s" if self.object_type else ""
        raise NeverSent(
            f"{self.connection} isn't answering{about}; calls wait until a probe gets through",
            wait_seconds=max(1.0, min(wait, self._open_seconds)),
            counts=False,
            connection=self.connection,
        )

    def note_success(self, latency_ms: int, *, is_write: bool = True) -> None:
        """A call was answered by the vendor, whatever it said."""
        self._calls.append((self.clock(), False))
        self.failures_in_row = 0
        if is_write:
            self.writes_failed_in_row, self.writes_answered, self._write_answered_at = 0, True, self.clock()
        self.last_success_at = dt.datetime.now(dt.UTC)
        self.latency_ms = latency_ms
        self.is_changed = True
        if self.state != "closed" and self.asks_a_write and not is_write:
            self.drop_probe()
        elif self.state != "closed":
            self._close()
            self._tell(lambda shared: shared.tell_well(self.name))

    def note_failure(self, why: str, *, is_write: bool = False) -> None:
        """A call failed for want of availability."""
        now = self.clock()
        self._calls.append((now, True))
        self.failures_in_row += 1
        self.writes_failed_in_row += is_write
        self.note_seen(why)
        failed_elsewhere = self._count_elsewhere(now) if is_write and self.state == "closed" else 0
        self._write_failed_at = now if is_write else self._write_failed_at
        if self.state == "half_open" or (self.state == "closed" and self._is_too_much(now, failed_elsewhere)):
            self.asks_a_write |= self.writes_failed_in_row > 0 and self._write_failed_at >= now - WINDOW_SECONDS
            self._open(now)
        elif self.state == "closed" and (seconds := self._open_elsewhere()):
            self.state, self.open_until, self.has_turned = "open", now + seconds, True
            self.asks_a_write |= is_write
            self._watch_resumes()

    def note_connected(self) -> None:
        """It could be reached, and what failed counts elsewhere: a probe of this one is over."""
        if self.state == "half_open":
            self._close()
            self._tell(lambda shared: shared.tell_well(self.name))

    def note_seen(self, why: str) -> None:
        """A failure that is shown, and counted elsewhere."""
        self.last_failure_at, self.last_failure, self.is_changed = dt.datetime.now(dt.UTC), why[:300], True

    def take_answered(self) -> bool:
        """Whether writes were answered since the last time this was asked, and lately: an answer of hours ago says
        nothing of what failed since."""
        was, self.writes_answered = self.writes_answered, False
        return was and self._write_answered_at > self.clock() - WINDOW_SECONDS

    def wait(self) -> dt.timedelta:
        """How long until a probe may go out."""
        return dt.timedelta(seconds=max(0.0, self.open_until - self.clock()))

    def drop_probe(self) -> None:
        """The probe never left the house for a reason of ours, or proved nothing: let another one try at once."""
        if self.state == "half_open":
            self.state, self.open_until = "open", self.clock()
            self._tell(lambda shared: shared.drop(self.name))

    def _is_too_much(self, now: float, failed_elsewhere: int) -> bool:
        if max(self.failures_in_row, self.writes_failed_in_row, failed_elsewhere) >= FAILURES_IN_ROW:
            return True
        while self._calls and self._calls[0][0] < now - WINDOW_SECONDS:
            self._calls.popleft()
        failed = sum(1 for _, is_failure in self._calls if is_failure)
        return len(self._calls) >= CALLS_LEAST and failed >= FAILED_SHARE * len(self._calls)

    def _open(self, now: float) -> None:
        if self.state == "half_open":
            self._open_seconds = min(self._open_seconds * 2, OPEN_SECONDS_MAX)
        self.state, self.open_until, self.has_turned = "open", now + self._open_seconds, True
        self._watch_resumes()
        self._tell(lambda shared: shared.tell_open(self.name, self._open_seconds, asks_a_write=self.asks_a_write))

    def _watch_resumes(self) -> None:
        if self.shared is not None:
            self._resumed = Since(self.connection, self.clock)
            self._resumed.begin()

    def _close(self) -> None:
        self._resumed = None
        self.state, self._open_seconds, self.failures_in_row, self.is_changed = "closed", OPEN_SECONDS_FIRST, 0, True
        self.has_turned, self.writes_failed_in_row, self.asks_a_write = True, 0, False
        self._calls.clear()

    def _ask(self, probe_seconds: float) -> tuple[str, float]:
        if self.shared is not None:
            try:
                what, wait, asks_a_write = self.shared.ask(self.name, lease_seconds=probe_seconds)
                self.asks_a_write |= asks_a_write
                return what, wait
            except (redis.RedisError, OSError):
                pass  # on our own
        return "probe", 0.0

    def _count_elsewhere(self, now: float) -> int:
        """How many writes failed in a row in all processes that had none answered of late."""
        if self.shared is None or self._write_answered_at > now - WINDOW_SECONDS:
            return 0  # answers between failures aren't told at once, so here our own row counts
        try:
            return self.shared.count_failed(self.name)
        except (redis.RedisError, OSError):
            return 0

    def _open_elsewhere(self) -> float:
        if self.shared is None:
            return 0.0
        try:
            return self.shared.open_seconds(self.name)
        except (redis.RedisError, OSError):
            return 0.0

    def _tell(self, tell: Callable[[probes.Probes], None]) -> None:
        if self.shared is None:
            return
        try:
            tell(self.shared)
        except (redis.RedisError, OSError):
            return  # others find out for themselves


_breakers: dict[tuple[str, str], Breaker] = {}
_probes: dict[int, probes.Probes] = {}  # by process: a forked child is another one


def breaker_of(connection: str, object_type: str = "") -> Breaker:
    """The process's breaker of a connection, or of one object type of it."""
    breaker = _breakers.get((connection, object_type))
    if breaker is None:
        shared = _probes.setdefault(os.getpid(), probes.Probes())
        breaker = Breaker(connection, object_type=object_type, shared=shared)
        _breakers[connection, object_type] = breaker
    return breaker


def breakers() -> list[Breaker]:
    """All breakers of this process."""
    return list(_breakers.values())


def is_away(connection: str, object_type: str) -> bool:
    """Whether a call about that object type, which has just failed, found or left its breaker open: nobody is answered.
    Others' breakers say nothing: one that no call has asked for days is still as it was left."""
    return any(breaker_of(connection, name).state != "closed" for name in {object_type, ""})


def tell_answered(breakers_: Iterable[Breaker]) -> None:
    """Tell other processes of which object types writes were answered here: their row of failures is over."""
    names = [one.name for one in breakers_ if one.take_answered() and one.object_type and one.shared is not None]
    if not names:
        return
    try:
        probes.Probes.tell_answered(names)
    except (redis.RedisError, OSError):
        return  # the next answered write is told


def forget_breakers() -> None:
    """Start afresh, over all processes: for tests."""
    _breakers.clear()
    probes.forget_all()
