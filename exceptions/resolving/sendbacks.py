"""Giving a case back to sales or billing with a message: their queue, nobody's yet, and what they're asked."""

from __future__ import annotations

from django.db.transaction import atomic

from exceptions import cases
from exceptions.kind_words import BILLING_OPS, SALES_OPS
from exceptions.models import ExceptionCase
from exceptions.resolutions import ResolutionRefused
from q2c.core import audit
from q2c.core.history import save_with_reason
from q2c.core.models import Person

TO = {SALES_OPS: "Sales operations", BILLING_OPS: "Billing operations"}


def send_back(case: ExceptionCase, *, by: Person, to: str, message: str) -> None:
    """Give the case to the queue of those who made the document, with what they're asked. Raises ResolutionRefused."""
    if not message.strip():
        raise ResolutionRefused("Say what they should do.")
    if to not in TO:
        raise ResolutionRefused("Choose sales or billing operations.")
    with atomic():
        locked = cases.lock_case(case.pk)
        if locked is None or not locked.is_open:
            raise ResolutionRefused(f"{case.number} is closed already.")
        if locked.queue == to:
            raise ResolutionRefused(f"It’s in the queue of {TO[to].lower()} already.")
        if locked.assignee_id is not None:
            locked.assignee = None
            save_with_reason(locked, why=f"sent back to {TO[to].lower()}", by=by)
        cases.escalate(locked, queue=to, why=f"Sent back to {TO[to].lower()}: {message}", by=by)
        audit.record(by, "send_back", "case", locked.pk, why=message, data={"queue": to})
