"""Which test proves which line of what can go wrong, over which flows and systems: read from the marks on the tests and
from what they're played over, printed as docs/scenarios.md.

python -m tests.architecture.scenarios > docs/scenarios.md
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.architecture.house import ROOT

TITLES = {
    1: "The ERP commits the invoice, the answer times out, we try again",
    2: "The same for credit memo, payment, refund, journal, customer",
    3: "A time-out while the ERP still works on it, and an early retry",
    4: "kill -9 after the answer, before our commit",
    5: "kill -9 after the intent is committed, before anything is sent",
    6: "The look-up itself fails, or doesn't show it yet",
    7: "Two workers take the same document at once, 200 rounds",
    8: "A customer is made and changed within 50 ms",
    9: "A double click on Repost; two people in two browsers",
    10: "The same idempotency key with another body",
    11: "Everything is read and replayed again after it was posted",
    12: "A task is delivered again while its first run is active",
    13: "A paused worker goes on after another one took over",
    14: "The same webhook five times at once",
    15: "`updated` comes before `created`",
    16: "An old event after a newer state",
    17: "A lost webhook is found by polling",
    18: "An event of an object that is deleted at the source",
    19: "Stored, processing failed, processed by a later run",
    20: "Bad signature, expired, rotated secret, body encoded anew",
    21: "One poisonous message among a hundred",
    22: "A message that kills its workers",
    23: "An event storm; each connection keeps its share",
    24: "More records of one instant than a page holds",
    25: "A record committed late with an earlier time",
    26: "A source that filters by date in its own time zone",
    27: "A page that is filtered to nothing",
    28: "A cursor older than the source keeps",
    29: "A crash in the middle of a window",
    30: "Page three of five fails",
    31: "A listing is suddenly empty",
    32: "A catalogue larger than the client's cap",
    33: "Two accounts are merged in the CRM",
    34: "The external record goes between mapping and posting",
    35: "A missing item mapping; mended, exactly its documents post",
    36: "A mapping changes while documents are in flight",
    37: "A fallback would apply",
    38: "A parent that isn't there yet",
    39: "Tax on the total against tax per line",
    40: "Currencies without and with three decimals",
    41: "Partial refund, partial credit and chargeback on one invoice",
    42: "A void after posting, and of what was never posted",
    43: "A credit note that makes a total negative",
    44: "Lines and invoices of zero",
    45: "The period closes between validation and posting",
    46: "Month ends, time zones, daylight saving, 29 February",
    47: "Rates that are missing or change",
    48: "Credit and rebill in the middle of a month, twice",
    49: "A late line after a summary was posted",
    50: "Status 200 with an error page, or with success: false",
    51: "A refusal never ends as success",
    52: "The breaker opens and drains",
    53: "The limiter's store is down",
    54: "A quota that is shared with others",
    55: "Fields that are extra, missing, renamed or null",
    56: "PostgreSQL goes away in mid-flight",
    57: "The broker is wiped or away",
    58: "Two beats",
    59: "Old and new workers side by side",
    60: "The database is restored from an older backup",
    61: "Nobody approves their own; roles removed; stale versions",
    62: "One cause on thousands of documents",
    63: "Attempts to change what is append-only",
    64: "Random interleavings keep every total",
}
HEAD = """# What can go wrong, and which test proves that it doesn't

Printed from the marks `@pytest.mark.scenario(number)` on the tests and from the scenes that they're played over:
`python -m tests.architecture.scenarios`. Journeys count in the vendors' own logs and look at what a person sees. A
scene is a flow between the systems that play its roles, so that a new flow and a new vendor have all of these tests by
themselves (`tests/journeys/README.md`).

| # | what goes wrong | proved by | over |
|---|---|---|---|
"""
SCENES_HEAD = """
## Each flow, with each of its systems

| flow | between | each time | by `make check-all` alone |
|---|---|---|---|
"""
FEW, MANY = 3, 10  # flows that are named where they're all, or that aren't where they lack


@dataclass(frozen=True)
class Proof:
    """A test of a scenario, and the scenes that it's played over, each time or by `make check-all` alone."""

    test: str
    scenes: tuple[Any, ...] = ()
    rarely: tuple[Any, ...] = ()
    not_for: Mapping[str, str] = field(default_factory=dict)  # flows that it can't befall, and why
    systems: tuple[str, ...] = ()  # with whom it's played, where it's about no flow
    of: str = ""  # what it's about, where that is no flow or one document


