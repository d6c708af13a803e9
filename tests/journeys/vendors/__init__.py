"""Who plays in the journeys: one module per connector, found by looking. A new vendor's module brings it all scenes of
its roles."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from functools import cache

from connectors import registry
from connectors.families import Family
from q2c.demo.seed import SYSTEMS, System
from tests.journeys.vendors.player import Player, PlaysBilling, PlaysCrm, PlaysErp, PlaysPayments

PARTS: dict[Family, type[Player]] = {
    Family.CRM: PlaysCrm,
    Family.BILLING: PlaysBilling,
    Family.PAYMENTS: PlaysPayments,
    Family.ERP: PlaysErp,
}


@dataclass(frozen=True)
class Cast:
    """Who plays which role in a journey."""

    crm: PlaysCrm
    billing: PlaysBilling
    payments: PlaysPayments
    erp: PlaysErp

    def of(self, family: Family) -> Player:
        """Who plays this role."""
        found: Player = getattr(self, family.value)
        return found

    def players(self) -> list[Player]:
        """Everybody once."""
        return list({player.code: player for player in (self.crm, self.billing, self.payments, self.erp)}.values())

    def systems(self) -> dict[Family, System]:
        """As the demo's seed takes it."""
        return {family: System(self.of(family).code, self.of(family).vendor) for family in PARTS}


@cache
def players() -> dict[str, Player]:
    """Everybody who is declared, by their connections' codes."""
    found = (player_of(vendor) for vendor in registry.vendors())
    return {player.code: player for player in found if player is not None}


def player_of(vendor: str) -> Player | None:
    """The declaration of a connector; None where nobody wrote one."""
    name = f"{__name__}.{vendor}"
    if importlib.util.find_spec(name) is None:
        return None
    found: Player = importlib.import_module(name).PLAYER
    return found


def usual() -> Cast:
    """Who plays in the demo."""
    return Cast(**{family.value: players()[SYSTEMS[family].code] for family in PARTS})  # type: ignore[arg-type]


def casts(*roles: Family) -> list[Cast]:
    """The usual cast, and for each other player of one of these roles the usual one with them in all that they play."""
    first = usual()
    others = [player for player in players().values() if player not in first.players() and {*roles} & {*parts(player)}]
    return [first, *(replace(first, **{family.value: player for family in parts(player)}) for player in others)]


def parts(player: Player) -> list[Family]:
    """The roles that they play."""
    return [family for family, part in PARTS.items() if isinstance(player, part)]
