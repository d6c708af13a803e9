"""How the service levels stand: counted from the added-up figures, in three statements whatever was carried.

Of a timed level what is still open counts too, as not good from the moment in which it became late: what waits behind
an outage uses the budget up while it waits, not when it's over. It's found by its age when beat last looked; once it's
completed it counts as what it then is, so each counts once at any time.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from django.db.models import QuerySet, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exceptions.closing import IN_TIME, RESOLVED
from mappings import levels as rules
from q2c.core.buckets import AGES, BOUNDS
from q2c.core.models import StatDay, StatHour, StatNow
from q2c.core.service_levels import DAYS, LEVELS, Budget, Level, Seen, Target
from q2c.flows.application_to_erp import APPLICATION_TO_ERP
from q2c.flows.catalog import FLOWS, TELLING
from q2c.flows.credit_memo_to_erp import CREDIT_MEMO_TO_ERP
from q2c.flows.invoice_to_erp import INVOICE_TO_ERP
from q2c.flows.order_to_subscription import ORDER_TO_SUBSCRIPTION
from q2c.flows.payment_to_erp import PAYMENT_TO_ERP
from q2c.transactions.counting import COMPLETED, HELD, LEAD, LEAD_AGE, REPLAY_AGE, REPLAYED

MEASURES = (COMPLETED, HELD, LEAD, RESOLVED)
_CARRYING = frozenset(flow.code for flow in FLOWS) - TELLING
_Row = tuple[str, str, str, int]  # measure, flow, about, bucket

# Which counted rows a level is about. Of a timed one the target's time says which are good, of others `_GOOD`.
_IS_OF: dict[str, Callable[[_Row], bool]] = {
    "success_rate": lambda row: row[0] in (COMPLETED, HELD) and row[1] in _CARRYING,
    "replay_time": lambda row: row[0] == COMPLETED and row[2] == REPLAYED,
    "order_activation": lambda row: row[0] == LEAD and row[1] == ORDER_TO_SUBSCRIPTION.code,
    "invoice_posting": lambda row: row[0] == LEAD and row[1] in (INVOICE_TO_ERP.code, CREDIT_MEMO_TO_ERP.code),
    "payment_propagation": lambda row: row[0] == LEAD and row[1] in (PAYMENT_TO_ERP.code, APPLICATION_TO_ERP.code),
    "exception_resolution": lambda row: row[0] == RESOLVED,
}
_GOOD: dict[str, Callable[[_Row], bool]] = {
    "success_rate": lambda row: row[0] == COMPLETED,
    "exception_resolution": lambda row: row[2] == IN_TIME,
}


# Of what is open, which counts for a timed level: measure and flows (None: every one).
_OPEN_IS_OF: dict[str, tuple[str, frozenset[str] | None]] = {
    "replay_time": (REPLAY_AGE, None),
    "order_activation": (LEAD_AGE, frozenset({ORDER_TO_SUBSCRIPTION.code})),
    "invoice_posting": (LEAD_AGE, frozenset({INVOICE_TO_ERP.code, CREDIT_MEMO_TO_ERP.code})),
    "payment_propagation": (LEAD_AGE, frozenset({PAYMENT_TO_ERP.code, APPLICATION_TO_ERP.code})),
}
_Age = tuple[str, str, int]  # measure, flow, bucket of `AGES`


@dataclass(frozen=True)
class Standing:
    """One level with its target and its budget."""

    level: Level
    budget: Budget

    @property
    def target(self) -> Target:
        """What was promised."""
        return self.budget.target


def standings(entities: Collection[str] | None = None) -> list[Standing]:
    """Every level over 30 days, of these entities or (None) of all. The last hour is the running one and the one
    before, so that an hour that has just begun doesn't hide what burns."""
    now = timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    month: dict[_Row, int] = defaultdict(int)
    days = _of(StatDay.objects.filter(measure__in=MEASURES, day__gt=now.date() - dt.timedelta(days=DAYS)), entities)
    for measure, flow, about, bucket, count in _grouped(days):
        month[measure, flow, about, bucket] += count
    spans = {back: defaultdict(int) for back in (24, 6, 1)}  # type: dict[int, dict[_Row, int]]
    hours = _of(StatHour.objects.filter(measure__in=MEASURES, hour__gte=hour - dt.timedelta(hours=24)), entities)
    for measure, flow, about, bucket, count, at in _grouped(hours, "hour"):
        for back, found in spans.items():
            if at >= hour - dt.timedelta(hours=back):
                found[measure, flow, about, bucket] += count
    open_now = _open_now(entities)
    targets = rules.targets()
    since = [now - dt.timedelta(days=DAYS), *(hour - dt.timedelta(hours=back) for back in (24, 6, 1))]
    standing = []
    for level in LEVELS:
        target = targets[level.code]
        counted = [_seen(level, target, rows) for rows in (month, spans[24], spans[6], spans[1])]
        late = [_late(level, target, open_now, now - start) for start in since]
        seen = (Seen(one.total + n, one.good) for one, n in zip(counted, late, strict=True))
        standing.append(Standing(level, Budget(target, *seen)))
    return standing


