"""The whole bench: its parts in order, within the time that it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from q2c.bench.bloat import measure_bloat
from q2c.bench.bulk import measure_bulk
from q2c.bench.figures import Report
from q2c.bench.growth import measure_growth
from q2c.bench.invoices import measure_invoices, measure_latency
from q2c.bench.machine import measure_machine
from q2c.bench.mappings import measure_mappings
from q2c.bench.queue import measure_queue
from q2c.bench.retail import measure_retail
from q2c.bench.stage import Stage
from q2c.bench.storm import measure_storm
from q2c.bench.webhooks import measure_webhooks
from q2c.transactions import workers

log = structlog.get_logger(__name__)

# Retail before what fills tables or takes minutes, webhooks last: they leave a full inbox behind.
PARTS = (
    "machine", "invoices", "latency", "storm", "retail", "mappings", "queue", "bulk", "bloat", "growth", "webhooks",
)  # fmt: skip
IN_ALL = tuple(part for part in PARTS if part not in ("bloat", "growth"))  # a minute and two, asked for by name
SECONDS_MAX = 15 * 60
AFTER_RETAIL_SECONDS = 7 * 60  # for the parts that follow it, of which the bulk one is the longest


def run_bench(home: Path, only: Collection[str], say: Callable[[str], None]) -> Report:
    """Measure the parts asked for (all but bloat and growth when none is named). A part that fails is
    reported with its reason."""
    began, report, stage = time.monotonic(), Report(), Stage(home)
    measures: dict[str, Callable[[], None]] = {
        "machine": lambda: measure_machine(stage, report),
        "invoices": lambda: measure_invoices(stage, report),
        "latency": lambda: measure_latency(stage, report),
        "storm": lambda: measure_storm(stage, report),
        "bulk": lambda: measure_bulk(stage, report),
        "bloat": lambda: measure_bloat(report),
        "growth": lambda: measure_growth(stage, report),
        "mappings": lambda: measure_mappings(stage, report),
        "retail": lambda: measure_retail(
            stage, report, seconds=SECONDS_MAX - (0 if only else AFTER_RETAIL_SECONDS) - (time.monotonic() - began)
        ),
        "queue": lambda: measure_queue(report),
        "webhooks": lambda: measure_webhooks(stage, report),
    }
    try:
        stage.open()
        say(f"the stage is set after {time.monotonic() - began:.0f} s")
        for part in PARTS:
            if part not in (only or IN_ALL):
                continue
            started, known = time.monotonic(), len(report.figures)
            try:
                measures[part]()
            except Exception as failure:  # the other parts' figures are wanted all the same
                log.exception("a part of the bench failed", part=part)
                report.say(f"{part} failed: {type(failure).__name__}: {failure}")
            report.write(Path.cwd())  # whatever ends the bench early, the parts done stand
            say(f"{part}: {time.monotonic() - started:.0f} s\n{report.table(known)}\n")
    finally:
        stage.close()
        workers.stop_worker()
    return report
