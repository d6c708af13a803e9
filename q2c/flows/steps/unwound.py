"""Whether people took an invoice back by a plan: what else would credit it waits for that plan, or isn't needed. Of one
that was given up half way people decide first."""

from __future__ import annotations

from typing import Any

from q2c.canonical import schema
from q2c.canonical.unwinding import Unwinding
from q2c.core.problems import Awaits
from q2c.flows.steps import half_way
from q2c.flows.steps.originals import UNWINDING_FLOW


def want_plan(connection: str, invoice_id: str) -> tuple[str, Any]:
    """The newest plan about an invoice, and what became of it."""
    return "fact", (UNWINDING_FLOW, connection, invoice_id)


def want_place(connection: str, invoice_id: str) -> tuple[str, Any]:
    """Where the invoice stands in the ERP, which `check_half_way` asks."""
    return "xref", _record(connection, invoice_id)


def check_half_way(connection: str, invoice_id: str, links: Any) -> None:
    """Raises Problem `plan_half_done` where the newest plan about an invoice was given up after its credit memo was
    posted and before it was posted again, unless people pointed the invoice at another document since."""
    left = half_way.find_left(UNWINDING_FLOW, connection, invoice_id, links)
    if not left:
        return
    plan: Unwinding = schema.from_json(links.fact(UNWINDING_FLOW, connection, invoice_id), Unwinding)
    if plan.reposts and not half_way.stands_elsewhere(
        _record(connection, invoice_id), plan.erp, plan.erp_invoice, links
    ):
        raise half_way.refuse(plan.invoice_number, left, connection=connection, document=plan.invoice_number)


def _record(connection: str, invoice_id: str) -> tuple[str, str]:
    return "invoice", f"{connection}:invoice:{invoice_id}"


def find_last_plan(connection: str, invoice_id: str, links: Any) -> Unwinding | None:
    """The plan that took an invoice back for good: all of it is credited, and it isn't posted again. None where none
    did. Waits for one that is under way. One that was given up after its credit memo took it back for good too, unless
    it was to be posted again (`check_half_way`)."""
    key = (UNWINDING_FLOW, connection, invoice_id)
    fact, state = links.fact(*key), links.state(*key)
    left = half_way.find_left(*key, links) if state == "cancelled" else ""
    if fact is None or (state == "cancelled" and not left):
        return None
    plan: Unwinding = schema.from_json(fact, Unwinding)
    if state != "completed" and not left:
        raise Awaits(f"unwinding:{connection}:{invoice_id}", f"{plan.invoice_number} to be taken back by its plan")
    return None if plan.reposts else plan
