"""How far a state has come: which of two states of one object is the later one when their clocks don't say. Pure.

Billing's clock counts seconds, so what follows within one second (created and active, finalized and paid) arrives with
equal instants in any order; and what we add ourselves (`posted`) has no place on billing's clock at all.
"""

from __future__ import annotations

PROGRESS = (
    # subscriptions
    ("scheduled", "incomplete"),
    ("trialing", "active", "past_due", "unpaid", "paused"),
    ("canceled", "incomplete_expired"),
    # invoices and what is paid of them
    ("open", "failed"),
    ("posted",),
    ("payment_failed",),
    ("uncollectible",),
    ("void", "paid"),
)
_RANKS = {state: rank for rank, states in enumerate(PROGRESS) for state in states}


def rank_of(state: str) -> int:
    """The place of a state among those of its kind; states that we don't rank are all the first."""
    return _RANKS.get(state, -1)
