"""Who must agree to a bulk action, by the rules that a single repost or waiver asks too; and the minute to undo it,
which begins once all have.

What is signed is the frozen set: its hash over every document and attempt, with its money. The set itself can't change;
a document that moves until it's carried drops out alone.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

from django.utils import timezone

from exceptions.freezing import WAYS, BulkRefused
from exceptions.kind_words import REPOST, WAIVE
from exceptions.models import BulkAction, BulkItem
from exceptions.resolving import rules
from q2c.core import approvals
from q2c.core.clocks import database_now
from q2c.core.models import Person, Proposal

KIND = "bulk_action"
UNDO_SECONDS = 60
State = BulkAction.State


def begin_or_ask(action: BulkAction, *, by: Person) -> None:
    """Begin the minute, or propose it where the rules ask for a signature. Stores the action; its row is locked by the
    caller."""
    pending = action.items.filter(result=BulkItem.Result.PENDING)
    asked = rules.asked_for(action.what, _facts(pending)) if action.what in (REPOST, WAIVE) else None
    approval = asked.approval if asked else None
    if asked is None or approval is None:
        _begin(action)
        return
    action.state, action.confirmed_at = State.ASKED, timezone.now()
    action.keep()
    count = action.item_count - action.refused_count
    noun = "document" if count == 1 else "documents"
    approvals.propose(
        KIND, (KIND, action.pk), content=_content(action, asked, pending), by=by, why=action.why,
        title=f"{WAYS[action.what].verb} {count:,} {noun} at once, {action.number}",
        permission=approval.permission, signatures=approval.signatures, also=approval.also,
        legal_entities=approvals.concerned(row[2] for row in action.totals if row[5]),
    )  # fmt: skip


def proposal_of(action: BulkAction) -> Proposal | None:
    """What waits, or waited, for a second person."""
    found = Proposal.objects.filter(kind=KIND, subject_type=KIND, subject_id=str(action.pk))
    return found.select_related("proposed_by").order_by("-id").first()


def apply_decision(proposal: Proposal, state: str) -> None:
    """All have signed: the minute begins. Or one refused, or it's void: nothing is done. Call it in the transaction of
    the signature. Raises BulkRefused when its author took the action back meanwhile."""
    action = BulkAction.objects.select_for_update().get(pk=int(proposal.subject_id))
    if action.state != State.ASKED:
        raise BulkRefused(f"{action.number} isn’t waiting for a signature any more.")
    if state == Proposal.State.APPROVED:
        _begin(action)
    else:
        action.state, action.ended_at = State.UNDONE, timezone.now()
        action.keep()


def _begin(action: BulkAction) -> None:
    now = database_now()
    action.confirmed_at = action.confirmed_at or now
    action.state, action.starts_at = State.WAITING, now + dt.timedelta(seconds=UNDO_SECONDS)
    action.keep()


def _facts(items: Any) -> list[dict[str, Any]]:
    rows = items.values_list("legal_entity_code", "amount", "currency")
    return [
        {"legal_entity": entity, "amount": amount, "currency": currency}
        for entity, amount, currency in rows.order_by("id").iterator(chunk_size=5000)
    ]


def _content(action: BulkAction, asked: rules.Asked, items: Any) -> dict[str, Any]:
    seal = hashlib.sha256()
    for transaction, version in items.order_by("id").values_list("transaction_id", "version").iterator(chunk_size=5000):
        seal.update(f"{transaction}:{version}\n".encode())
    money = [
        f"{entity or 'No entity'} {period}: {count:,} of {flow.replace('_', ' ')}, {currency} {amount}".strip()
        for _, flow, entity, period, currency, may_act, count, amount in action.totals
        if may_act
    ]
    return {
        "action": action.number, "resolution": action.what, "chosen": action.chosen_words, "documents": money,
        "by_the_mappings_of_then": action.as_then, "reason_code": action.code,
        "asked": asked.as_content(), "set_hash": seal.hexdigest(),
    }  # fmt: skip
