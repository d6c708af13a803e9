"""What a scene is: one flow with a cast on stage, and what the vendor's log must hold of it. Tests that are played over
scenes (`over`) have each new flow and each new vendor by themselves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest

from connectors.families import Family
from q2c import ports
from q2c.flows import catalog
from q2c.transactions.steps import Flow, Write
from tests.journeys.house import House
from tests.journeys.vendors import PARTS, Cast, Player, casts
from tests.journeys.vendors.player import Trace

EVERY_FLOW = os.environ.get("Q2C_EVERY_FLOW") == "1"


class Scene:
    """One flow's stage: prepare once, act per mishap, and the documents of its last write to count at the vendor."""

    begins_at: ClassVar[tuple[Family, ...]] = (Family.BILLING,)  # who is on stage besides whom it's written to
    side_by_side: ClassVar[bool] = True  # whether several facts can be on their way at once: not those of one lane
    each: ClassVar[int] = 1  # how many such writes one fact makes when nothing goes wrong
    prefix: ClassVar[str] = ""  # of the external ids, where another flow writes documents of the same type

    def __init__(self, name: str, cast: Cast) -> None:
        self.name, self.cast = name, cast  # a flow's second scene has a word behind its code

    @property
    def code(self) -> str:
        """Its flow's."""
        return self.name.partition("-")[0]

    @property
    def flow(self) -> Flow:
        """The flow."""
        return catalog.BY_CODE[self.code]

    @property
    def last_write(self) -> Write:
        """The step whose documents are counted."""
        return [step for step in self.flow.steps if isinstance(step, Write)][-1]

    @property
    def writes_to(self) -> Family:
        """The role of whom it's written to."""
        return ports.FAMILY_OF.get(self.last_write.port, self.begins_at[0])

    @property
    def roles(self) -> tuple[Family, ...]:
        """Whom it needs, from the first to whom it's written to."""
        return tuple(dict.fromkeys((*self.begins_at, self.writes_to)))

    @property
    def player(self) -> Player:
        """Whom it's written to."""
        return self.cast.of(self.writes_to)

    @property
    def vendor(self) -> str:
        """Whose sandbox that is."""
        return self.player.vendor

    @property
    def trace(self) -> Trace:
        """How its last write looks there."""
        return self.player.traces[self.name]

    def prepare(self, house: House) -> Any:
        """What every act needs."""
        return house.customer()

    def act(self, house: House, prepared: Any, point: str) -> None:
        """Make one fact of this flow."""
        raise NotImplementedError

    def made(self, house: House) -> list[dict[str, Any]]:
        """What the vendor's own log says that we made, changed or deleted: an entry for each time."""
        found = house.made(self.vendor, self.trace.record, self.trace.effect)
        return [e for e in found if self.is_own(e) and not e["path"].startswith("/_control/")]

    def records(self, house: House) -> set[str]:
        """Which records those are."""
        return {e["id"] for e in self.made(house)}

    def arrived(self, house: House) -> Counter[str]:
        """How many such writes came to the vendor's door, by what became of them. One whose sign-in was refused wasn't
        looked at, and comes again."""
        found = house.arrived(self.vendor, self.trace.method, self.trace.arrives_at)
        return Counter(e["verdict"] for e in found if self.is_own(e) and e["status"] != 401)

    def wanted(self, facts: int = 1, *, unheard: int = 0, refused: int = 0) -> Counter[str]:
        """What arrives of so many facts: each write once, and again where it wasn't carried out (`refused`), or where
        nobody heard that it was and nothing can be looked up (`unheard`)."""
        again = self.trace.again
        return Counter(done=self.each * facts, refused=refused) + Counter({again: unheard if again else 0})

    def logged(self, wanted: Counter[str], facts: int = 1) -> int:
        """How many entries of the vendor's log that makes, of so many facts: what is sent again to a record that was
        made meanwhile changes it, and makes none."""
        return self.each * facts if self.trace.effect == "created" else wanted["done"]

    def is_own(self, entry: dict[str, Any]) -> bool:
        """Whether it's of this flow."""
        return (entry["external_id"] or "").startswith(self.prefix)

    def meet(self, house: House, do: str, *, looking: bool = False, nth: int | None = None, times: int | None = None,
             **fault: Any) -> str:  # fmt: skip
        """The last write meets a fault, or the look-up for it. Returns its id."""
        method, path = ("GET", self.trace.look) if looking else (self.trace.method, self.trace.path)
        when = {"method": method, "path": path, "nth": nth, "times": times}
        return house.fault(self.vendor, do, when={n: v for n, v in when.items() if v is not None}, **fault)

    def meet_refusal(self, house: House, **when: int) -> None:
        """The last write is refused."""
        refusal = self.trace.refusal
        self.meet(house, "status", status=400, **when, **({} if refusal is None else {"body": refusal}))

    def __repr__(self) -> str:
        return "-".join([self.name, *dict.fromkeys(self.cast.of(family).code for family in self.roles)])


def over(scenes: Iterable[Scene], *, rarely: Iterable[str] = ()) -> pytest.MarkDecorator:
    """Play a test for each of these scenes, each with its cast; `make check-all` alone plays those that are
    named as rare."""
    return pytest.mark.parametrize(("scene", "cast"), as_params(scenes, rarely=rarely), indirect=["cast"])


def with_each_cast() -> pytest.MarkDecorator:
    """Play a test that is about no flow alone once with the usual cast, and once with each other player in it."""
    params = [pytest.param(cast, id="-".join(player.code for player in cast.players())) for cast in casts(*PARTS)]
    return pytest.mark.parametrize("cast", params, indirect=True)


def as_params(scenes: Iterable[Scene], *more: Any, rarely: Iterable[str] = ()) -> list[Any]:
    """The scenes as parameters `scene`, `cast` and what else is given."""
    rare, marks = frozenset(rarely), [pytest.mark.check_all]
    return [
        pytest.param(scene, scene.cast, *more, id="-".join([repr(scene), *map(str, more)]),
                     marks=marks if scene.name in rare else ())
        for scene in scenes
    ]  # fmt: skip
