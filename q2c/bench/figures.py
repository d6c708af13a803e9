"""Figures: three runs of each, the median with least and most, to `bench-results.json` and as a table."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = "bench-results.json"
_COLUMNS = ("key", "value", "least", "most", "unit", "reference", "reference_value", "ratio")


@dataclass(frozen=True)
class Figure:
    """One measured thing. `runs` are its repetitions' values; without any it wasn't measured, and `note` says why."""

    key: str
    runs: Sequence[float]
    unit: str
    reference: str = ""
    reference_runs: Sequence[float] = ()
    is_less_better: bool = False
    note: str = ""

    @property
    def value(self) -> float | None:
        """The median."""
        return _rounded(statistics.median(self.runs)) if self.runs else None

    @property
    def reference_value(self) -> float | None:
        """The reference's median in the same run."""
        return _rounded(statistics.median(self.reference_runs)) if self.reference_runs else None

    @property
    def ratio(self) -> float | None:
        """How much better than the reference: above 1 is always better."""
        ours, theirs = self.value, self.reference_value
        if not ours or not theirs:
            return None
        return _rounded(theirs / ours if self.is_less_better else ours / theirs)

    def as_row(self, around: dict[str, Any]) -> dict[str, Any]:
        """The row of `bench-results.json`. `around` is the machine, the time and the commit."""
        return {
            "key": self.key,
            "value": self.value,
            "unit": self.unit,
            "least": _rounded(min(self.runs)) if self.runs else None,
            "most": _rounded(max(self.runs)) if self.runs else None,
            "reference": self.reference or None,
            "reference_value": self.reference_value,
            "ratio": self.ratio,
            **around,
            **({"note": self.note} if self.note else {}),
        }


@dataclass
class Report:
    """All figures of one run of the bench, and what was said beside them."""

    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, *figures: Figure) -> None:
        """Take figures in."""
        self.figures += figures

    def say(self, text: str) -> None:
        """A remark for the reader of the table."""
        self.remarks.append(text)

    def write(self, folder: Path) -> Path:
        """Write `bench-results.json`: these figures in place of their own of earlier runs, all others as they were,
        each with its run's machine, time and commit. What wasn't measured now leaves what was. Returns its path."""
        around = describe_run()
        path = folder / RESULTS
        rows = {row["key"]: row for row in _rows_in(path)}
        for figure in self.figures:
            if figure.runs or rows.get(figure.key, {}).get("value") is None:
                rows[figure.key] = figure.as_row(around)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
        beside.replace(path)
        return path

    def table(self, since: int = 0) -> str:
        """The figures for the terminal, from the one at a place on."""
        figures = self.figures[since:]
        rows = [[_shown(f.as_row({})[c]) for c in _COLUMNS] for f in figures]
        widths = [max(len(c), *(len(r[i]) for r in rows)) if rows else len(c) for i, c in enumerate(_COLUMNS)]
        lines = ["  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)) for line in [_COLUMNS, *rows]]
        notes = [f"{f.key}: {f.note}" for f in figures if f.note]
        return "\n".join([*lines, "", *notes, *self.remarks])


def _rows_in(path: Path) -> list[dict[str, Any]]:
    """The rows of earlier runs; none where the file isn't there or isn't whole."""
    try:
        rows = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict) and "key" in row] if isinstance(rows, list) else []


def describe_run() -> dict[str, str]:
    """Where and when this was measured, and of which commit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, load {load:.1f}",
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": asked.stdout.strip(),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0.95) of all don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)
