"""Pausing work and resuming it: per flow, legal entity and object type, at once, with a reason, audited.

It's the kill switch too: nothing of it is claimed from then on, and what a worker has claimed already (up to a batch)
is carried. Nothing is refused meanwhile: facts are taken up and queue.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import IntegrityError
from django.db.models import Min, Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import access, audit
from q2c.core.htmx import Counted, count_rows
from q2c.core.models import Person
from q2c.flows.catalog import BY_CODE, FLOWS
from q2c.transactions import pauses
from q2c.transactions.models import BusinessTransaction, Pause
from q2c.transactions.selectors import FINAL, OPEN, transactions_visible_to
from q2c.transactions.steps import Flow

PERMISSION = "transactions.pause_work"
OBJECT_TYPES = tuple(sorted({flow.lane_type for flow in FLOWS if flow.lane_type}))
CATCH_UP_SECONDS = 1.5
ENDED_MAX = 20


def flows_of(pause: Pause) -> list[Flow]:
    """The flows that a pause is about."""
    return [
        flow for flow in FLOWS if pause.flow in ("", flow.code) and pause.object_type in ("", flow.lane_type)
    ]  # fmt: skip


def words_of(pause: Pause) -> str:
    """What is paused, in words: "Invoice to ERP of GB01"."""
    what = BY_CODE[pause.flow].title if pause.flow in BY_CODE else pause.flow
    if not what:
        what = f"Everything about {pause.object_type.replace('_', ' ')}s" if pause.object_type else "Everything"
    return f"{what} of {pause.legal_entity_code}" if pause.legal_entity_code else what


def pause_work(*, by: Person, reason: str, flow: str = "", legal_entity: str = "", object_type: str = "") -> Pause:
    """Carry nothing of it any more. Raises ValueError for what can't be paused, or is already."""
    wanted = Pause(
        flow=flow, legal_entity_code=legal_entity, object_type=object_type, reason=reason, by=by.username,
        at=timezone.now(),
    )  # fmt: skip
    if not flows_of(wanted):
        raise ValueError("No flow carries that object type; choose one of the two.")
    try:
        with atomic():
            wanted.save()
            audit.record(by, "pause", "work", wanted.pk, why=reason, data={"what": words_of(wanted)})
    except IntegrityError as error:
        raise ValueError(f"{words_of(wanted)} is paused already.") from error
    return wanted


def resume_work(pause: Pause, *, by: Person, reason: str) -> list[str]:
    """Carry it again, what waited in its order. Returns the flows to nudge: none when it was resumed already."""
    with atomic():
        locked = Pause.objects.select_for_update().get(pk=pause.pk)
        if locked.resumed_at is not None:
            return []
        now = timezone.now()
        locked.resumed_at, locked.resumed_by, locked.resume_reason = now, by.username, reason
        locked.caught_up_at = None if locked.legal_entity_code else now
        locked.save()
        audit.record(by, "resume", "work", locked.pk, why=reason, data={"what": words_of(locked)})
    return [flow.code for flow in flows_of(locked)]


def catch_up() -> list[str]:
    """Make due again what resumed pauses had set aside, in pieces, for a while; beat goes on with it. Returns the flows
    to nudge."""
    until, flows = time.monotonic() + CATCH_UP_SECONDS, set()
    for pause in Pause.objects.filter(caught_up_at=None, resumed_at__isnull=False).order_by("id"):
        concerned = flows_of(pause)
        while (count := pauses.bring_back(pause, concerned)) and time.monotonic() < until:
            if count < pauses.AT_ONCE:
                break
        flows |= {flow.code for flow in concerned}
    return sorted(flows)


def pauses_seen_by(user: Any, *, entity: str = "") -> list[Pause]:
    """The pauses that hold work now, of the entities that a person sees, or of one of them (and of all); the oldest
    first, each with its `words`. One statement."""
    rows = _seen_by(user).filter(resumed_at=None)
    if entity:
        rows = rows.filter(legal_entity_code__in=["", entity])
    return _told(rows.order_by("at"))


def pauses_over(user: Any, txn: BusinessTransaction) -> list[Pause]:
    """The pauses that hold this document now; none of one that has ended, or that a person must look at first."""
    if txn.state in (*FINAL, "held"):
        return []
    found = pauses_seen_by(user, entity=txn.legal_entity_code)
    return [pause for pause in found if txn.flow in {flow.code for flow in flows_of(pause)}]


def ended_seen_by(user: Any) -> list[Pause]:
    """The newest pauses that were resumed, each with its `words`."""
    return _told(_seen_by(user).filter(resumed_at__isnull=False).order_by("-id")[:ENDED_MAX])


def _seen_by(user: Any) -> QuerySet[Pause]:
    seen = access.entities_of(user, "transactions.view_transaction")
    return Pause.objects.all() if seen is None else Pause.objects.filter(legal_entity_code__in=["", *seen])


def _told(rows: QuerySet[Pause]) -> list[Pause]:
    found = list(rows)
    for pause in found:
        pause.words = words_of(pause)  # type: ignore[attr-defined]
    return found


def waiting_behind(user: Any, pause: Pause) -> tuple[Counted, Any]:
    """How many documents that the person sees wait behind a pause, and since when the oldest does."""
    rows = _behind(transactions_visible_to(user), pause)
    return count_rows(rows), rows.aggregate(oldest=Min("created_at"))["oldest"]


def _behind(rows: QuerySet[BusinessTransaction], pause: Pause) -> QuerySet[BusinessTransaction]:
    found = rows.filter(OPEN, ~Q(state="held"), flow__in=[flow.code for flow in flows_of(pause)]).order_by()
    return found.filter(legal_entity_code=pause.legal_entity_code) if pause.legal_entity_code else found
