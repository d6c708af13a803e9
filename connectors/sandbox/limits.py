"""Documented rate and concurrency limits, counted in real time (the sandbox clock may be moved)."""

import time
from collections.abc import Hashable


class RateLimit:
    """At most `count` requests per `seconds` for each key: a token bucket that starts full."""

    def __init__(self, count: float, seconds: float = 1.0):
        self.count = count
        self.rate = count / seconds
        self.buckets: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable = None) -> bool:
        """True when one more request is within the limit."""
        now = time.monotonic()
        tokens, before = self.buckets.get(key, (self.count, now))
        tokens = min(self.count, tokens + (now - before) * self.rate)
        if tokens < 1:
            self.buckets[key] = (tokens, now)
            return False
        self.buckets[key] = (tokens - 1, now)
        return True


class Concurrency:
    """At most `count` requests at once for each key."""

    def __init__(self, count: int):
        self.count = count
        self.running: dict[Hashable, int] = {}

    def enter(self, key: Hashable = None) -> bool:
        """True when one more may run; then leave() must follow."""
        running = self.running.get(key, 0)
        if running >= self.count:
            return False
        self.running[key] = running + 1
        return True

    def leave(self, key: Hashable = None) -> None:
        """The counterpart of a successful enter()."""
        self.running[key] -= 1
