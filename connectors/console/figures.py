"""What the connections' screen counts: how many calls are answered and how fast, and what waits for each system."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import Count, Exists, Min, OuterRef
from django.utils import timezone

from connectors.models import Connection
from exceptions.models import ExceptionCase
from exceptions.tallies import cases_visible_to
from q2c.core.ids import uuid7_bound
from q2c.transactions.models import Dependency
from q2c.transactions.selectors import OPEN, transactions_visible_to

CALLS_MAX = 20_000  # the newest calls that are looked at: the cost of the screen doesn't grow with the day's traffic
HOURS = 24

# Answered is what the breaker means by it: any answer but a failure of the system itself; a refusal is one.
_CALLS = """
    SELECT c.connection_id, count(*), count(*) FILTER (WHERE c.status < 500),
           percentile_disc(0.95) WITHIN GROUP (ORDER BY c.took_ms) FILTER (WHERE c.status < 500)
      FROM (SELECT connection_id, status, took_ms FROM connectors_exchange
             WHERE transaction_id >= %s ORDER BY transaction_id DESC LIMIT %s) c
     GROUP BY c.connection_id
"""


class Calls(NamedTuple):
    """The newest calls of a connection: how many, the share answered in percent, and 95 % answered within so long."""

    total: int
    answered: float
    within_ms: int | None

    @property
    def share(self) -> str:
        """The share as text: rounded down, so that 100 % means all."""
        return f"{int(self.answered * 10) / 10:.1f}"

    @property
    def within(self) -> str:
        """The duration in seconds as text."""
        return "" if self.within_ms is None else f"{self.within_ms / 1000:.1f}"


class Waiting(NamedTuple):
    """What is on its way to a connection: how many documents that the person may see, the oldest since when."""

    total: int
    since: dt.datetime | None


NOBODY = Waiting(0, None)


def newest_calls() -> tuple[dict[int, Calls], bool]:
    """The newest calls of each connection within a day by its pk, and whether the day had more than are looked at."""
    since = timezone.now() - dt.timedelta(hours=HOURS)
    with database.cursor() as cursor:
        cursor.execute(_CALLS, [uuid7_bound(int(since.timestamp() * 1000)), CALLS_MAX])
        rows = cursor.fetchall()
    found = {pk: Calls(count, 100 * answered / count, within) for pk, count, answered, within in rows}
    return found, sum(calls.total for calls in found.values()) >= CALLS_MAX


def waiting_for_systems(user: Any) -> dict[str, Waiting]:
    """What isn't in its target yet, by connection code; held documents and those that wait for another aren't meant."""
    on_their_way = transactions_visible_to(user).filter(OPEN).exclude(state="held").exclude(target_connection="")
    parents = Dependency.objects.filter(transaction=OuterRef("pk"))
    rows = on_their_way.filter(~Exists(parents)).order_by().values_list("target_connection")
    return {code: Waiting(n, since) for code, n, since in rows.annotate(n=Count("pk"), since=Min("created_at"))}


def case_of(user: Any, connection: Connection) -> ExceptionCase | None:
    """The open case of a connection that isn't about single documents: refused credentials, or a system that fails."""
    cases = cases_visible_to(user).filter(connection_code=connection.code, closed_at=None)
    return cases.filter(kind__in=("credentials_refused", "system_unavailable")).order_by("severity", "pk").first()
