"""What the connections' screen counts: what waits for each system, and the case that is about one."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from django.db.models import Count, Exists, Min, OuterRef

from connectors.models import Connection
from exceptions.models import ExceptionCase
from exceptions.tallies import cases_visible_to
from q2c.transactions.models import Dependency
from q2c.transactions.selectors import OPEN, transactions_visible_to


class Waiting(NamedTuple):
    """What is on its way to a connection: how many documents that the person may see, the oldest since when."""

    total: int
    since: dt.datetime | None


NOBODY = Waiting(0, None)


def waiting_for_systems(user: Any) -> dict[str, Waiting]:
    """What isn't in its target yet, by connection code; held documents and those that wait for another aren't meant."""
    on_their_way = transactions_visible_to(user).filter(OPEN).exclude(state="held").exclude(target_connection="")
    parents = Dependency.objects.filter(transaction=OuterRef("pk"))
    rows = on_their_way.filter(~Exists(parents)).order_by().values_list("target_connection")
    return {code: Waiting(n, since) for code, n, since in rows.annotate(n=Count("pk"), since=Min("created_at"))}


def case_of(user: Any, connection: Connection) -> ExceptionCase | None:
    """The open case of a connection that isn't about single documents: refused credentials, a system that is away."""
    kinds = ("credentials_refused", "system_away", "system_unavailable")
    cases = cases_visible_to(user).filter(connection_code=connection.code, closed_at=None, kind__in=kinds)
    return cases.order_by("severity", "pk").first()
