"""Which writes of which flows may have nothing to write: what's played over them has each new one by itself."""

from __future__ import annotations

from typing import get_args

from q2c.flows import catalog
from q2c.transactions.steps import Flow, Write


def is_skippable(flow: Flow, write: Write) -> bool:
    """Whether what it sends may be nothing."""
    given = next((step.output_type for step in flow.steps if step.gives == write.prepared), None)
    return type(None) in get_args(given)


def skippable() -> list[tuple[Flow, Write]]:
    """Every write of every flow that may have nothing to write."""
    return [(flow, step) for flow in catalog.FLOWS for step in flow.steps
            if isinstance(step, Write) and is_skippable(flow, step)]  # fmt: skip
