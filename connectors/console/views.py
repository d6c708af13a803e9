"""Connections: the list with health, one connection with its cursors and lists."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from connectors import call_figures, in_force, registry, turns
from connectors.connections import days_to_expiry, health_of
from connectors.console import figures
from connectors.models import Connection
from mappings.kinds import PROPOSE_RUNNING, RETRY_POLICY
from mappings.resolve import latest_change_set
from mappings.retries import ErrorLine, Retries
from q2c.core import access
from q2c.core.access import requires
from q2c.core.htmx import page


@require_GET
@requires("connectors.view_connection")
def connection_list(request: HttpRequest) -> HttpResponse:
    """All connections with their health, how their newest calls went, and what waits for each."""
    rows: list[dict[str, Any]] = []
    calls = call_figures.calls_of_connections()
    waiting = figures.waiting_for_systems(request.user)
    for connection in Connection.objects.select_related("health").prefetch_related("roles__legal_entity"):
        rows.append(
            {
                "connection": connection,
                "health": health_of(connection),
                "seen": getattr(connection, "health", None),
                "quota": in_force.day_quota_of(connection, getattr(connection, "health", None)),
                "families": sorted({role.family for role in connection.roles.all()}),
                "entities": sorted({role.legal_entity.code for role in connection.roles.all() if role.legal_entity}),
                "expires_in": days_to_expiry(connection),
                "calls": calls.get(connection.code),
                "waiting": waiting.get(connection.code, figures.NOBODY),
            }
        )
    ill = [row for row in rows if row["health"].is_ill]
    context = {
        "rows": rows,
        "ill": ill,
        "worst": ill[0] if ill else None,
        "worst_case": figures.case_of(request.user, ill[0]["connection"]) if ill else None,
        "may_work": access.may(request.user, "connectors.work_connection"),
        "waiting_count": sum(row["waiting"].total for row in ill),
        "seen_hours": call_figures.HOURS,
        "well_count": sum(row["health"].state in ("healthy", "slow") for row in rows),
        "untried_count": sum(row["health"].state == "untried" for row in rows),
    }
    return page(request, "connectors/connection_list.html", "connectors/_health.html", context)


def visible_connection(code: str) -> Connection:
    """The connection of a code, or 404."""
    found = Connection.objects.select_related("health").filter(code=code).first()
    if found is None:
        raise Http404
    return found


@require_GET
@requires("connectors.view_connection")
def connection_detail(request: HttpRequest, code: str) -> HttpResponse:
    """One connection: health, what it does for whom, how far the polls are, the age of its lists."""
    return show_connection(request, visible_connection(code))


def show_connection(request: HttpRequest, connection: Connection, *, status: int = 200, **forms: Any) -> HttpResponse:
    """The page of a connection, also after a form that couldn't be used."""
    lists = (
        connection.reference.order_by("list_name").values("list_name").annotate(n=Count("pk"), read_at=Max("read_at"))
    )
    manifest = registry.manifest(connection.vendor)
    calls = call_figures.calls_of_connections()
    context = {
        "connection": connection,
        "calls": calls.get(connection.code),
        "seen_hours": call_figures.HOURS,
        "waiting": figures.waiting_for_systems(request.user).get(connection.code, figures.NOBODY),
        "outages": turns.outages(connection),
        "health": health_of(connection),
        "seen": getattr(connection, "health", None),
        "roles": list(connection.roles.select_related("legal_entity").order_by("family")),
        "cursors": _cursors(connection),
        "vendor": manifest.name,
        "at_once": in_force.at_once_of(connection),
        "quota": in_force.day_quota_of(connection, getattr(connection, "health", None)),
        "lists": list(lists),
        "expires_in": days_to_expiry(connection),
        "may_work": access.may(request.user, "connectors.work_connection"),
        "errors": _errors(connection),
        "retry_kind": RETRY_POLICY,
        "may_propose": access.may(request.user, PROPOSE_RUNNING),
        **forms,
    }
    return page(
        request, "connectors/connection_detail.html", "connectors/connection_detail.html", context, status=status
    )


def _errors(connection: Connection) -> dict[str, list[ErrorLine]]:
    """The vendor's errors: those that waiting can mend, with how often each is tried, and the others."""
    known = Retries.load(latest_change_set(), {connection.code: connection.vendor})
    lines = known.lines(connection.vendor, connection.code)
    return {"mended": [line for line in lines if line.retry], "others": [line for line in lines if not line.retry]}


def _cursors(connection: Connection) -> list[Any]:
    """How far each stream has been read, with the vendor's own time where its place is one (`up_to`)."""
    found = list(connection.cursors.order_by("stream"))
    for cursor in found:
        place = cursor.position if isinstance(cursor.position, dict) else {}
        cursor.up_to = _instant(place.get("modstamp") or place.get("created"))  # type: ignore[attr-defined]
    return found


def _instant(value: Any) -> dt.datetime | None:
    """A vendor's time: ISO 8601, or seconds since 1970."""
    try:
        if isinstance(value, int):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        found = dt.datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else None
