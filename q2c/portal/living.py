"""Which processes live, what has to and doesn't, and what stands still without it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from q2c.core import brokers
from q2c.core.leases import BEAT, WORKER
from q2c.core.models import Lease
from q2c.flows.schedules import QUEUES
from q2c.transactions.models import Worker
from q2c.transactions.workers import LAPSES_SECONDS

WORKER_OF = "Worker of"
GONE_FOR = dt.timedelta(hours=1)  # a process that ended is shown for so long
BROKER = "Broker"
NO_BROKER = (
    "No work is nudged, so nothing is carried until it’s back; webhooks are taken, and nothing is lost. Where a call "
    "goes out all the same, workers divide the slots among themselves, each process keeps to a quarter of the rate, "
    "and has a breaker and a probe of its own."
)
# What stands still without a worker of a queue, while documents that are here are carried all the same.
STANDS_WITHOUT = {
    "doors": "messages aren’t read and no system is polled",
    "reconciliation": "nobody is alerted, and nothing is compared, anchored or added up",
}


@dataclass(frozen=True)
class Process:
    """A process: what it does, where, whether it lives, and since when not; what its absence means."""

    part: str
    where: str
    state: str
    until: dt.datetime | None = None
    carried: int | None = None
    says: str = ""
    queues: tuple[str, ...] = ()  # of a worker


def processes() -> list[Process]:
    """The broker, beat and the workers by their leases, and the processes of theirs that carry documents; those that
    ended lately too."""
    now = timezone.now()
    is_up, place = brokers.answered(settings.REDIS_URL), brokers.place_of(settings.REDIS_URL)
    found = [Process(BROKER, place, "lives") if is_up else Process(BROKER, place, "gone", says=NO_BROKER)]
    for lease in Lease.objects.filter(until__gt=now - GONE_FOR).order_by("name"):
        queues, _, _ = lease.name.removeprefix(WORKER).partition("@")
        is_worker = lease.name.startswith(WORKER)
        part = f"{WORKER_OF} {queues.replace('+', ', ')}" if is_worker else lease.name.capitalize()
        state, taken = "lives" if lease.until > now else "gone", tuple(queues.split("+")) if is_worker else ()
        found.append(Process(part, lease.holder, state, lease.until, queues=taken))
    lapses = dt.timedelta(seconds=LAPSES_SECONDS)
    for worker in Worker.objects.filter(beat_at__gt=now - GONE_FOR).order_by("host", "process"):
        until, where = worker.beat_at + lapses, f"{worker.host}:{worker.process}"
        state = "lives" if until > now else "ended"  # its lease tells whether it should live
        found.append(Process("Carries documents", where, state, until, worker.carried_count))
    return found


def missing_parts(found: Iterable[Process]) -> list[str]:
    """What has to live and doesn't: the broker, a worker of each queue, beat."""
    found = list(found)
    living, alone = [process.part for process in found if process.state == "lives"], _without_worker(found)
    missing = [] if BROKER in living else ["the broker doesn’t answer"]
    if alone:
        missing.append(f"no worker of {' or '.join(alone)} lives" if len(alone) < len(QUEUES) else "no worker lives")
    return missing if BEAT.capitalize() in living else [*missing, "beat doesn’t live"]


def standstill(found: Iterable[Process]) -> str:
    """What stands still where something is missing: nothing is carried, or what the queue without a worker is for."""
    found = list(found)
    alone = _without_worker(found)
    is_whole = {BROKER, BEAT.capitalize()} <= {process.part for process in found if process.state == "lives"}
    if not is_whole or not set(alone) <= STANDS_WITHOUT.keys():
        return "nothing is carried"
    return "; ".join(STANDS_WITHOUT[queue] for queue in alone)


def _without_worker(found: Iterable[Process]) -> list[str]:
    taken = {queue for process in found if process.state == "lives" for queue in process.queues}
    return [queue for queue in QUEUES if queue not in taken]
