"""What Prometheus may ask: counters and durations of all processes, and what PostgreSQL says at the time of asking.

Counters of several processes of one host are added up when PROMETHEUS_MULTIPROC_DIR names a folder, which the launcher
empties at each start. What is counted of documents, calls and cases (`q2c.core.stats`) is added up in PostgreSQL
instead, over all processes and hosts: every instance tells the same, so a query takes the largest, not the sum. Gauges
come from PostgreSQL too: those of a dead process would stay for good. Whether the broker answers, each instance tells
as it sees it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from itertools import product

from django.conf import settings
from django.db import connection
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    REGISTRY,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from q2c.core import brokers
from q2c.core.buckets import BOUNDS

REQUESTS = Counter("q2c_http_requests", "Requests answered", ["view", "method", "status"])
REQUEST_SECONDS = Histogram(
    "q2c_http_request_seconds", "Time to answer", ["view"], buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def count_request(view: str, method: str | None, status: int, seconds: float) -> None:
    """Count an answer and its time; a method that a stranger made up has no series of its own."""
    REQUESTS.labels(view, method if method in METHODS else "other", str(status)).inc()
    REQUEST_SECONDS.labels(view).observe(seconds)


# The oldest entry of the audit chain that no anchor guards (e), beside how far anchors are known to reach (n). Nothing
# before somebody has looked for the first time.
UNGUARDED = (
    "FROM (SELECT count, at, about FROM core_statnow WHERE measure = 'anchored' ORDER BY count DESC LIMIT 1) n"
    " CROSS JOIN LATERAL (SELECT at FROM core_auditentry WHERE sequence > n.count ORDER BY sequence LIMIT 1) e"
)

# Each statement reads a small table or a partial index: asking costs the same whatever has been carried before.
GAUGES: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "q2c_work_items",
        "Work items by flow",
        ("flow",),
        "SELECT flow, count(*) FROM transactions_workitem GROUP BY flow",
    ),
    (
        "q2c_work_oldest_seconds",
        "Age of the oldest due work item by flow",
        ("flow",),
        "SELECT flow, extract(epoch FROM now() - min(available_at)) FROM transactions_workitem"
        " WHERE available_at < now() GROUP BY flow",
    ),
    (
        "q2c_open_transactions",
        "Transactions that aren't at their end, by flow and state",
        ("flow", "state"),
        "SELECT flow, state, count(*) FROM transactions_businesstransaction"
        " WHERE state NOT IN ('completed', 'cancelled') GROUP BY flow, state",
    ),
    (
        "q2c_oldest_held_seconds",
        "Age of the oldest held transaction",
        (),
        "SELECT coalesce(extract(epoch FROM now() - min(state_at)), 0) FROM transactions_businesstransaction"
        " WHERE state = 'held'",
    ),
    (
        "q2c_inbox_waiting",
        "Events received and not yet translated",
        (),
        "SELECT count(*) FROM inbox_inboundkey WHERE verdict = 'received'",
    ),
    (
        "q2c_inbox_oldest_seconds",
        "Age of the oldest event that isn't translated yet, back-fills apart",
        (),
        "SELECT coalesce(extract(epoch FROM now() - min(received_at)), 0) FROM inbox_inboundkey"
        " WHERE verdict = 'received' AND NOT is_backfill",
    ),
    (
        "q2c_living",
        "Processes with a lease in force, by part",
        ("part",),
        "SELECT split_part(name, '@', 1), count(*) FROM core_lease WHERE until > now() GROUP BY 1",
    ),
    (
        "q2c_paused",
        "Pauses of work in force",
        (),
        "SELECT count(*) FROM transactions_pause WHERE resumed_at IS NULL",
    ),
    (
        "q2c_connection_paused",
        "1 where a connection is paused",
        ("connection",),
        "SELECT code, (state = 'paused')::int FROM connectors_connection",
    ),
    (
        "q2c_breaker_open",
        "1 where calls have stopped, for the whole connection (object is empty) or for one object type",
        ("connection", "object"),
        "SELECT c.code, '', (h.breaker <> 'closed')::int FROM connectors_connectionhealth h"
        " JOIN connectors_connection c ON c.id = h.connection_id"
        " UNION ALL SELECT c.code, o, 1 FROM connectors_connectionhealth h"
        " JOIN connectors_connection c ON c.id = h.connection_id CROSS JOIN unnest(h.stopped) AS o",
    ),
    (
        "q2c_credentials_expire_seconds",
        "Until a connection's credentials expire, where that is known",
        ("connection",),
        "SELECT code, extract(epoch FROM secrets_expire_at - now()) FROM connectors_connection"
        " WHERE secrets_expire_at IS NOT NULL",
    ),
    (
        "q2c_audit_unanchored_seconds",
        "Since when the oldest entry of the audit chain that isn't anchored waits for it",
        (),
        f"SELECT greatest(0, (SELECT extract(epoch FROM now() - greatest(n.at, e.at)) {UNGUARDED}))",
    ),
    (
        "q2c_figures_behind_seconds",
        "Since when what was counted waits to be added up",
        (),
        "SELECT coalesce(extract(epoch FROM now() - (SELECT at FROM core_statdelta ORDER BY id LIMIT 1)), 0)",
    ),
)

STRAYS = "q2c_default_partition_used"

# What is counted of documents, calls and cases: name, text, labels, and the statement that gives label values and sum.
_TOTALS = "FROM core_stattotal WHERE measure"
COUNTERS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "q2c_documents",
        "Documents by flow, target and what became of them: begun, completed, held, failed (an attempt that is made"
        " again), unknown, replayed",
        ("flow", "connection", "outcome"),
        f"SELECT flow, connection_code, measure, sum(count) {_TOTALS} IN"
        " ('begun', 'completed', 'held', 'failed', 'unknown', 'replayed') GROUP BY 1, 2, 3",
    ),
    (
        "q2c_documents_held",
        "Documents held, by flow and why",
        ("flow", "category"),
        f"SELECT flow, about, sum(count) {_TOTALS} = 'held' GROUP BY 1, 2",
    ),
    (
        "q2c_calls",
        "Calls by connection, what they were about, and how they ended: answered, refused, throttled, failed",
        ("connection", "object", "outcome"),
        "SELECT connection_code, about, substr(measure, 6), sum(count) FROM core_stattotal"
        " WHERE starts_with(measure, 'call_') GROUP BY 1, 2, 3",
    ),
    (
        "q2c_cases_closed",
        "Cases that were closed, in_time or late",
        ("promise",),
        f"SELECT about, sum(count) {_TOTALS} = 'resolved' GROUP BY 1",
    ),
)
# The same of durations: the statement gives label values, bucket, count and seconds.
HISTOGRAMS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "q2c_document_seconds",
        "From begun or reposted to completed",
        ("flow", "connection"),
        f"SELECT flow, connection_code, bucket, sum(count), sum(millis) / 1000 {_TOTALS} = 'completed'"
        " GROUP BY 1, 2, 3",
    ),
    (
        "q2c_call_seconds",
        "How long calls took that were answered",
        ("connection",),
        f"SELECT connection_code, bucket, sum(count), sum(millis) / 1000 {_TOTALS}"
        " IN ('call_answered', 'call_refused') GROUP BY 1, 2",
    ),
)


# Told as 0 where nothing is there yet: whoever scales by a backlog must see that it's over, and a rate of what has
# never happened before begins at a first sample of 0.
_ALL_FLOWS = ("q2c_work_items", "q2c_work_oldest_seconds")
_ENDS = ("completed", "held")


class FromPostgres(Collector):
    """Gauges and sums read at scrape time; `flows` are those that there are, whether any work of them is or not."""

    def __init__(self, flows: Collection[str] = ()) -> None:
        self.flows = flows

    def collect(self) -> Iterator[Metric]:
        """One family per statement of GAUGES, COUNTERS and HISTOGRAMS, and the default partitions in use."""
        with connection.cursor() as cursor:
            for name, text, labels, statement in GAUGES:
                cursor.execute(statement)
                noughts = [(flow,) for flow in self.flows] if name in _ALL_FLOWS else []
                yield _family(name, text, labels, _with(noughts, cursor.fetchall()))
            cursor.execute("SELECT code FROM connectors_connection")
            places = ["", *(code for (code,) in cursor.fetchall())]
            for name, text, labels, statement in COUNTERS:
                cursor.execute(statement)
                never = product(self.flows, places, _ENDS) if name == "q2c_documents" else ()
                counter = CounterMetricFamily(name, text, labels=labels)
                for *values, number in _with(never, cursor.fetchall()):
                    counter.add_metric([str(v) for v in values], float(number))
                yield counter
            for name, text, labels, statement in HISTOGRAMS:
                cursor.execute(statement)
                yield _histogram(name, text, labels, cursor.fetchall())
            yield _family(STRAYS, "1 where rows lie outside every month", ("table",), _strays(cursor))


class OfBroker(Collector):
    """Whether the broker answers this process."""

    def collect(self) -> Iterator[Metric]:
        """One gauge."""
        is_up = brokers.answered(settings.REDIS_URL)
        yield _family("q2c_broker_up", "1 where Valkey or Redis answers this instance", (), [(int(is_up),)])


def scrape(*more: Collector, flows: Collection[str] = ()) -> bytes:
    """The answer to Prometheus, of all processes of this host; `more` is what rooms above have to tell, `flows` those
    of the catalogue."""
    counters: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counters = CollectorRegistry()
        MultiProcessCollector(counters)
    now = CollectorRegistry()
    for collector in (FromPostgres(flows), OfBroker(), *more):
        now.register(collector)
    return generate_latest(counters) + generate_latest(now)


def _with(noughts: Iterable[tuple[str, ...]], rows: list[tuple]) -> list[tuple]:
    """Rows of label values and a number, with 0 for those of these labels that have none."""
    found = {row[:-1] for row in rows}
    return [*rows, *((*labels, 0) for labels in noughts if labels not in found)]


def _family(name: str, text: str, labels: tuple[str, ...], rows: list) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, number in rows:
        family.add_metric([str(v) for v in values], float(number))
    return family


def _histogram(name: str, text: str, labels: tuple[str, ...], rows: list) -> HistogramMetricFamily:
    """Buckets as Prometheus counts them: each holds those below it."""
    found: dict[tuple[str, ...], dict[int, int]] = {}
    sums: dict[tuple[str, ...], float] = {}
    for *values, bucket, count, seconds in rows:
        key = tuple(str(v) for v in values)
        found.setdefault(key, {})[bucket] = int(count)
        sums[key] = sums.get(key, 0.0) + float(seconds)
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, counts in found.items():
        below, buckets = 0, []
        for number, bound in enumerate((*BOUNDS, None), start=1):
            below += counts.get(number, 0)
            buckets.append(("+Inf" if bound is None else str(float(bound)), float(below)))
        family.add_metric(key, buckets, sum_value=sums[key])
    return family


def _strays(cursor) -> list[tuple[str, int]]:
    """Default partitions that aren't empty (a month was made too late), with 1 each."""
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE '%\\_default'"
        " AND pg_get_expr(relpartbound, oid) = 'DEFAULT' AND pg_relation_size(oid) > 0 ORDER BY relname"
    )
    return [(row[0], 1) for row in cursor.fetchall()]
