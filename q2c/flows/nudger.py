"""Nudging the inbox from a web process: in a thread of its own, coalesced, so a broker that is away delays nobody."""

from __future__ import annotations

import threading
import time

from celery import current_app
from kombu.exceptions import KombuError
from redis import RedisError

COALESCED_SECONDS = 0.05
TASK = "q2c.inbox.carry_events"  # its name decides its queue; the task stands in q2c.flows.tasks

_wanted = threading.Event()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def nudge_inbox() -> None:
    """Say that the inbox has something to translate. Returns at once; a lost nudge costs the seconds until beat's."""
    global _thread
    _wanted.set()
    if _thread is None or not _thread.is_alive():
        with _lock:
            if _thread is None or not _thread.is_alive():
                _thread = threading.Thread(target=_nudge_forever, name="inbox-nudger", daemon=True)
                _thread.start()


def _nudge_forever() -> None:
    while True:
        _wanted.wait()
        _wanted.clear()
        try:
            current_app.send_task(TASK, retry=False, expires=60, ignore_result=True)
        except (KombuError, RedisError, OSError):
            time.sleep(1.0)  # the broker is away; beat nudges too
        time.sleep(COALESCED_SECONDS)
