"""How the calls of each connection go, from what was counted of them: whatever their number, a few rows are read."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field

from django.db.models import Sum
from django.utils import timezone

from connectors.recorder import CALL_ANSWERED, CALL_FAILED, CALL_REFUSED, CALL_THROTTLED, CALLS
from q2c.core import stats
from q2c.core.models import StatHour

HOURS = 24


@dataclass
class Calls(stats.Timed):
    """The calls of a connection: how many ended how (`recorder.CALLS`), and how long those took that were answered."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Those that the system failed: no answer, or one of its own failure."""
        return self.counts[CALL_FAILED]

    @property
    def refused(self) -> int:
        """Those that it refused: an answer as well."""
        return self.counts[CALL_REFUSED]

    @property
    def throttled(self) -> int:
        """Those that it refused for coming too fast."""
        return self.counts[CALL_THROTTLED]

    @property
    def share(self) -> str:
        """The share that was answered, in percent: rounded down, so that 100 % means all."""
        return stats.share_words(self.total - self.failed, self.total)


def calls_of_connections(*, hours: int = HOURS) -> dict[str, Calls]:
    """The calls of these last hours (the running one and as many before it) by the connection's code; one without any
    isn't in it. One statement."""
    since = timezone.now() - dt.timedelta(hours=hours)
    rows = StatHour.objects.filter(measure__in=CALLS, hour__gte=since).order_by()
    found: dict[str, Calls] = defaultdict(Calls)
    for code, measure, bucket, count in rows.values_list("connection_code", "measure", "bucket").annotate(Sum("count")):
        calls = found[code]
        calls.counts[measure] += count
        if measure in (CALL_ANSWERED, CALL_REFUSED):
            calls.buckets[bucket] += count
    return dict(found)
