"""Small things about processes that the launcher and the embedded servers share. Standard library only."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

WAIT_SECONDS_MAX = 120  # crash recovery of a large database takes its time


def die_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends this signal to the child when the thread that started it ends (Linux only)."""

    def ask_kernel() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, number)

    return ask_kernel


def take_lock(path: Path) -> int | None:
    """A lock that is held until this process ends, or None when another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    draft.replace(path)


def wait_until(holds: Callable[[], bool], *, process: subprocess.Popen | None = None) -> None:
    """Wait until something holds. Raises RuntimeError when the process dies meanwhile, or after WAIT_SECONDS_MAX."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        if process and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}; see its messages")
        if time.monotonic() > end:
            raise RuntimeError(
                f"{repr(process.args) if process else 'the other process'} isn't ready after {WAIT_SECONDS_MAX} s"
            )
        time.sleep(0.05)
