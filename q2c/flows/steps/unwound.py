"""Whether people took an invoice back by a plan: what else would credit it waits for that plan, or isn't needed."""

from __future__ import annotations

from typing import Any

from q2c.canonical import schema
from q2c.canonical.unwinding import Unwinding
from q2c.core.problems import Awaits
from q2c.flows.steps.originals import UNWINDING_FLOW


def want_plan(connection: str, invoice_id: str) -> tuple[str, Any]:
    """The newest plan about an invoice, and what became of it."""
    return "fact", (UNWINDING_FLOW, connection, invoice_id)


def find_last_plan(connection: str, invoice_id: str, links: Any) -> Unwinding | None:
    """The plan that took an invoice back for good: all of it is credited, and it isn't posted again. None where none
    did. Waits for one that is under way."""
    key = (UNWINDING_FLOW, connection, invoice_id)
    fact, state = links.fact(*key), links.state(*key)
    if fact is None or state == "cancelled":
        return None
    plan: Unwinding = schema.from_json(fact, Unwinding)
    if state != "completed":
        raise Awaits(f"unwinding:{connection}:{invoice_id}", f"{plan.invoice_number} to be taken back by its plan")
    return None if plan.reposts else plan
