"""Legal holds: what somebody may have to show is neither dropped, erased nor deleted while a hold on it stands.

One person proposes a hold or its release, another agrees; the database asks for both (`LegalHold`). What a hold covers
is said once, by the owner's functions (migration 0014), which retention, erasure and deletion ask (decision 0049).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.transaction import atomic, on_commit
from django.utils import timezone

from q2c.core import access, approvals, audit
from q2c.core.erasures import KIND as ERASURE
from q2c.core.keeping_tables import HOLDS_LOCK
from q2c.core.models import LegalHold, Person, Proposal
from q2c.core.tasks import look_at_holds

HOLD, RELEASE = "legal_hold", "hold_release"
KINDS = (HOLD, RELEASE)
VIEW, PROPOSE, APPROVE = "core.view_keeping", "core.propose_keeping", "core.approve_keeping"
SUBJECT = "legal_hold"
State = LegalHold.State
# The types of lanes in which something is made of a document; its own hold covers them (migration 0015).
MADE_OF_ONE = ("invoice_void", "credit_note_void", "unwinding", "write_off", "accrual", "order_unwinding")
_LOCKS = {
    **dict.fromkeys(KINDS, "SELECT pg_advisory_xact_lock(%s)"), ERASURE: "SELECT pg_advisory_xact_lock_shared(%s)",
}  # fmt: skip


class HoldRefused(ValueError):
    """Why a hold can't be proposed or released so, in words for the screen."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a hold covers: all that is named here at once; nothing named is the whole house. `customer` is one of its
    ids (connection:id) and means all of them; a `lane` is a document with what was made of it under its own id, and
    goes with no customer and no days. A day is when it is dated or came in, in its entity's zone."""

    legal_entity: str = ""
    customer: str = ""
    customer_name: str = ""
    lane: str = ""
    document: str = ""
    first_day: dt.date | None = None
    last_day: dt.date | None = None


def holds_visible_to(user: Any) -> QuerySet[LegalHold]:
    """Holds of the person's entities; one that isn't of one entity is seen by people of all."""
    return LegalHold.objects.filter(access.visible_q(user, permission=VIEW))


def words_of(hold: LegalHold | Scope) -> str:
    """What a hold covers, for a sentence: all of GB01, dated or received from 1 Jan 2024 to 31 Dec 2024."""
    entity = hold.legal_entity_code if isinstance(hold, LegalHold) else hold.legal_entity
    if hold.lane:
        return f"{hold.document or hold.lane} with its voids, plans, accruals and write-offs"
    named = [
        f"the customer {hold.customer_name or hold.customer}" if hold.customer else "",
        f"the entity {entity}" if entity else "",
    ]
    about = " in ".join(name for name in named if name)
    said = f"All of {about}" if about else "The whole house"
    if hold.first_day:
        said += f", dated or received from {hold.first_day:%-d %b %Y}"
        said += f" to {hold.last_day:%-d %b %Y}" if hold.last_day else " on"
    return said


def propose_hold(scope: Scope, *, by: Person, name: str, matter: str, why: str, asked_by: str) -> LegalHold:
    """Propose a hold. Raises HoldRefused, or ApprovalRefused without a reason."""
    if scope.lane and (scope.customer or scope.first_day):
        raise HoldRefused("A hold on one document names no customer and no days.")
    if scope.last_day and (not scope.first_day or scope.last_day < scope.first_day):
        raise HoldRefused("Its last day comes after its first.")
    _check_reach(by, scope.legal_entity)
    with atomic():
        hold = LegalHold.objects.create(
            name=name, matter=matter, why=why, asked_by=asked_by, legal_entity_code=scope.legal_entity,
            customer=scope.customer, customer_name=scope.customer_name, lane=scope.lane, document=scope.document,
            first_day=scope.first_day, last_day=scope.last_day, proposed_by=by, proposed_at=timezone.now(),
        )  # fmt: skip
        content = {
            "hold": hold.number, "name": name, "matter": matter, "asked_by": asked_by, "covers": words_of(hold),
            "legal_entity": scope.legal_entity, "customer": scope.customer, "lane": scope.lane,
            "first_day": scope.first_day, "last_day": scope.last_day,
            "while_it_stands": "Nothing of it is dropped by retention, erased, or deleted.",
        }  # fmt: skip
        hold.proposal = approvals.propose(
            HOLD, (SUBJECT, hold.pk), content={name: value for name, value in content.items() if value}, by=by,
            title=f"Legal hold {hold.number}: {name}", why=why, permission=APPROVE,
            legal_entities=[scope.legal_entity] if scope.legal_entity else [],
        )  # fmt: skip
        hold.save(update_fields=["proposal"])
    return hold


