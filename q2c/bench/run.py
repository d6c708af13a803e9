"""The whole bench: its parts in order, within the time that it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

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

# Retail before what fills tables or takes minutes, webhooks last: they leave a full inbox behind.
PARTS = (
    "machine", "invoices", "latency", "storm", "retail", "mappings", "queue", "bulk", "bloat", "growth", "webhooks",
)  # fmt: skip
SECONDS_MAX = 15 * 60
AFTER_RETAIL_SECONDS = 7 * 60  # for the parts that follow it, of which the bulk one is the longest


def run_bench(home: Path, only: Collection[str], say: Callable[[str], None]) -> Report:
    """Measure the parts asked for (all when none is named). Figures of parts that fail are reported as failed."""
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
            if only and part not in only:
                continue
            started = time.monotonic()
            try:
                measures[part]()
            except (TimeoutError, RuntimeError) as failure:
                report.say(f"{part} failed: {failure}")
            report.write(Path.cwd())  # whatever ends the bench early, the parts done stand
            say(f"{part}: {time.monotonic() - started:.0f} s\n{report.table()}\n")
    finally:
        stage.close()
        workers.stop_worker()
    return report
