"""Orders of our own API come in through the inbox like all others: canonical JSON of the connection "api"."""

from __future__ import annotations

from typing import Any

from connectors.families import Family
from connectors.manifest import Context, Limits, Manifest, Means, Repeats
from q2c.canonical import events
from q2c.canonical.schema import from_json

API_CODE = "api"
API_ORDER_PREFIX = "api-"  # of the ids that we give to orders: no CRM knows such an order


def _order_closed_won(raw: bytes, context: Context) -> list[Any]:
    return [from_json(raw, events.OrderClosedWon)]


API_MANIFEST = Manifest(
    code=API_CODE,
    name="Our own API",
    families=(Family.CRM,),
    settings=(),
    limits=Limits(at_once=1),
    repeats=Repeats(),
    errors=(),
    events={"OrderClosedWon": Means(_order_closed_won)},
)
