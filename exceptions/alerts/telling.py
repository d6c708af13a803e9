"""One round: what opened is put into alerts, what is over is ended, what stays open is told again, and what is due is
sent."""

from __future__ import annotations

from exceptions.alerts import grouping, planning, reminding, sending
from q2c.core import leases

_LEASE_SECONDS = 120.0


def tell() -> int:
    """Tell people what is new. Returns how many messages were sent. One process does it at a time, so that of a storm
    that several workers see one alert is made."""
    me = leases.this_process()
    if not leases.take_lease("alerts", holder=me, seconds=_LEASE_SECONDS):
        return 0
    try:
        grouping.take_opened()
        planning.plan()
        planning.plan_all_clear(grouping.end_over())
        reminding.plan_reminders()
        return sending.send_due()
    finally:
        leases.release_lease("alerts", holder=me)
