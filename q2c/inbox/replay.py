"""Run a stored message again, with a reason. What it became already is found by its business key, not made twice."""

from __future__ import annotations

from typing import Any

from django.db.transaction import atomic

from q2c.core import audit
from q2c.core.clocks import database_now
from q2c.core.models import CustomerKey, Person
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.inbox.window import Windows

ERASED = "Its customer was erased, so it can’t be read again."


class ReplayRefused(ValueError):
    """Why a message isn't run again, in words for the screen."""


class TooOld(ReplayRefused):
    """It's beyond its replay window."""


class Erased(ReplayRefused):
    """Its customer was erased."""


def is_of_no_use(key: InboundKey) -> bool:
    """Whether running it again would change nothing, since its customer was erased. One that was refused for another
    reason isn't: its case gives way to one that says so, and can be waived."""
    if key.customer_key_id is None or (key.verdict == InboundKey.Verdict.REFUSED and key.reason_code != "erased"):
        return False
    return CustomerKey.objects.filter(pk=key.customer_key_id, destroyed_at__isnull=False).exists()


def replay_event(event_id: Any, *, by: Person, reason: str) -> bool:
    """Give the message back to the translator, its verdict open again. False when it waits to be read anyway.

    Raises ValueError without a reason, TooOld beyond its window, Erased for a customer's who was erased, and
    InboundKey.DoesNotExist for a message that isn't there, or no longer.
    """
    if not reason.strip():
        raise ValueError("say why")
    with atomic():
        key = InboundKey.objects.select_for_update().filter(event_id=event_id).order_by("id").first()
        event = InboundEvent.objects.defer("headers", "body").select_related("connection").filter(pk=event_id).first()
        if key is None or event is None:
            raise InboundKey.DoesNotExist
        if key.verdict == InboundKey.Verdict.RECEIVED:
            return False
        said = event.connection.code, event.event_type
        if too_old := Windows([said]).why_not(*said, event.received_at):
            raise TooOld(too_old)
        if is_of_no_use(key):
            raise Erased(ERASED)
        audit.record(
            by, "replay", "event", event_id, why=reason, data={"verdict": key.verdict, "reason": key.reason_code}
        )
        key.verdict, key.reason_code, key.reason = InboundKey.Verdict.RECEIVED, "", ""
        key.decided_at, key.attempt_count, key.available_at = None, 0, database_now()
        key.is_backfill = False  # of one message somebody waits for it
        key.save(update_fields=[
            "verdict", "reason_code", "reason", "decided_at", "attempt_count", "available_at", "is_backfill"
        ])  # fmt: skip
    return True
