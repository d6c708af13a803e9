"""A vendor of our own for the telephone's tests: a real HTTP server on a loopback port, in the test's event loop."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors import http, registry
from connectors.auth import NoAuth
from connectors.manifest import Limits
from connectors.models import Connection
from connectors.recorder import Collector
from q2c.core import vault
from q2c.core.problems import Category, Problem

LIMITS = Limits(at_once=4, timeout_seconds=5.0, connect_seconds=2.0)


def run(waiting: Awaitable[Any]) -> Any:
    """Run a test's coroutine on a loop of its own, and hang up at its end."""

    async def whole() -> Any:
        try:
            return await waiting
        finally:
            await http.close_sessions()

    return asyncio.run(whole())


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]):
    """A server that answers everything by `handler`; gives its base address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


def refused(reply: http.Reply) -> Problem:
    """The simplest explanation of a refusal."""
    return Problem("vendor_refused", Category.VALIDATION, f"it said {reply.status}")


def dial(
    base_url: str,
    *,
    collector: Collector | None = None,
    auth: Any = None,
    limits: Limits = LIMITS,
    code: str = "vendor",
    allows_private: bool = True,
    explain: Any = refused,
) -> http.Telephone:
    """A telephone to the server."""
    line = http.Line(
        code=code,
        vendor="vendor",
        name="Vendor",
        base_url=base_url,
        allows_private=allows_private,
        at_once=limits.at_once,
    )
    return http.Telephone(line, limits, auth=auth or NoAuth(), explain=explain, record=collector or Collector())


def client_of(
    vendor: str,
    base_url: str,
    *,
    settings: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    collector: Collector | None = None,
) -> Any:
    """A vendor's client for a sandbox, built as the portal builds it, from a connection that isn't stored."""
    connection = Connection(
        code=vendor,
        name=vendor.capitalize(),
        vendor=vendor,
        base_url=base_url,
        settings=settings or {},
        secrets=vault.seal_with_master(json.dumps(secrets or {}).encode()),
        is_sandbox=True,
    )
    return registry.client_for(connection, collector=collector or Collector())
