"""Which torment strikes when: a pure function of the seed, so that a run can be told from its seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PARTS = ("web", "worker-1", "worker-2", "beat-1", "beat-2")
VENDORS = ("netsuite", "salesforce", "stripe")
GATES = (*VENDORS, "webhooks", "postgresql", "broker")
CALM_SECONDS = 5.0  # before the end nothing new begins


@dataclass(frozen=True)
class Blow:
    """One torment: when (seconds from the start), what, whom it hits, how long, and how much (its own unit)."""

    at: float
    torment: str
    aim: str
    seconds: float = 0.0
    amount: float = 0.0


Made = Callable[[random.Random, float], Blow]


def _on(torment: str, aims: tuple[str, ...], *, seconds: tuple[float, float] = (0, 0),
        amount: tuple[float, float] = (0, 0)) -> Made:  # fmt: skip
    def make(chance: random.Random, at: float) -> Blow:
        return Blow(
            at, torment, chance.choice(aims), round(chance.uniform(*seconds), 2), round(chance.uniform(*amount), 3)
        )

    return make


# Least and most seconds between two of a kind, and how one is made.
TORMENTS: dict[str, tuple[tuple[float, float], Made]] = {
    "kill": ((8, 25), _on("kill", PARTS)),
    "kill a child": ((8, 25), _on("kill a child", ("web", "worker-1", "worker-2"), amount=(0, 1))),
    "pause": ((10, 30), _on("pause", PARTS, seconds=(0.5, 18))),
    "restart PostgreSQL": ((5, 40), _on("restart PostgreSQL", ("postgresql",), seconds=(0, 3))),
    "wipe the broker": ((15, 45), _on("wipe the broker", ("broker",))),
    "stop the broker": ((25, 70), _on("stop the broker", ("broker",), seconds=(1, 12))),
    "cut": ((5, 15), _on("cut", GATES)),
    "shut": ((20, 50), _on("shut", GATES, seconds=(1, 10))),
    "delay": ((15, 40), _on("delay", GATES, seconds=(1, 10), amount=(0.02, 0.8))),
    "truncate": ((6, 20), _on("truncate", GATES, amount=(0, 600))),
    "answer late": ((15, 40), _on("answer late", VENDORS, seconds=(0.3, 12), amount=(1, 4))),
    "lose answers": ((8, 20), _on("lose answers", VENDORS, amount=(1, 4))),
    "refuse": ((20, 50), _on("refuse", VENDORS, amount=(1, 3))),
    "break down": ((15, 40), _on("break down", VENDORS, amount=(1, 5))),
    "throttle": ((15, 40), _on("throttle", VENDORS, amount=(1, 6))),
    "lie": ((15, 40), _on("lie", VENDORS, amount=(1, 3))),
    "cut answers short": ((15, 40), _on("cut answers short", VENDORS, amount=(1, 3))),
    "expire tokens": ((40, 90), _on("expire tokens", ("netsuite", "salesforce"))),
    "lose webhooks": ((20, 50), _on("lose webhooks", ("stripe", "salesforce"), amount=(1, 4))),
    "repeat webhooks": ((20, 50), _on("repeat webhooks", ("stripe", "salesforce"), amount=(1, 6))),
    "mix webhooks up": ((20, 50), _on("mix webhooks up", ("stripe",), seconds=(1, 6), amount=(1, 6))),
    "jump the vendors' clock": ((25, 60), _on("jump the vendors' clock", ("sandbox",), seconds=(2, 15),
                                                amount=(-90, 90))),
    "fill the disk": ((60, 150), _on("fill the disk", ("postgresql",), seconds=(1, 6))),
}  # fmt: skip


def make_plan(seed: int, seconds: float, *, without: tuple[str, ...] = ()) -> list[Blow]:
    """Every blow of a run in the order of time. What can't be had on this machine (`without`) moves nothing else."""
    blows = [blow for name in TORMENTS if name not in without for blow in _series(name, seed, seconds)]
    return sorted(blows, key=lambda blow: (blow.at, blow.torment))


def _series(name: str, seed: int, seconds: float) -> Iterator[Blow]:
    chance = random.Random(f"{seed} {name}")
    between, make = TORMENTS[name]
    at = chance.uniform(1, between[1])
    while at < seconds - CALM_SECONDS:
        yield make(chance, round(at, 2))
        at += chance.uniform(*between)
