"""That a person resumed a connection, told to all processes through Redis: what one of them keeps from before (a pause
that the vendor asked for, an open breaker) is over then.

Asked only by who holds calls back, at most once a second. While Redis is away everything lasts as long as it was to.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import redis
from django.db import connection as database

from connectors.slots import broker

ASKED_AGAIN_SECONDS = 1.0
_PREFIX = "q2c:resumed:"  # a fresh name for each resume; kept, since a pause may be as old as it likes


def tell_resumed(connection: str) -> None:
    """A person resumed it. Nothing happens while Redis is away."""
    try:
        broker().set(_key(connection), uuid.uuid4().hex)
    except (redis.RedisError, OSError):
        return


def last_resume(connection: str) -> str | None:
    """The name of its last resume; empty where there was none, None while Redis is away."""
    try:
        found: Any = broker().get(_key(connection))
    except (redis.RedisError, OSError):
        return None
    return found.decode() if found else ""


class Since:
    """Whether a connection was resumed since something was begun here."""

    def __init__(self, connection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.connection = connection
        self.clock = clock
        self._last: str | None = ""
        self._asked_at = 0.0

    def begin(self) -> None:
        """Calls are held back from now on."""
        self._last, self._asked_at = last_resume(self.connection), self.clock()

    def is_over(self) -> bool:
        """Whether a person resumed it since; also of something that was begun before we asked for the first time.

        What was begun while Redis was away begins with the first answer: a resume of before isn't one of it.
        """
        if self.clock() - self._asked_at < ASKED_AGAIN_SECONDS:
            return False
        self._asked_at = self.clock()
        newest = last_resume(self.connection)
        if self._last is None:
            self._last = newest
        return bool(newest) and newest != self._last


def _key(connection: str) -> str:
    """Two installations on one Redis don't hear of each other's systems: each is named by its database."""
    return f"{_PREFIX}{database.settings_dict['NAME']}:{connection}"