def propose_release(hold: LegalHold, *, by: Person, why: str) -> Proposal:
    """Propose to release a hold. Raises HoldRefused, or ApprovalRefused without a reason."""
    _check_reach(by, hold.legal_entity_code)
    with atomic():
        locked = LegalHold.objects.select_for_update().get(pk=hold.pk)
        if locked.state != State.IN_FORCE:
            raise HoldRefused("It doesn’t stand any more." if locked.placed_at else "It was never placed.")
        if locked.release and locked.release.state == Proposal.State.PROPOSED:
            raise HoldRefused("Its release waits for a second person already.")
        content = {
            "hold": hold.number, "name": hold.name, "matter": hold.matter, "covered": words_of(hold),
            "once_released": "What it held back goes at the next run of retention, unless another hold covers it; "
            "erasures that waited for it are carried out.",
        }  # fmt: skip
        locked.release = approvals.propose(
            RELEASE, (SUBJECT, hold.pk), content=content, by=by, title=f"Release {hold.number}: {hold.name}", why=why,
            permission=APPROVE, legal_entities=[hold.legal_entity_code] if hold.legal_entity_code else [],
        )  # fmt: skip
        locked.save(update_fields=["release"])
    return locked.release


def lock_before_signing(kind: str) -> None:
    """Take the lock of holds before anything of this kind is signed or withdrawn, in that transaction: whoever drops or
    erases takes it before they audit, and a signature is audited before what it decides is put into force."""
    if kind not in _LOCKS:
        return
    with connection.cursor() as cursor:
        cursor.execute(_LOCKS[kind], [HOLDS_LOCK])


def apply_decision(proposal: Proposal, *, by: Person) -> None:
    """What was decided holds from now on, in the transaction of its signature; also for one that was withdrawn."""
    hold = LegalHold.objects.select_for_update().get(pk=int(proposal.subject_id))
    is_agreed = proposal.state == Proposal.State.APPROVED
    if proposal.kind == RELEASE:
        if is_agreed:
            _move(hold, State.RELEASED, by=by, released_at=timezone.now(), released_by=by)
            on_commit(_look_again, robust=True)
    elif is_agreed:
        _move(hold, State.IN_FORCE, by=by, placed_at=timezone.now(), placed_by=by)
        on_commit(_look_again, robust=True)
    else:
        _move(hold, State.DECLINED, by=by)


def withdraw(proposal: Proposal, *, by: Person, why: str = "") -> str:
    """Its proposer takes it back. Raises ApprovalRefused for anybody else, or when it's decided."""
    with atomic():
        lock_before_signing(proposal.kind)
        state = approvals.withdraw(proposal, by=by, why=why)
        apply_decision(proposal, by=by)
    return state


def holds_on_customer(customer: str) -> str:
    """The holds that keep a customer (connection:id) from being erased, by any id of theirs, in words; or ""."""
    return holds_on_customers([customer])[customer]


def holds_on_customers(customers: Collection[str]) -> dict[str, str]:
    """The same for several; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT wanted, q2c_hold_words(ARRAY(SELECT DISTINCT unnest(q2c_holds_on_customer(split_part(c, ':', 1),"
            " substr(c, strpos(c, ':') + 1))) FROM unnest(q2c_customer_ids(wanted)) c))"
            " FROM unnest(%s::text[]) AS wanted",
            [list(customers)],
        )
        return dict(cursor.fetchall())


def _look_again() -> None:
    """A worker says anew what stays, and carries out what waited; without one the daily run does."""
    look_at_holds.apply_async(retry=False, expires=600)


def _move(hold: LegalHold, state: str, *, by: Person, **facts: Any) -> None:
    hold.state = state
    for name, value in facts.items():
        setattr(hold, name, value)
    hold.save(update_fields=["state", *facts])
    proposal = hold.release if state == State.RELEASED else hold.proposal
    data = {"matter": hold.matter, "covers": words_of(hold), "proposal": proposal and proposal.pk}
    audit.record(by, f"hold_{state}", SUBJECT, hold.pk, why=proposal.why if proposal else "", data=data)


def _check_reach(by: Person, entity: str) -> None:
    mine = access.entities_where(by, PROPOSE)
    if mine is not None and entity not in mine:
        raise HoldRefused(f"Your role proposes holds for {', '.join(sorted(mine)) or 'no entity'} only: name one.")
