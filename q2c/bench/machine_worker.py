"""A worker of the machine's bench: `python -m q2c.bench.machine_worker` carries until it's ended."""

from __future__ import annotations

import time

import django

LOOKS_SECONDS = 0.005  # what a nudge would tell at once


def main() -> None:
    """Carry what is due, again and again."""
    django.setup()
    from q2c.bench.machine_flow import BENCH_TOOLS, FLOW
    from q2c.transactions import machine

    while True:
        if not machine.advance(FLOW, BENCH_TOOLS):
            time.sleep(LOOKS_SECONDS)


if __name__ == "__main__":
    main()
