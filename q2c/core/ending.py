"""Whether this program was asked to end, told to all processes forked from it: no new work is begun, and what is under
way has a moment to come to its end before it's abandoned as if the process had been killed, which loses nothing.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import time
from collections.abc import Awaitable
from typing import Any

from q2c.core.problems import Category, Problem

PATIENCE_SECONDS = 2.0  # for an answer that is under way
LOOKS_SECONDS = 0.2
_asked = mmap.mmap(-1, 8)  # the instant, on the machine's monotonic clock; shared over a fork


def ask_to_end() -> None:
    """From now on this program and its children are ending."""
    _asked[:] = struct.pack("d", time.monotonic())


def forget_ending() -> None:
    """Go on, as if nobody had asked (a program that starts, tests)."""
    _asked[:] = bytes(8)


def is_ending() -> bool:
    """Whether somebody asked for the end."""
    return any(_asked[:])


def is_impatient() -> bool:
    """Whether somebody asked for the end, and what was under way has had its moment."""
    asked: float = struct.unpack("d", _asked[:])[0]
    return asked > 0 and time.monotonic() - asked > PATIENCE_SECONDS


async def await_unless_ending(waiting: Awaitable[Any]) -> Any:
    """What a read gives. Raises Problem `system_unavailable` when the program ends before it's there."""
    task = asyncio.ensure_future(waiting)
    try:
        while not (await asyncio.wait({task}, timeout=LOOKS_SECONDS))[0]:
            if is_impatient():
                raise Problem(
                    "system_unavailable", Category.AVAILABILITY, "This worker was ended before the answer came"
                )
        return task.result()
    finally:
        task.cancel()
