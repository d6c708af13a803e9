"""Engines that a user would pick instead, on the same transaction, target, database and broker, in the same run.

Each is a program of its own in `peers/`: `python -m q2c.bench.peers.<name> DATABASE_URL SINK_URL NUMBER WHAT`, with
`prepare`, `serve` or `start`. They come with the extra `bench`; one that isn't installed is reported as missing.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from psycopg import sql

from q2c.bench import cpu
from q2c.bench.stage import Stage, broker, postmaster, wait_for

REPEATS = 3
PATIENCE_SECONDS = 180.0


@dataclass
class Peer:
    """An engine and its runs: transactions a second, and CPU ms each of its workers, PostgreSQL and broker."""

    name: str
    module: str
    needs: str
    number: int  # transactions a run
    workers: int
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def median(self) -> float:
        """The median rate."""
        return statistics.median(self.rates)

    @property
    def said(self) -> str:
        """For the note of the figure."""
        if not self.rates:
            return f"{self.name}: {self.failure}"
        return f"{self.name} {self.median:.0f}/s, {statistics.median(self.cpu_ms):.1f} ms"


def known_peers() -> list[Peer]:
    """The engines, each as it was found to be fastest."""
    return [
        Peer("Procrastinate", "procrastinate_peer", "procrastinate", 1_200, 2),
        Peer("DBOS", "dbos_peer", "dbos", 400, 2),
        Peer("Celery chain", "celery_peer", "celery", 600, 1),  # one command starts two processes
    ]


def measure_peers(
    stage: Stage, sink_url: str, ask: Callable[[], dict[str, Any]], forget: Callable[[], Any]
) -> list[Peer]:
    """Run each engine; one that fails or is missing says why."""
    found = known_peers()
    for peer in found:
        if importlib.util.find_spec(peer.needs) is None:
            peer.failure = "missing: install the extra bench"
            continue
        try:
            _measure(stage, peer, sink_url, ask, forget)
        except (RuntimeError, TimeoutError) as failure:
            peer.failure = f"failed: {failure}"
    return found


def _measure(
    stage: Stage, peer: Peer, sink_url: str, ask: Callable[[], dict[str, Any]], forget: Callable[[], Any]
) -> None:
    url = _make_database(stage, f"q2c_bench_{peer.needs}")
    command = [sys.executable, "-m", f"q2c.bench.peers.{peer.module}", url, sink_url]
    stage.run(f"{peer.needs}-prepare", [*command, "0", "prepare"])
    names = [f"{peer.needs}-{n}" for n in range(peer.workers)]
    for name in names:
        stage.start(name, [*command, "0", "serve"])
    try:
        for run in range(REPEATS + 1):
            number = peer.number if run else peer.number // 4
            forget()
            roots = [*(stage.programs[name].pid for name in names), postmaster(), broker()]
            spent = cpu.cpu_seconds(roots)
            stage.run(f"{peer.needs}-start", [*command, str(number), "start"])
            wait_for(partial(_has, ask, 2 * number), peer.name, seconds=PATIENCE_SECONDS, every=0.02)
            if run:  # the first one warms up
                peer.rates.append(number / ask()["seconds"])  # from the first document to the last: in its favour
                peer.cpu_ms.append((cpu.cpu_seconds(roots) - spent) * 1000 / number)
    finally:
        for name in names:
            stage.stop(name)


def _has(ask: Callable[[], dict[str, Any]], number: int) -> bool:
    return bool(ask()["distinct"] >= number)


def _make_database(stage: Stage, name: str) -> str:
    """An empty database for the engine, with the table of its mapping. Returns its URL."""
    owner = stage.environment["DATABASE_URL"]
    with psycopg.connect(owner, autocommit=True) as wire:
        wire.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        wire.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
    with psycopg.connect(url) as wire:
        wire.execute("CREATE TABLE item (sku text PRIMARY KEY, item text NOT NULL)")
        wire.execute("INSERT INTO item VALUES ('QB-API', '10482')")
    return url
