"""A connection's health in one word, and what people do to it: test, pause, resume, propose a change."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from django.utils import timezone

from connectors.models import Connection, ConnectionHealth

SLOW_MS = 4000
DOWN_AFTER = 3


class Health(NamedTuple):
    """One word (a state of `core.states`) and the sentence beside it."""

    state: str
    says: str


def health_of(connection: Connection) -> Health:
    """How a connection is doing, from what the telephone last saw."""
    if connection.state == Connection.State.PAUSED:
        return Health("paused", connection.paused_reason)
    try:
        seen = connection.health
    except ConnectionHealth.DoesNotExist:
        return Health("untried", "No call has been made")
    if seen.breaker == "open":
        return Health("down", seen.last_failure or "Calls stopped after repeated failures")
    failed_last = seen.last_failure_at and (not seen.last_success_at or seen.last_failure_at > seen.last_success_at)
    if failed_last and seen.failures_in_row >= DOWN_AFTER:
        return Health("down", seen.last_failure)
    if not seen.last_success_at:
        return Health("untried", seen.last_failure or "No call has been answered")
    if seen.latency_ms and seen.latency_ms > SLOW_MS:
        return Health("slow", f"Answers take {seen.latency_ms / 1000:.1f} s")
    return Health("healthy", "")


def days_to_expiry(connection: Connection) -> int | None:
    """Days until the credentials expire, or None when they don't or it isn't known."""
    if connection.secrets_expire_at is None:
        return None
    return (connection.secrets_expire_at - timezone.now()) // dt.timedelta(days=1)
