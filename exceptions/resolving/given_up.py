"""What an invoice's plan had posted when people gave it up half way: no plan is begun over that again."""

from __future__ import annotations

from q2c.canonical import schema
from q2c.canonical.unwinding import Unwinding
from q2c.flows.steps.half_way import name_left
from q2c.posting.plans import Posted
from q2c.transactions.models import BusinessTransaction


def why_not_again(latest: BusinessTransaction, posted: Posted) -> str:
    """Why no plan is begun after this one, as a sentence; empty where it took nothing back before it was given up, and
    where people pointed the invoice at another document since."""
    left = name_left(latest.flow, latest.state, latest.target_type, latest.target_number or latest.target_id)
    if not left:
        return ""
    decided: Unwinding = schema.from_json(bytes(latest.fact), Unwinding)
    if posted.document != decided.erp_invoice:
        return ""
    return (
        f"A plan about {posted.number} was given up after it posted {left}, which stands in the ERP. Take it up again "
        "in the case that gave it up; or do there what is missing, and point the invoice’s cross-reference at it."
    )
