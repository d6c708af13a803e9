"""While Redis is away: the slots of a connection divided among the workers that live."""

from __future__ import annotations

import pytest

from q2c.flows import governor


class Worker:
    def __init__(self, name: str, peers: tuple[str, ...]):
        self.id, self.peers = name, peers


@pytest.mark.parametrize(("workers", "shares"), [(1, [5]), (2, [3, 2]), (7, [1, 1, 1, 1, 1, 0, 0])])
def test_more_workers_than_slots_still_share_no_more_than_there_are(workers, shares, monkeypatch):
    peers = tuple(f"w{n}" for n in range(workers))
    given = []
    for name in peers:
        monkeypatch.setattr(governor, "living_worker", lambda name=name: Worker(name, peers))
        given.append(governor.share_alone(5))
    assert given == shares


def test_a_worker_that_the_others_take_for_dead_has_no_share(monkeypatch):
    monkeypatch.setattr(governor, "living_worker", lambda: Worker("paused", ("w1", "w2")))
    assert governor.share_alone(5) == 0


def test_a_process_that_is_no_worker_makes_one_call(monkeypatch):
    monkeypatch.setattr(governor, "living_worker", lambda: None)
    assert governor.share_alone(5) == 1
