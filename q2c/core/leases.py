"""Leases: rows that say who plays a part alone, and who lives. PostgreSQL's clock decides, not the hosts' clocks.

A row, not an advisory lock: such a lock belongs to a session and dies behind a pooler that shares sessions.
"""

from __future__ import annotations

import os
import socket

from django.db import connection

BEAT = "beat"
WORKER = "worker:"


def this_process() -> str:
    """The name of this process in leases."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


def take_lease(name: str, *, holder: str, seconds: float) -> bool:
    """Take or renew a lease. False while somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_lease AS l (name, holder, until)"
            " VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))"
            " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
            " WHERE l.holder = excluded.holder OR l.until < clock_timestamp() RETURNING 1",
            [name, holder, seconds],
        )
        return cursor.fetchone() is not None


def release_lease(name: str, *, holder: str) -> None:
    """Give a lease back, so that the next one needn't wait for it to lapse; drops rows that lapsed long ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM core_lease WHERE (name = %s AND holder = %s) OR until < clock_timestamp() - interval '1 hour'",
            [name, holder],
        )


def living(prefix: str) -> int:
    """How many leases whose name begins so are in force."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM core_lease WHERE starts_with(name, %s) AND until >= clock_timestamp()", [prefix]
        )
        return cursor.fetchone()[0]


def living_workers(queue: str) -> int:
    """How many living workers take from a queue, alone or beside others (`worker:doors+flows@host:7`)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM core_lease WHERE starts_with(name, %s) AND until >= clock_timestamp()"
            " AND %s = ANY (string_to_array(split_part(substr(name, length(%s) + 1), '@', 1), '+'))",
            [WORKER, queue, WORKER],
        )
        return cursor.fetchone()[0]
