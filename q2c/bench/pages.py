"""How long pages take to be asked for, one after the other by one person."""

from __future__ import annotations

import time
from collections.abc import Iterable

from django.test import Client

from q2c.bench.figures import percentile


def time_pages(
    client: Client, addresses: Iterable[tuple[str, str]], *, repeats: int, looks: int
) -> tuple[list[list[float]], dict[str, float]]:
    """Milliseconds of every look in each repeat, and the 95th percentile of each page by its name. Raises RuntimeError
    when one isn't shown."""
    slowest: dict[str, float] = {}
    every: list[list[float]] = [[] for _ in range(repeats)]
    for name, address in addresses:
        own: list[float] = []
        client.get(address)  # warm: a page that nobody has asked for yet reads from the disk
        for run in every:
            for _ in range(looks):
                began = time.perf_counter()
                answer = client.get(address)
                if answer.status_code != 200:
                    raise RuntimeError(f"{address} answered {answer.status_code}")
                own.append((time.perf_counter() - began) * 1000)
                run.append(own[-1])
        slowest[name] = percentile(own, 0.95)
    return every, slowest
