"""Beat of which any number may run: a lease row lets one of them fire (two beats would fire everything twice).

When something is due next is reckoned by this host's wall clock. Another host's may be ahead, and its own may be set
back: what was last done in a future is taken as done now, or nothing would fire until that future has come.
"""

from __future__ import annotations

import time

import structlog
from django.db import Error, close_old_connections
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from q2c.core.clocks import since_boot
from q2c.core.leases import BEAT, release_lease, take_lease, this_process

log = structlog.get_logger(__name__)

LEASE_SECONDS = 8.0  # after the death of the one that fires, another takes over within this and one tick
TICK_SECONDS_MAX = 2.0
SET_BACK_SECONDS = 1.0  # less is waited for
SAID_AGAIN_SECONDS = 60.0


class Entry(ModelEntry):
    """A schedule that was last fired at this host's now at the latest."""

    def __init__(self, model, app=None):
        super().__init__(model, app=app)
        self.last_run_at = model.last_run_at = min(self.last_run_at, self._default_now())


class OneBeatScheduler(DatabaseScheduler):
    """The editable schedules of django-celery-beat, fired by the holder of the lease only."""

    Entry = Entry
    sync_every = 20  # seconds until the last runs are written, for the screen of schedules

    def __init__(self, *args, **kwargs):
        self.is_holder = False
        self._wall = _wall_since_boot()
        self._unsent, self._is_said, self._said_at = 0, False, -SAID_AGAIN_SECONDS
        super().__init__(*args, **kwargs)
        self.max_interval = TICK_SECONDS_MAX  # a tick also renews the lease

    def tick(self, *args, **kwargs):
        """Fire what is due if the lease is ours; the seconds until the next tick."""
        if not self._holds_lease():
            return TICK_SECONDS_MAX
        before, self._wall = self._wall, _wall_since_boot()
        if self._wall < before - SET_BACK_SECONDS:
            log.warning("the clock was set back", seconds=round(before - self._wall))
            self._read_anew()
        return min(super().tick(*args, **kwargs), TICK_SECONDS_MAX)

    def apply_entry(self, entry, producer=None):
        """Send a nudge. Where the broker is away it's lost, as any nudge may be, and one line a minute says so."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # whatever a broker's client raises; the next round nudges again
            self._unsent += 1
            if since_boot() - self._said_at >= SAID_AGAIN_SECONDS:
                log.error("nudges can't be sent", reason=str(error)[:300], unsent=self._unsent)
                self._is_said, self._said_at = True, since_boot()
            return
        if self._is_said:
            log.info("nudges are sent again", unsent=self._unsent)
            self._unsent, self._is_said = 0, False

    def close(self):
        """Give the lease back, so that another beat goes on at once."""
        super().close()
        try:
            release_lease(BEAT, holder=this_process())
        except Error:  # the lease lapses by itself
            pass

    def _holds_lease(self) -> bool:
        close_old_connections()  # after a restart of the database the old connection is of no use
        try:
            holds = take_lease(BEAT, holder=this_process(), seconds=LEASE_SECONDS)
        except Error as error:
            log.warning("beat waits for the database", error=str(error))
            holds = False
        if holds != self.is_holder:
            log.info("beat fires" if holds else "another beat fires, this one stands by")
            if holds:
                self._read_anew()  # much may have changed while we stood by
            self.is_holder = holds
        return holds

    def _read_anew(self) -> None:
        self._initial_read, self._heap = True, None


def _wall_since_boot() -> float:
    """How far the wall clock is ahead of the clock that nobody sets."""
    return time.time() - since_boot()
