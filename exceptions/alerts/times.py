"""When a message is sent: not in quiet hours, or once a day at an hour that its reader chose. Pure."""

from __future__ import annotations

import datetime as dt
import zoneinfo


def after_quiet(
    now: dt.datetime, zone: zoneinfo.ZoneInfo, quiet_from: dt.time | None, quiet_until: dt.time | None
) -> dt.datetime:
    """The first instant from `now` on that isn't in the quiet hours, which may go over midnight."""
    if quiet_from is None or quiet_until is None or quiet_from == quiet_until:
        return now
    local = now.astimezone(zone)
    clock = local.time()
    over_midnight = quiet_from > quiet_until
    is_quiet = quiet_from <= clock or clock < quiet_until if over_midnight else quiet_from <= clock < quiet_until
    if not is_quiet:
        return now
    day = local.date() + dt.timedelta(days=over_midnight and clock >= quiet_from)
    return dt.datetime.combine(day, quiet_until, zone).astimezone(dt.UTC)


def next_digest(now: dt.datetime, zone: zoneinfo.ZoneInfo, hour: dt.time) -> dt.datetime:
    """The next time that the clock there shows that hour."""
    local = now.astimezone(zone)
    day = local.date() + dt.timedelta(days=local.time() >= hour)
    return dt.datetime.combine(day, hour, zone).astimezone(dt.UTC)
