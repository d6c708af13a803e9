"""Nudges: one waits in the broker for each flow and for the inbox, however often they are nudged.

A nudge is marked as waiting until its task begins, and the mark goes before the first claim: whatever was committed
while it stood is seen by that claim, whatever comes later makes a new nudge. The inbox is nudged from a thread of the
web process's own, so a broker that is away delays nobody.
"""

from __future__ import annotations

import functools
import threading
import time

import redis
from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError
from redis import RedisError

from q2c.core.brokers import client_of
from q2c.core.clocks import HOSTS_APART_SECONDS

COALESCED_SECONDS = 0.05
ANSWERS_SECONDS = 0.5  # the broker is away when it takes longer: nothing may wait for it
WAITING_MS = 3000  # a nudge that the broker lost is forgotten after this
KEPT_SECONDS = 60 + HOSTS_APART_SECONDS  # a nudge that nobody took until then is dropped
INBOX = "inbox"
TASK = "q2c.inbox.carry_events"  # its name decides its queue; the task stands in q2c.flows.tasks

_wanted = threading.Event()
_lock = threading.Lock()
_thread: threading.Thread | None = None


@functools.cache
def broker() -> redis.Redis:
    """The broker's client, which gives up soon."""
    return client_of(settings.REDIS_URL, socket_timeout=ANSWERS_SECONDS, socket_connect_timeout=ANSWERS_SECONDS)


def mark_waiting(name: str) -> bool:
    """Whether a nudge must be sent: none waits in the broker. Raises RedisError when the broker is away."""
    return bool(broker().set(f"q2c:nudge:{name}", 1, nx=True, px=WAITING_MS))


def mark_begun(name: str) -> None:
    """The task of a nudge begins: whoever nudges from now on means work that it may not see."""
    try:
        broker().delete(f"q2c:nudge:{name}")
    except RedisError:
        return  # the mark lapses by itself


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
            if mark_waiting(INBOX):
                current_app.send_task(TASK, retry=False, expires=KEPT_SECONDS, ignore_result=True)
        except (KombuError, RedisError, OSError):
            time.sleep(1.0)  # the broker is away; beat nudges too
        time.sleep(COALESCED_SECONDS)
