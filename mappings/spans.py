"""Days on which rules hold: what stays of a rule that is changed or retired, and what others leave free. Pure.

A span begins on its first day; its end isn't included, and None is no end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

Span = tuple[dt.date, dt.date | None]
END_OF_TIME = dt.date.max


def left_of(old: Span, change: Span) -> list[Span]:
    """What stays of a rule's days beside those that a change speaks of."""
    return free(old, [change])


def free(span: Span, taken: Iterable[Span]) -> list[Span]:
    """The parts of a span that none of the others covers."""
    parts: list[Span] = []
    start, end = span
    for begins, ends in sorted(taken, key=lambda other: (other[0], other[1] or END_OF_TIME)):
        if end is not None and begins >= end:
            break
        if begins > start:
            parts.append((start, begins))
        if ends is None:
            return parts
        start = max(start, ends)
    if start < (end or END_OF_TIME):
        parts.append((start, end))
    return parts


def shared(one: Span, other: Span) -> Span | None:
    """The days of both, if there are any."""
    start = max(one[0], other[0])
    end = min(one[1] or END_OF_TIME, other[1] or END_OF_TIME)
    if start >= end:
        return None
    return start, None if end == END_OF_TIME else end