def read_proofs() -> dict[int, list[Proof]]:
    """The tests by the numbers on them."""
    found: dict[int, list[Proof]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.scenario(" in path.read_text():
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for name, test in vars(module).items():
                if name.startswith("test_") and getattr(test, "__module__", "") == module.__name__:
                    for number, proof in _proofs(f"{path.relative_to(ROOT)}::{name}", test):
                        found[number].append(proof)
    return found


def _proofs(name: str, test: Any) -> Iterator[tuple[int, Proof]]:
    marks = list(reversed(getattr(test, "pytestmark", ())))
    scenes, rarely = _scenes(mark for mark in marks if mark.name == "parametrize")
    for mark in marks:
        if mark.name == "scenario":
            for number in mark.args:
                yield number, Proof(name, scenes, rarely, systems=_casts(marks), **mark.kwargs)


def _scenes(parametrised: Iterable[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What a test is played over: each time, and by `make check-all` alone."""
    scenes: dict[bool, dict[Any, None]] = {False: {}, True: {}}
    for mark in parametrised:
        names = mark.args[0]
        if isinstance(names, tuple) and "scene" in names:
            for param in mark.args[1]:
                is_rare = any(each.name == "check_all" for each in param.marks)
                scenes[is_rare][param.values[names.index("scene")]] = None
    return tuple(scenes[False]), tuple(scenes[True])


def _casts(marks: Iterable[Any]) -> tuple[str, ...]:
    """The systems of the casts with whom a test is played that is about no flow alone."""
    played = [mark for mark in marks if mark.name == "parametrize" and mark.args[0] == "cast"]
    players = [player for mark in played for param in mark.args[1] for player in param.values[0].players()]
    return tuple(dict.fromkeys(_name_of(player) for player in players))


def flows_of(proofs: Iterable[Proof]) -> set[str]:
    """The flows over which these tests are played, by `make check-all` at least."""
    return {scene.code for proof in proofs for scene in (*proof.scenes, *proof.rarely)}


def reasons_of(proofs: Iterable[Proof]) -> dict[str, str]:
    """The flows that a scenario can't befall, and why."""
    return {flow: why for proof in proofs for flow, why in proof.not_for.items()}


def gaps(proofs: Mapping[int, list[Proof]], flows: Iterable[str]) -> list[str]:
    """What the marks don't say, in plain sentences."""
    found = []
    for number, tests in proofs.items():
        played, reasons = flows_of(tests), reasons_of(tests)
        where = f"scenario {number} ({tests[0].test})"
        if not played:
            if not any(proof.of for proof in tests):
                found.append(
                    f"{where} is played over no flow: write in a mark what it's about, `of=...`, or use `over`"
                )
            continue
        for flow in flows:
            if flow in played and flow in reasons:
                found.append(f"{where} is played over {flow}, of which a mark says that it can't befall it")
            if flow not in played and flow not in reasons:
                found.append(
                    f"{where} isn't played over {flow}: play it in `over(every_scene())`, or write in its mark why it"
                    f' can\'t befall it, `not_for={{"{flow}": "..."}}`'
                )
        found += [f"{where} names {flow}, which is no flow" for flow in sorted({*reasons} - {*flows})]
    return found


def print_page() -> str:
    """docs/scenarios.md as it should be."""
    proofs = read_proofs()
    rows = [
        f"| {number} | {title} | {_shown(proofs.get(number, []))} | {_over(proofs.get(number, []))} |"
        for number, title in TITLES.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + SCENES_HEAD + "\n".join(_scene_rows(proofs)) + "\n"


def _shown(proofs: list[Proof]) -> str:
    return "<br>".join(f"`{test}`" for test in dict.fromkeys(proof.test for proof in proofs))


def _over(proofs: list[Proof]) -> str:
    """The flows and systems of a scenario; without a flow what it's about."""
    from q2c.flows import catalog

    played, about = flows_of(proofs), list(dict.fromkeys(proof.of for proof in proofs if proof.of))
    systems = {name for proof in proofs for name in proof.systems}
    if not played:
        return "<br>".join(["; ".join(about), *([", ".join(sorted(systems))] if systems else [])])
    each_time = {scene.code for proof in proofs for scene in proof.scenes}
    said = "all flows" if played == {*catalog.BY_CODE} else f"{len(played)} of {len(catalog.BY_CODE)} flows"
    if len(played) <= FEW:
        said = ", ".join(f"`{code}`" for code in catalog.BY_CODE if code in played)
    if rare := played - each_time:
        said += f", {len(rare)} of them by `make check-all` alone" if rare != played else " by `make check-all` alone"
    flows: dict[str, list[str]] = defaultdict(list)
    for flow, why in reasons_of(proofs).items():
        flows[why].append(f"`{flow}`")
    no = [f"not {', '.join(those) if len(those) <= MANY else 'the others'}: {why}" for why, those in flows.items()]
    systems |= {name for proof in proofs for scene in (*proof.scenes, *proof.rarely) for name in _systems(scene)}
    return "<br>".join([said, *no, ", ".join(sorted(systems)), *about])


def _systems(scene: Any) -> list[str]:
    """The names of a scene's systems, from the first to the last."""
    families = (*scene.begins_at, scene.writes_to)
    return [name for name, _same in itertools.groupby(_name_of(scene.cast.of(family)) for family in families)]


def _name_of(player: Any) -> str:
    from connectors import registry

    return registry.manifest(player.vendor).name + (f" ({player.code})" if player.code != player.vendor else "")


def _scene_rows(proofs: Mapping[int, list[Proof]]) -> list[str]:
    from tests.journeys.scenes import every_scene

    often: dict[str, set[int]] = defaultdict(set)
    rarely: dict[str, set[int]] = defaultdict(set)
    for number, tests in proofs.items():
        for proof in tests:
            for numbers, scenes in ((often, proof.scenes), (rarely, proof.rarely)):
                for scene in scenes:
                    numbers[_named(scene)].add(number)
    return [
        f"| `{scene.code}` | {' → '.join(_systems(scene))} | {_numbers(often[_named(scene)])} |"
        f" {_numbers(rarely[_named(scene)] - often[_named(scene)])} |"
        for scene in every_scene()
    ]


def _named(scene: Any) -> str:
    return f"{scene.code} {[scene.cast.of(family).code for family in scene.roles]}"


def _numbers(found: set[int]) -> str:
    return ", ".join(map(str, sorted(found)))


if __name__ == "__main__":
    os.environ |= {"DJANGO_SETTINGS_MODULE": "q2c.settings", "Q2C_ENV": "test"}  # no server is needed to read marks
    import django

    django.setup()
    sys.stdout.write(print_page())
