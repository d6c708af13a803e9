"""By what a connection is governed at this moment, where that isn't what its settings say: for its page, the lists of
systems and Prometheus."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors import registry
from connectors.calls import account_of
from connectors.models import Connection, ConnectionHealth
from connectors.slots import Lowered, lowered_of
from q2c.core import brokers


class AtOnce(NamedTuple):
    """How many calls may be under way, and what lowers that for now: its vendor refused some for being too many.
    While Redis is away (`is_divided`) each worker keeps to a part of them."""

    most: int  # as its settings, or its vendor's, say
    lowered: Lowered | None = None
    is_divided: bool = False

    @property
    def now(self) -> int:
        """How many it is at this moment."""
        return min(self.most, self.lowered.at_once) if self.lowered else self.most


class DayQuota(NamedTuple):
    """How many of a day's calls are used; `is_counted`: by us, since its vendor doesn't tell."""

    used: int
    allowed: int | None
    is_counted: bool


def at_once_of(connection: Connection) -> AtOnce:
    """How many calls to it may be under way; while Redis is away as its settings say, of which each worker has a
    part."""
    limits = registry.manifest(connection.vendor).limits
    account = account_of(connection.code, connection.base_url, is_by_address=limits.is_by_address)
    most = connection.at_once or limits.at_once
    lowered = lowered_of(account)
    is_lower = lowered is not None and lowered.at_once < most
    return AtOnce(most, lowered if is_lower else None, is_divided=not brokers.answered(settings.REDIS_URL))


def day_quota_of(connection: Connection, seen: ConnectionHealth | None) -> DayQuota | None:
    """What is known of a day's calls; None where the vendor doesn't tell and no ceiling is set."""
    if connection.vendor not in registry.vendors():
        return None
    if registry.manifest(connection.vendor).read_quota is not None:
        known = seen is not None and seen.quota_used is not None
        return DayQuota(seen.quota_used, seen.quota_limit, False) if known else None  # type: ignore[union-attr, arg-type]
    ceiling = registry.read_ceiling(connection.settings.get("per_day"))
    if ceiling is None:
        return None
    return DayQuota(_counted_today(seen), int(ceiling), True)


class DayQuotaMetrics(Collector):
    """What Prometheus is told of the day's calls: what the screens tell."""

    def collect(self) -> Iterator[Metric]:
        """The share that is used of each connection whose calls of a day are bounded."""
        used = GaugeMetricFamily(
            "q2c_quota_used_ratio",
            "Share of the day's calls that is used, as the vendor tells it or as counted here against the ceiling",
            labels=("connection",),
        )
        for connection in Connection.objects.select_related("health"):
            quota = day_quota_of(connection, getattr(connection, "health", None))
            if quota is not None and quota.allowed:
                used.add_metric([connection.code], quota.used / quota.allowed)
        yield used


def _counted_today(seen: ConnectionHealth | None) -> int:
    """What was stored with the last call, if that was on this UTC day."""
    if seen is None or seen.quota_used is None:
        return 0
    midnight = timezone.now().astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    called: list[Any] = [at for at in (seen.last_success_at, seen.last_failure_at) if at is not None]
    return seen.quota_used if called and max(called) >= midnight else 0
