"""The two clocks that decide who may do what until when: a machine's own since it booted, for one process alone, and
the database's, for all hosts. What a host's wall clock says is shown and kept as a fact; it decides nothing between
them.
"""

from __future__ import annotations

import datetime as dt
import time

from django.db import connection

# How far the wall clocks of two hosts may be apart: a message says by its sender's clock how long it's good for.
HOSTS_APART_SECONDS = 120

# Counts on while the machine sleeps, and nobody sets it; where there's none (not Linux) what comes nearest.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Seconds since this machine booted: to compare instants within a process, whatever is done to its wall clock."""
    return time.clock_gettime(_CLOCK)


def database_now() -> dt.datetime:
    """The instant by PostgreSQL's clock, the same for every host. One query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: dt.datetime = cursor.fetchone()[0]
        return now
