"""Whether people took a journal of cash back by a plan: what would take it back once more waits for that plan, or isn't
needed. Of one that was given up half way people decide first."""

from __future__ import annotations

from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import Dispute, Payout
from q2c.canonical.unwinding import Reversal
from q2c.core.problems import Awaits, NotNeeded
from q2c.flows.steps import half_way
from q2c.flows.steps.half_way import REVERSAL_FLOW
from q2c.flows.told import record_key
from q2c.posting.facts import Book
from q2c.posting.reversing import LATER, inside

WITHDRAWN = "withdrawn"  # the first movement of a dispute


def want_reversal(document: Any) -> list[tuple[str, Any]]:
    """The newest plan about the first movement of what this takes back, and where that stands; nothing of a first
    one."""
    if document.movement not in LATER:
        return []
    source = document.source
    return [("fact", (REVERSAL_FLOW, source.connection, source.object_id)), ("xref", first_record(document))]


def first_record(document: Dispute | Payout) -> tuple[str, str]:
    """Our record of the first movement of what this takes back."""
    key = record_key(document.source)
    return document.source.object_type, f"{key}:{WITHDRAWN}" if isinstance(document, Dispute) else key


def check_first(document: Dispute | Payout, book: Book, links: Any) -> None:
    """Money comes back of something whose journal stands. Raises NotNeeded where people took that journal back for
    good in this book: its opposite would be booked twice. Waits for a plan that is under way. Raises Problem
    `plan_half_done` where one was given up after its opposite was posted, and people didn't point it at another
    journal."""
    if document.movement not in LATER:
        return
    source = document.source
    key = (REVERSAL_FLOW, source.connection, source.object_id)
    fact, state = links.fact(*key), links.state(*key)
    left = half_way.find_left(*key, links) if state == "cancelled" else ""
    if fact is None or (state == "cancelled" and not left):
        return
    plan: Reversal = schema.from_json(fact, Reversal)
    if plan.erp != book.connection or plan.object_type != source.object_type:
        return
    if left and plan.reposts:
        record = (plan.record_type, plan.record_key)
        if half_way.stands_elsewhere(record, plan.erp, plan.journal.document, links):
            return
        name, named = inside(plan.name), {"connection": source.connection, "document": source.object_id}
        raise half_way.refuse(name, left, **named)
    if state != "completed" and not left:
        raise Awaits(waits_for(plan), f"{plan.name} to be taken back by its plan")
    if not plan.reposts:
        raise NotNeeded(f"{plan.name} was taken back by a plan, so nothing of it comes back in the ERP")


def waits_for(plan: Reversal) -> str:
    """What such a movement waits for."""
    return f"reversal:{plan.source.connection}:{plan.object_id}"