class LevelMetrics(Collector):
    """What Prometheus is told of the service levels of all entities."""

    def collect(self) -> Iterator[Metric]:
        """The share kept over 30 days, how much of the budget is burnt, how fast it burns, and whether that is fast."""
        kept = GaugeMetricFamily("q2c_service_level", "Share that was as promised, over 30 days", labels=("level",))
        burnt = GaugeMetricFamily("q2c_error_budget_burnt_ratio", "Share of the budget used up", labels=("level",))
        rate = GaugeMetricFamily(
            "q2c_error_budget_burn_rate", "How many times too fast the budget burns", labels=("level", "span")
        )
        fast = GaugeMetricFamily(
            "q2c_error_budget_burns_fast",
            "1 where somebody should look now: as the portal's own case",
            labels=("level",),
        )
        for standing in standings():
            code, budget = standing.level.code, standing.budget
            if budget.month.share is not None and budget.burnt is not None:
                kept.add_metric([code], budget.month.share)
                burnt.add_metric([code], budget.burnt)
            for span, seen in (("1h", budget.hour), ("6h", budget.six_hours), ("1d", budget.day)):
                rate.add_metric([code, span], budget.rate(seen))
            fast.add_metric([code], float(budget.burns_fast))
        yield from (kept, burnt, rate, fast)


def _of(rows: QuerySet, entities: Collection[str] | None) -> QuerySet:
    return rows if entities is None else rows.filter(legal_entity_code__in=sorted(entities))


def _grouped(rows: QuerySet, *more: str) -> QuerySet:
    found = rows.order_by().values_list("measure", "flow", "about", "bucket").annotate(n=Sum("count"))
    return found.values_list("measure", "flow", "about", "bucket", "n", *more)


def _open_now(entities: Collection[str] | None) -> dict[_Age, int]:
    rows = _of(StatNow.objects.filter(measure__in=(LEAD_AGE, REPLAY_AGE)), entities).order_by()
    sums = rows.values_list("measure", "flow", "about").annotate(n=Sum("count"))
    return {(measure, flow, int(about)): n for measure, flow, about, n in sums}


def _late(level: Level, target: Target, open_now: dict[_Age, int], span: dt.timedelta) -> int:
    """How many that are open became late in a span that lasts until now: of what became so at its edge, all of that
    hour."""
    if level.code not in _OPEN_IS_OF or target.seconds is None:
        return 0
    measure, flows = _OPEN_IS_OF[level.code]
    edge = target.seconds + span.total_seconds()
    return sum(
        n for (name, flow, bucket), n in open_now.items()
        if name == measure and (flows is None or flow in flows) and target.seconds <= AGES[bucket - 1] < edge
    )  # fmt: skip


def _seen(level: Level, target: Target, rows: dict[_Row, int]) -> Seen:
    is_of, is_good = _IS_OF[level.code], _GOOD.get(level.code)
    last = BOUNDS.index(target.seconds) + 1 if target.seconds else 0
    total = good = 0
    for row, count in rows.items():
        if is_of(row):
            total += count
            if is_good(row) if is_good is not None else 0 < row[3] <= last:
                good += count
    return Seen(total, good)
