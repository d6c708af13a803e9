"""How many calls at once are a worker's while Redis is away: the slots divided among the workers that live.

Each knows the others from its own beat in PostgreSQL, so nothing is asked for. Who comes after the last slot has none,
and waits; together they never exceed what the target takes at once. With Redis there, slots are leased
(`connectors.slots`).
"""

from __future__ import annotations

from q2c.transactions.workers import living_worker


def share_alone(at_once: int) -> int:
    """This process's share of a connection's slots, by the order of the workers' ids; one for a process that isn't a
    worker (a person's test of a connection)."""
    worker = living_worker()
    if worker is None:
        return 1
    share, rest = divmod(at_once, len(worker.peers))
    return share + (worker.peers.index(worker.id) < rest) if worker.id in worker.peers else 0
