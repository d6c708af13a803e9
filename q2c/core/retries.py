"""How often what heals by itself is tried again, and how long between: one policy, its wording, its next wait. Pure."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

NEVER = "never"
_SPAN = r"[0-9]{1,4}(?:\.[0-9])?(?:s|m|h)"
# "12 times, 0.5s to 5m, jitter 20%": attempts that count, the least and the most wait, how far a wait may stray.
PATTERN = rf"{NEVER}|[1-9][0-9]{{0,2}} times, {_SPAN} to {_SPAN}, jitter [0-9]{{1,2}}%"
WORDS = "never, or attempts, least and most wait and jitter, such as 12 times, 0.5s to 5m, jitter 20%"
_READ = re.compile(r"(\d+) times, ([\d.]+)([smh]) to ([\d.]+)([smh]), jitter (\d+)%")
LEAST_SECONDS, MOST_SECONDS = 0.1, 86400.0
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Retry:
    """`attempts` that count, then a person must look; waits in seconds double from `least` to `most`; each strays by up
    to the share `jitter`. `says` is how a rule words it, `rule` its id (None: no rule says)."""

    attempts: int = 12
    least: float = 0.5
    most: float = 300.0
    jitter: float = 0.2
    says: str = "12 times, 0.5s to 5m, jitter 20%"
    rule: int | None = None

    def wait(self, count: int) -> float:
        """Seconds before the next attempt, after so many; without jitter."""
        return min(self.most, self.least * float(1 << min(count, 20)))

    def stray(self, seconds: float) -> float:
        """A wait with its jitter."""
        return seconds * random.uniform(1 - self.jitter, 1 + self.jitter)

    def stray_later(self, seconds: float) -> float:
        """A wait that somebody asked for, never shorter: many that were told the same don't come back at once."""
        return seconds * random.uniform(1, 1 + self.jitter)


DEFAULT = Retry()


def read_retry(text: str, rule: int | None = None) -> Retry:
    """A policy as a rule words it. Raises ValueError for other words, and for a least wait above the most."""
    if text == NEVER:
        return Retry(attempts=0, says=text, rule=rule)
    found = _READ.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} isn't {WORDS}")
    least, most = float(found[2]) * _SECONDS[found[3]], float(found[4]) * _SECONDS[found[5]]
    if least > most:
        raise ValueError("the least wait is above the most")
    if least < LEAST_SECONDS or most > MOST_SECONDS:
        raise ValueError("waits are from 0.1s to 24h")
    return Retry(int(found[1]), least, most, int(found[6]) / 100, text, rule)
