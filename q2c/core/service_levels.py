"""What operators promise over 30 days, and how much of the allowed failure is used up. Pure.

A level's target is a rule (mapping kind `service_level`) worded "99.5%" or "95% within 15m". What may fail is its error
budget: at 99.5 % of 10,000 documents it's 50. How fast it burns is its rate: 1 uses it up in exactly 30 days.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DAYS = 30
# Times that a target may name, in seconds: bounds of the histograms (`stats.BOUNDS`), so shares are exact.
SPANS = {
    "1s": 1, "5s": 5, "10s": 10, "30s": 30, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "8h": 28800,
    "24h": 86400, "72h": 259200,
}  # fmt: skip
_SHARE = r"[5-9][0-9](\.[0-9]{1,2})?%"
SHARE, TIMED = _SHARE, rf"{_SHARE} within ({'|'.join(SPANS)})"
SHARE_SAYS = "a percentage from 50 to 99.99, such as 99.5%"
TIMED_SAYS = f"a percentage within a time, such as 95% within 15m; times are {', '.join(SPANS)}"
_READ = re.compile(r"([0-9.]+)%(?: within (\w+))?")

# Burning fast: so many times the rate that uses the budget up in 30 days, over the last hour and over the last six.
FAST_HOUR, FAST_SIX_HOURS = 14.4, 6.0
ALL_BUT = 0.9  # of a low target no rate is as high as these (all that fails is 2 at 50 %): then so much of the highest
FEW = 5  # failures, below which nobody is woken


@dataclass(frozen=True)
class Level:
    """One service level: what it counts in words, its target where no rule says, and whether that names a time."""

    code: str
    title: str
    says: str
    default: str

    @property
    def is_timed(self) -> bool:
        """Whether its target names a time."""
        return "within" in self.default


LEVELS = (
    Level("success_rate", "Success rate", "Documents that came to their target without being held", "98%"),
    Level("replay_time", "Replay time", "Reposted documents that completed, since the repost", "95% within 15m"),
    Level("order_activation", "Order activation",
          "Orders that became active subscriptions, since they were received", "95% within 1h"),
    Level("invoice_posting", "Invoice posting",
          "Invoices and credit memos in the ERP's ledger, since they were received", "95% within 15m"),
    Level("payment_propagation", "Payment propagation",
          "Payments and their applications in the ERP, since they were received", "95% within 1h"),
    Level("exception_resolution", "Exception resolution", "Cases that were closed before their promised time", "90%"),
)  # fmt: skip
BY_CODE = {level.code: level for level in LEVELS}


@dataclass(frozen=True)
class Target:
    """The share that must be good (0.95), and within how many seconds, where a time is named."""

    share: float
    seconds: int | None
    says: str


def read_target(text: str) -> Target:
    """A target as a rule words it. Raises ValueError for other words."""
    found = _READ.fullmatch(text)
    if found is None or (found[2] and found[2] not in SPANS):
        raise ValueError(f"{text} isn't {SHARE_SAYS}, nor {TIMED_SAYS}")
    share = float(found[1]) / 100
    if not 0 < share < 1:
        raise ValueError("a target is below 100 %: nothing may ever fail otherwise")
    return Target(share, SPANS[found[2]] if found[2] else None, text)


@dataclass(frozen=True)
class Seen:
    """How many there were of something, and how many of them were good."""

    total: int = 0
    good: int = 0

    @property
    def bad(self) -> int:
        """Those that weren't."""
        return self.total - self.good

    @property
    def share(self) -> float | None:
        """The share of the good, or None where there were none."""
        return self.good / self.total if self.total else None


@dataclass(frozen=True)
class Budget:
    """A level over its 30 days: what was seen in them, in the last 24 hours, six hours and hour."""

    target: Target
    month: Seen
    day: Seen
    six_hours: Seen
    hour: Seen

    @property
    def allowed(self) -> float:
        """How many may fail of as many as there were."""
        return (1 - self.target.share) * self.month.total

    @property
    def burnt(self) -> float | None:
        """The used share of the budget (1.0: all of it), or None where nothing was seen."""
        return self.month.bad / self.allowed if self.month.total else None

    @property
    def days_left(self) -> float | None:
        """In how many days it's used up at the rate of the last 24 hours; 0 when it is, None when nothing failed."""
        if not self.month.total:
            return None
        if self.month.bad >= self.allowed:
            return 0.0
        return (self.allowed - self.month.bad) / self.day.bad if self.day.bad else None

    def rate(self, seen: Seen) -> float:
        """How many times as fast as in 30 days the budget is used up, as in this span."""
        return seen.bad / seen.total / (1 - self.target.share) if seen.total else 0.0

    @property
    def burns_fast(self) -> bool:
        """Whether somebody should look now: fast in the last hour, or over six hours and in the last one still."""
        most = ALL_BUT / (1 - self.target.share)
        if self.hour.bad >= FEW and self.rate(self.hour) >= min(FAST_HOUR, most):
            return True
        fast = min(FAST_SIX_HOURS, most)
        return self.six_hours.bad >= FEW and self.rate(self.six_hours) >= fast and self.rate(self.hour) >= fast

    @property
    def is_calm(self) -> bool:
        """Whether a warning is over: in the last hour no faster than the budget bears."""
        return self.rate(self.hour) <= 1

    @property
    def state(self) -> str:
        """A state of `core.states`: quiet, kept, burning, spent."""
        if not self.month.total:
            return "quiet"
        if self.burns_fast:
            return "burning"
        return "spent" if self.month.bad > self.allowed else "kept"
