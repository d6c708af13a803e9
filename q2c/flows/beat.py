"""Beat of which any number may run: a lease row lets one of them fire (two beats would fire everything twice)."""

from __future__ import annotations

import structlog
from django.db import Error, close_old_connections
from django_celery_beat.schedulers import DatabaseScheduler

from q2c.core.leases import BEAT, release_lease, take_lease, this_process

log = structlog.get_logger(__name__)

LEASE_SECONDS = 8.0  # after the death of the one that fires, another takes over within this and one tick
TICK_SECONDS_MAX = 2.0


class OneBeatScheduler(DatabaseScheduler):
    """The editable schedules of django-celery-beat, fired by the holder of the lease only."""

    sync_every = 20  # seconds until the last runs are written, for the screen of schedules

    def __init__(self, *args, **kwargs):
        self.is_holder = False
        super().__init__(*args, **kwargs)
        self.max_interval = TICK_SECONDS_MAX  # a tick also renews the lease

    def tick(self, *args, **kwargs):
        """Fire what is due if the lease is ours; the seconds until the next tick."""
        if not self._holds_lease():
            return TICK_SECONDS_MAX
        return min(super().tick(*args, **kwargs), TICK_SECONDS_MAX)

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
                self._initial_read, self._heap = True, None  # much may have changed while we stood by
            self.is_holder = holds
        return holds
