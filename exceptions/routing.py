"""Which queue a case belongs to: the kind's owner, but what a vendor refuses belongs to whoever owns the flow. Pure."""

from __future__ import annotations

from exceptions.kinds import SALES_OPS, Kind

# Flows that carry what sales sold; everything else carries what billing billed.
_SALES_FLOWS = frozenset({"order_to_subscription", "order_to_sale", "status_to_crm"})


def queue_for(kind: Kind, *, flow: str) -> str:
    """The code of the queue."""
    return SALES_OPS if kind.follows_flow and flow in _SALES_FLOWS else kind.owner
