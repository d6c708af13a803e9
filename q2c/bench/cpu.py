"""What processes cost: user and system time, and peak memory, of a process and all below it, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MB = 1024


def cpu_seconds(roots: Iterable[int]) -> float:
    """User and system time of these processes and all below them, those that ended and were waited for among them."""
    return sum(_own_and_waited(pid) for root in roots for pid in tree(root))


def peak_mb(root: int) -> dict[int, float]:
    """The peak resident memory of each living process of a tree, in MB."""
    return {pid: value for pid in tree(root) if (value := _status(pid, "VmHWM")) is not None}


def resident_mb(roots: Iterable[int]) -> float:
    """The resident memory of the largest process among these trees, in MB."""
    return max((v for root in roots for pid in tree(root) if (v := _status(pid, "VmRSS")) is not None), default=0.0)


def tree(root: int) -> list[int]:
    """A process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def parent_of(pid: int) -> int:
    """The parent's process id. Raises ProcessLookupError."""
    fields = _stat(pid)
    if not fields:
        raise ProcessLookupError(pid)
    return int(fields[1])


def _own_and_waited(pid: int) -> float:
    fields = _stat(pid)
    return sum(int(v) for v in fields[11:15]) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _status(pid: int, name: str) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / _MB for line in lines if line.startswith(name)), None)
