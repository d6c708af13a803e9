"""What is usual: the median of the same span of the weeks before, once there are enough of them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

WEEKS_LEAST = 3  # before that nothing is usual yet


def usual_of(counts: Iterable[int]) -> float | None:
    """The usual count of these weeks' counts; None while nothing is."""
    known = list(counts)
    return statistics.median(known) if len(known) >= WEEKS_LEAST else None
