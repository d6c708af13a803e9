"""What Prometheus may ask: counters and durations of all processes, and what PostgreSQL says at the time of asking.

Counters of several processes of one host are added up when PROMETHEUS_MULTIPROC_DIR names a folder, which the launcher
empties at each start. Gauges come from PostgreSQL only: those of a dead process would stay for good.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from django.db import connection
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

REQUESTS = Counter("q2c_http_requests", "Requests answered", ["view", "method", "status"])
REQUEST_SECONDS = Histogram(
    "q2c_http_request_seconds", "Time to answer", ["view"], buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
)

# Each statement reads a small table or a partial index: asking costs the same whatever has been carried before.
GAUGES = (
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
        "q2c_living",
        "Processes with a lease in force, by part",
        ("part",),
        "SELECT split_part(name, '@', 1), count(*) FROM core_lease WHERE until > now() GROUP BY 1",
    ),
)


class FromPostgres(Collector):
    """Gauges read at scrape time."""

    def collect(self) -> Iterator[Metric]:
        """One family per statement of GAUGES, and the default partitions in use."""
        with connection.cursor() as cursor:
            for name, text, labels, statement in GAUGES:
                cursor.execute(statement)
                yield _family(name, text, labels, cursor.fetchall())
            yield _family(
                "q2c_default_partition_used", "1 where rows lie outside every month", ("table",), _strays(cursor)
            )


def scrape() -> bytes:
    """The answer to Prometheus, of all processes of this host."""
    counters: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counters = CollectorRegistry()
        MultiProcessCollector(counters)
    now = CollectorRegistry()
    now.register(FromPostgres())
    return generate_latest(counters) + generate_latest(now)


def _family(name: str, text: str, labels: tuple[str, ...], rows: list) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for *values, number in rows:
        family.add_metric([str(v) for v in values], float(number))
    return family


def _strays(cursor) -> list[tuple[str, int]]:
    """Default partitions that aren't empty (a month was made too late), with 1 each."""
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE '%\\_default'"
        " AND pg_get_expr(relpartbound, oid) = 'DEFAULT' AND pg_relation_size(oid) > 0 ORDER BY relname"
    )
    return [(row[0], 1) for row in cursor.fetchall()]
