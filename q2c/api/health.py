"""What machines ask about the portal itself: does it live, can it work, how much waits.

`/healthz` touches nothing. `/readyz` names what is missing. `/readyz?for=accept` asks only for what the webhook door
needs, so that a dead broker doesn't close it. `/metrics` is for Prometheus. They are asked by a pod's or a host's own
address, which is no name of the portal's: `by_any_name` answers them before a request's host is looked at.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import resolve
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST

from connectors.in_force import DayQuotaMetrics
from q2c.core.brokers import answers
from q2c.core.leases import BEAT, WORKER, living, living_workers
from q2c.core.metrics import scrape
from q2c.flows.catalog import BY_CODE
from q2c.flows.levels import LevelMetrics
from q2c.flows.schedules import QUEUES

MIGRATIONS_REMEMBERED_SECONDS = 30  # a look at all migration files takes a tenth of a second
_migrated_until = 0.0
DOORS = ("/healthz", "/readyz", "/metrics")


def by_any_name(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answers the doors of this module itself, whatever the request's host; nothing behind them builds an address."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info not in DOORS:
            return get_response(request)
        request.resolver_match = match = resolve(request.path_info)  # by which the answer is counted
        response: HttpResponse = match.func(request)
        response.headers["Cache-Control"] = "no-store"
        return response

    return middleware


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when nothing is missing, else 503 with the names."""
    missing = missing_parts(only_accept=request.GET.get("for") == "accept")
    response = JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log an error for every probe of a portal that is just starting
    return response


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; in production only for the bearer of Q2C_METRICS_TOKEN."""
    if not settings.IS_DEMO:
        given = request.headers.get("Authorization", "").encode()
        wanted = f"Bearer {settings.METRICS_TOKEN}".encode()
        if not settings.METRICS_TOKEN or not hmac.compare_digest(given, wanted):
            return HttpResponse("a bearer token is needed\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    told = scrape(LevelMetrics(), DayQuotaMetrics(), flows=list(BY_CODE))
    return HttpResponse(told, content_type=CONTENT_TYPE_LATEST)


def missing_parts(*, only_accept: bool) -> list[str]:
    """What the portal lacks to accept facts, or to work: database, migrations, broker, worker (of any queue, or of
    the one that is named: `worker:doors`), beat."""
    missing = []
    database = has_database()
    if not database:
        missing.append("database")
    if not (database and is_migrated()):
        missing.append("migrations")
    if only_accept:
        return missing
    if not has_broker():
        missing.append("broker")
    is_known = not missing or missing == ["broker"]
    alone = [queue for queue in QUEUES if not (is_known and living_workers(queue))]
    missing += ["worker"] if len(alone) == len(QUEUES) else [f"{WORKER}{queue}" for queue in alone]
    if not (is_known and living(BEAT)):
        missing.append("beat")
    return missing


def has_database() -> bool:
    """Whether PostgreSQL answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def is_migrated() -> bool:
    """Whether every migration of this release is applied; a yes is remembered for a while."""
    global _migrated_until
    if time.monotonic() < _migrated_until:
        return True
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return False
    _migrated_until = time.monotonic() + MIGRATIONS_REMEMBERED_SECONDS
    return True


def has_broker() -> bool:
    """Whether the broker answers."""
    return answers(settings.REDIS_URL)
