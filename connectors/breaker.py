"""Opens when a connection fails too often, lets one probe through, closes when it succeeds; and remembers its health.

In memory, one per connection and process; `registry.save_health` stores what it saw. Counted are availability
failures only
(no connection, no answer, 5xx): a refusal is an answer.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from q2c.core.problems import NeverSent

WINDOW_SECONDS = 60.0
CALLS_LEAST = 20
FAILED_SHARE = 0.5
FAILURES_IN_ROW = 5
OPEN_SECONDS_FIRST = 5.0
OPEN_SECONDS_MAX = 120.0


@dataclass
class Breaker:
    """State of one connection: closed, open until an instant, or half-open while its probe is out."""

    connection: str
    clock: Callable[[], float] = time.monotonic
    state: str = "closed"
    open_until: float = 0.0
    failures_in_row: int = 0
    last_success_at: dt.datetime | None = None
    last_failure_at: dt.datetime | None = None
    last_failure: str = ""
    latency_ms: int | None = None
    quota_used: int | None = None
    quota_limit: int | None = None
    is_changed: bool = False
    _open_seconds: float = OPEN_SECONDS_FIRST
    _calls: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=2000))

    def let_through(self) -> None:
        """Returns when a call may go out. Raises NeverSent, which isn't an attempt, while it's open or a probe is
        out."""
        if self.state == "closed":
            return
        wait = self.open_until - self.clock()
        if self.state == "open" and wait <= 0:
            self.state, self.is_changed = "half_open", True
            self.open_until = self.clock() + OPEN_SECONDS_MAX  # a probe that is lost doesn't lock us out for good
            return
        if self.state == "half_open" and wait <= 0:
            self.open_until = self.clock() + OPEN_SECONDS_MAX
            return
        raise NeverSent(
            f"{self.connection} isn't answering; calls wait until a probe gets through",
            wait_seconds=max(1.0, min(wait, self._open_seconds)),
            counts=False,
            connection=self.connection,
        )

    def note_success(self, latency_ms: int) -> None:
        """A call was answered by the vendor, whatever it said."""
        self._calls.append((self.clock(), False))
        self.failures_in_row = 0
        self.last_success_at = dt.datetime.now(dt.UTC)
        self.latency_ms = latency_ms
        self.is_changed = True
        if self.state != "closed":
            self.state, self._open_seconds = "closed", OPEN_SECONDS_FIRST
            self._calls.clear()

    def note_failure(self, why: str) -> None:
        """A call failed for want of availability."""
        now = self.clock()
        self._calls.append((now, True))
        self.failures_in_row += 1
        self.last_failure_at = dt.datetime.now(dt.UTC)
        self.last_failure = why[:300]
        self.is_changed = True
        if self.state == "half_open" or (self.state == "closed" and self._is_too_much(now)):
            self._open(now)

    def wait(self) -> dt.timedelta:
        """How long until a probe may go out."""
        return dt.timedelta(seconds=max(0.0, self.open_until - self.clock()))

    def drop_probe(self) -> None:
        """The probe never left the house for a reason of ours: let another one try at once."""
        if self.state == "half_open":
            self.state, self.open_until = "open", self.clock()

    def _is_too_much(self, now: float) -> bool:
        if self.failures_in_row >= FAILURES_IN_ROW:
            return True
        while self._calls and self._calls[0][0] < now - WINDOW_SECONDS:
            self._calls.popleft()
        failed = sum(1 for _, is_failure in self._calls if is_failure)
        return len(self._calls) >= CALLS_LEAST and failed >= FAILED_SHARE * len(self._calls)

    def _open(self, now: float) -> None:
        if self.state == "half_open":
            self._open_seconds = min(self._open_seconds * 2, OPEN_SECONDS_MAX)
        self.state, self.open_until = "open", now + self._open_seconds


_breakers: dict[str, Breaker] = {}


def breaker_of(connection: str) -> Breaker:
    """The process's breaker of a connection."""
    breaker = _breakers.get(connection)
    if breaker is None:
        breaker = _breakers[connection] = Breaker(connection)
    return breaker


def breakers() -> list[Breaker]:
    """All breakers of this process."""
    return list(_breakers.values())


def forget_breakers() -> None:
    """Start afresh: for tests, and after a person resumed a connection."""
    _breakers.clear()
