"""The retail half: a real year's half of invoice lines through the sandboxes, end to end, with the memory it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from q2c import launch
from q2c.bench import cpu
from q2c.bench.figures import Figure, Report
from q2c.bench.invoices import LIFTED
from q2c.bench.selling import seconds_of, states
from q2c.bench.stage import Stage
from q2c.inbox.models import InboundKey
from q2c.reconciliation.models import FeedDocument
from q2c.transactions.models import BusinessTransaction

QUIET_SECONDS = 8.0
SAMPLE_SECONDS = 2.0
KINDS = ("invoice", "creditMemo")
CURVE_POINTS = 12


def find_file() -> Path | None:
    """RETAIL_FILE, or the half beside the demo's own day when it lies there."""
    given = os.environ.get("RETAIL_FILE")
    if given:
        return Path(given)
    return next(iter((launch.ROOT / "data" / "uci_online_retail").glob("*_2010-12_2011-06.csv.gz")), None)


def measure_retail(stage: Stage, report: Report, *, seconds: float) -> None:
    """`retail_half_minutes`, `retail_peak_mb`: once, since it's long. Gives up after so many seconds and says so."""
    file = find_file()
    if file is None or not file.exists():
        report.add(_not_run("retail_half_minutes", "min"), _not_run("retail_peak_mb", "MB"))
        return
    with stage.web(), stage.workers(2):
        mark, before, started = stage.last("netsuite"), stage.cpu(), time.time()
        stage.start("load", [*launch.manage("load_retail", str(file)), f"--port={settings.SANDBOX_PORT}"])
        watched = _watch(stage, mark, until=time.monotonic() + seconds)
        after = stage.cpu()
        declared = FeedDocument.objects.count()
        peaks = {name: _peak(pids) for name, pids in stage.portal_pids().items() if name not in ("load", "broker")}
        stage.stop("load")
    minutes = [(watched["ended"] - started) / 60] if watched["is_done"] else []
    spent = ", ".join(f"{p} {after[p] - before[p]:.0f}" for p in before)
    said = f"{watched['posted']:,} of {declared:,} documents posted; {_others()}; CPU s: {spent}; one run; {LIFTED}"
    if not watched["is_done"]:
        said = f"not finished in {seconds:.0f} s: {said}"
    each = ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items())
    portal = max(peak for name, peak in peaks.items() if name != "postgresql")
    report.add(
        Figure("retail_half_minutes", minutes, "min", note=said),
        Figure("retail_peak_mb", [portal], "MB", note=f"the largest process of each part: {each}"),
    )
    report.say(f"retail memory, MB of the largest worker by minute: {_curve(watched['samples'])}")


def _watch(stage: Stage, mark: int, *, until: float) -> dict[str, Any]:
    """Sample until everything has come to its end: nothing to translate, nothing running, a quiet ERP."""
    posted, last, newest, quiet_since = 0, mark, 0.0, time.monotonic()
    samples: list[tuple[float, float]] = []
    began, is_done = time.monotonic(), False
    while time.monotonic() < until and not is_done:
        time.sleep(SAMPLE_SECONDS)
        for entry in stage.log("netsuite", after=last):
            last, quiet_since = entry["n"], time.monotonic()
            if entry["document_type"] in KINDS and entry["effect"] == "created":
                posted, newest = posted + 1, seconds_of(entry)
        roots = [stage.programs[name].pid for name in ("doors", "flows", "web")]
        samples.append(((time.monotonic() - began) / 60, cpu.resident_mb(roots)))
        is_quiet = time.monotonic() - quiet_since > QUIET_SECONDS
        is_done = is_quiet and stage.programs["load"].poll() is not None and not _is_moving()
    return {"posted": posted, "ended": newest, "samples": samples, "is_done": is_done}


def _is_moving() -> bool:
    to_translate = InboundKey.objects.filter(verdict="received").exists()
    return to_translate or BusinessTransaction.objects.filter(state__in=("running", "unknown")).exists()


def _peak(pids: list[int]) -> float:
    return max((v for pid in pids for v in cpu.peak_mb(pid).values()), default=0.0)


def _curve(samples: list[tuple[float, float]]) -> str:
    step = max(1, len(samples) // CURVE_POINTS)
    return ", ".join(f"{minute:.1f}: {mb:.0f}" for minute, mb in samples[::step])


def _others() -> str:
    return ", ".join(f"{what} {number:,}" for what, number in states().items() if not what.endswith("completed"))


def _not_run(key: str, unit: str) -> Figure:
    return Figure(key, [], unit, note="not run: give RETAIL_FILE, the path of the half year's file")
