"""Whether people took a journal of cash back by a plan: what would take it back once more waits for that plan, or isn't
needed."""

from __future__ import annotations

from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import Dispute, Payout
from q2c.canonical.unwinding import Reversal
from q2c.core.problems import Awaits, NotNeeded
from q2c.posting.facts import Book
from q2c.posting.reversing import LATER

REVERSAL_FLOW = "reversal_to_erp"


def want_reversal(document: Any) -> list[tuple[str, Any]]:
    """The newest plan about the first movement of what this takes back; nothing of a first one."""
    if document.movement not in LATER:
        return []
    return [("fact", (REVERSAL_FLOW, document.source.connection, document.source.object_id))]


def check_first(document: Dispute | Payout, book: Book, links: Any) -> None:
    """Money comes back of something whose journal stands. Raises NotNeeded where people took that journal back for
    good in this book: its opposite would be booked twice. Waits for a plan that is under way."""
    if document.movement not in LATER:
        return
    source = document.source
    key = (REVERSAL_FLOW, source.connection, source.object_id)
    fact, state = links.fact(*key), links.state(*key)
    if fact is None or state == "cancelled":
        return
    plan: Reversal = schema.from_json(fact, Reversal)
    if plan.erp != book.connection or plan.object_type != source.object_type:
        return
    if state != "completed":
        raise Awaits(waits_for(plan), f"{plan.name} to be taken back by its plan")
    if not plan.reposts:
        raise NotNeeded(f"{plan.name} was taken back by a plan, so nothing of it comes back in the ERP")


def waits_for(plan: Reversal) -> str:
    """What such a movement waits for."""
    return f"reversal:{plan.source.connection}:{plan.object_id}"
