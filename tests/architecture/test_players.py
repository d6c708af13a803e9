"""Every connector plays in the journeys and every flow has a scene, so that what can go wrong is tried with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from connectors import registry
from connectors.families import Family
from q2c.flows import catalog
from tests.journeys.scene import Scene
from tests.journeys.scenes import MORE_STAGES, STAGES
from tests.journeys.vendors import PARTS, parts, player_of, usual
from tests.journeys.vendors.player import Player

FOLDER = "tests/journeys/vendors"


def lacking_players(declared: Mapping[str, Player | None]) -> Iterator[str]:
    """The connectors that no journey knows, or knows as something else than their manifest says."""
    for vendor, player in declared.items():
        families = [family for family in registry.manifest(vendor).families if family in PARTS]
        if player is None:
            says = " and ".join(PARTS[family].__name__ for family in families) or "Player"
            yield (
                f"connectors/{vendor} plays in no journey: write {FOLDER}/{vendor}.py with a class of {says} and"
                f" PLAYER, as {FOLDER}/{usual().of(families[0]).vendor if families else 'netsuite'}.py does"
            )
        elif {*parts(player)} != {*families}:
            yield (
                f"{FOLDER}/{vendor}.py: PLAYER plays {_named(parts(player))}, and connectors/{vendor}/manifest.py says"
                f" {_named(families)}: derive its class from {', '.join(PARTS[f].__name__ for f in families)}"
            )


def lacking_traces(players: Iterable[Player], stages: Mapping[str, type[Scene]]) -> Iterator[str]:
    """The flows whose last write a player doesn't show in its log."""
    for player in players:
        for name, stage in stages.items():
            if stage(name, usual()).writes_to in parts(player) and name not in player.traces:
                yield (
                    f"{FOLDER}/{player.vendor}.py: traces lack {name}: write the Trace of its last write, the record in"
                    f" the sandbox's log and its request"
                )


def lacking_scenes(flows: Iterable[str], stages: Mapping[str, type[Scene]]) -> Iterator[str]:
    """The flows that nobody plays, and scenes of what is no flow."""
    for code in flows:
        if code not in stages:
            yield (
                f"the flow {code} has no scene: write a Scene that makes one fact of it and its line in STAGES of"
                f" tests/journeys/scenes.py, and in {FOLDER} the Trace of its last write"
            )
    yield from (f"tests/journeys/scenes.py: {name} is a scene of no flow" for name in stages if name not in {*flows})


def _named(families: Iterable[Family]) -> str:
    return ", ".join(family.value for family in families) or "nothing"


DECLARED = {vendor: player_of(vendor) for vendor in registry.vendors()}


def test_every_connector_plays_in_the_journeys():
    assert [*lacking_players(DECLARED)] == []


def test_every_flow_has_a_scene():
    assert [*lacking_scenes(catalog.BY_CODE, STAGES)] == []


def test_every_player_shows_the_last_write_of_every_flow_of_its_roles():
    assert [*lacking_traces(filter(None, DECLARED.values()), {**STAGES, **MORE_STAGES})] == []


def test_what_lacks_is_said_in_a_sentence_that_names_the_file_and_what_to_write():
    class Bare(type(DECLARED["netsuite"])):
        traces = {}

    assert [*lacking_players({"netsuite": None, "stripe": DECLARED["netsuite"]})] == [
        "connectors/netsuite plays in no journey: write tests/journeys/vendors/netsuite.py with a class of PlaysErp and"
        " PLAYER, as tests/journeys/vendors/netsuite.py does",
        "tests/journeys/vendors/stripe.py: PLAYER plays erp, and connectors/stripe/manifest.py says billing, payments:"
        " derive its class from PlaysBilling, PlaysPayments",
    ]
    assert [*lacking_scenes(["invoice_to_erp"], {})] == [
        "the flow invoice_to_erp has no scene: write a Scene that makes one fact of it and its line in STAGES of"
        " tests/journeys/scenes.py, and in tests/journeys/vendors the Trace of its last write"
    ]
    one = {name: STAGES[name] for name in ("invoice_to_erp", "order_to_subscription")}
    assert [*lacking_traces([Bare()], one)] == [
        "tests/journeys/vendors/netsuite.py: traces lack invoice_to_erp: write the Trace of its last write, the record"
        " in the sandbox's log and its request"
    ]
