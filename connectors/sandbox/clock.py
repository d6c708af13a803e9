"""The sandboxes' clock: the real one plus an offset that the control door moves; it survives a restart."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

LAST_SECOND = datetime(9999, 1, 1, tzinfo=UTC).timestamp()  # a year is left for what is due later


class Clock:
    """Time as all sandboxes of one process see it. Only they are moved; the portal's clock isn't."""

    def __init__(self, path: Path | None = None):
        self.path = path
        self.offset = 0.0
        if path is not None and path.exists():
            self.offset = float(json.loads(path.read_text())["offset_seconds"])

    def time(self) -> float:
        """Seconds since 1970 in UTC, with a fraction."""
        return time.time() + self.offset

    def now(self) -> datetime:
        """The same as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def move(self, offset_seconds: float) -> None:
        """Put the clock at the real time plus the offset; it goes on from there at the usual pace. Raises ValueError
        for an offset that leads out of the years 1970 to 9998, and leaves the clock as it is then."""
        if not 0 <= time.time() + offset_seconds < LAST_SECOND:
            raise ValueError("the clock goes from the year 1970 to 9998")
        self.offset = offset_seconds
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft = self.path.with_suffix(".draft")
            draft.write_text(json.dumps({"offset_seconds": offset_seconds}))
            draft.replace(self.path)  # whole or not at all: a kill in between must not cost the next start


def format_time(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, as the log shows it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
