"""Runs all sandboxes in one process: one event loop, one listener per vendor, and the control door before them."""

import asyncio
import importlib
import importlib.util
import logging
import pkgutil
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

import connectors
from connectors.sandbox.clock import Clock
from connectors.sandbox.control import Control, advance
from connectors.sandbox.faults import Faults
from connectors.sandbox.outside import Outside
from connectors.sandbox.serving import build_server
from connectors.sandbox.store import Store
from connectors.sandbox.vendor import Vendor

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
TICK_SECONDS = 1.0


def find_vendors() -> dict[str, type[Vendor]]:
    """The vendors that have a sandbox, found by looking: `connectors/<vendor>/sandbox` with a SANDBOX in it."""
    found = {}
    for module in sorted(pkgutil.iter_modules(connectors.__path__), key=lambda module: module.name):
        name = f"connectors.{module.name}.sandbox"
        if module.ispkg and module.name != "sandbox" and importlib.util.find_spec(name) is not None:
            found[module.name] = importlib.import_module(name).SANDBOX
    return found


def run(
    home: Path,
    control_port: int,
    vendors: dict[str, type[Vendor]] | None = None,
    *,
    on_ready: Callable[[], None] | None = None,
    shown_port: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. The control door listens on `control_port`, the vendors on those after it.

    Where something stands in front of the vendors they call themselves by the ports after `shown_port`.
    """
    classes = find_vendors() if vendors is None else vendors
    asyncio.run(serve(home, control_port, classes, on_ready=on_ready, shown_port=shown_port))


async def serve(
    home: Path,
    control_port: int,
    classes: dict[str, type[Vendor]],
    *,
    on_ready: Callable[[], None] | None = None,
    shown_port: int | None = None,
) -> None:
    """The same inside a running event loop."""
    shown = control_port if shown_port is None else shown_port
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    folder = Path(home) / "sandbox"
    clock = Clock(folder / "clock.json")
    vendors: dict[str, Vendor] = {}
    faults: dict[str, Faults] = {}
    runners: list[web.ServerRunner] = []
    tasks: list[asyncio.Task] = []
    try:
        for number, (code, kind) in enumerate(sorted(classes.items()), start=1):
            store = Store(folder / f"{code}.sqlite3", clock)
            faults[code] = Faults()
            outside = Outside(store, clock, faults[code])
            with store.transaction():
                vendor = kind(store, clock, f"http://{HOST}:{shown + number}", outside)
                vendor.seed()
            outside.vendor = vendors[code] = vendor
            runners.append(await _listen(build_server(vendor, faults[code]), control_port + number))
            tasks.append(asyncio.create_task(outside.run()))
            tasks.append(asyncio.create_task(_tick(vendor)))
        runners.append(await _listen(Control(clock, vendors, faults).build_server(), control_port))
        if on_ready is not None:
            on_ready()
        await stop.wait()
    finally:
        for runner in runners:
            await runner.cleanup()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for vendor in vendors.values():
            vendor.store.close()


async def _listen(server: web.Server, port: int) -> web.ServerRunner:
    runner = web.ServerRunner(server, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, backlog=512).start()
    return runner


async def _tick(vendor: Vendor) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        try:
            advance(vendor)
        except Exception:
            log.exception("%s sandbox could not do what was due", vendor.code)
