"""How far back a message may be run again: governed rules of kind `replay_window`, by connection and message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from django.utils import timezone

from mappings.kinds import REPLAY_DAYS, REPLAY_WINDOW
from mappings.resolve import Snapshot

ANY = "any"


class Windows:
    """The windows of these messages (connection's code, the vendor's name of the message), read in two statements."""

    def __init__(self, messages: Iterable[tuple[str, str]]) -> None:
        wanted = sorted({event_type for _, event_type in messages})
        self._rules = Snapshot.load([(REPLAY_WINDOW, event_type, {}) for event_type in wanted])
        self._now = timezone.now()

    def days(self, connection_code: str, event_type: str) -> int | None:
        """How many days; None where there's no end."""
        rule = self._rules.find(REPLAY_WINDOW, event_type, on=self._now.date(), connection=connection_code)
        if rule is None:
            return REPLAY_DAYS
        return None if rule.value == ANY else int(rule.value)

    def why_not(self, connection_code: str, event_type: str, at: dt.datetime) -> str:
        """Why a message of that instant isn't run again, in words; "" where it may be."""
        days = self.days(connection_code, event_type)
        if days is None or at >= self._now - dt.timedelta(days=days):
            return ""
        age = (self._now - at).days
        return (
            f"It is {age:,} days old, and {event_type} of {connection_code} is replayed up to {days:,} days back. "
            "Controllership can agree to another window under Mappings."
        )
