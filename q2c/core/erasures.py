"""The right to delete: a customer is erased by destroying their keys, agreed to by two, never under a legal hold and
never while a case rests on what would go.

What those keys sealed can't be read again: messages, requests and answers, files, and archives of months. Amounts,
hashes and the audit chain stay and still verify. What comes later can't be read either, also under an id that had no
key yet, or that was linked meanwhile. An erasure that a hold stands against is refused by the database, one of a
customer of whom work is open (`open_work`) here; where both people agreed that it may wait, it's carried out as soon
as nothing stands in its way.
"""

from __future__ import annotations

import structlog
from django.db import connection
from django.db.models import QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import access, approvals, audit, open_work
from q2c.core.customer_keys import ErasureRefused, bar_keyless_ids, destroy_key
from q2c.core.models import CustomerKey, Erasure, Person, Proposal

log = structlog.get_logger(__name__)
KIND, SUBJECT = "erase_customer", "erasure"
PROPOSE, APPROVE = "core.propose_keeping", "core.approve_keeping"
State = Erasure.State


def keys_of(customer: str) -> QuerySet[CustomerKey]:
    """The keys of a customer (connection:id) by every id of theirs that stand."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k.id FROM core_customerkey k JOIN unnest(q2c_customer_ids(%s)) c"
            " ON c = k.connection_code || ':' || k.customer_id",
            [customer],
        )
        ids = [row[0] for row in cursor.fetchall()]
    return CustomerKey.objects.filter(pk__in=ids, destroyed_at=None).order_by("pk")


def propose_erasure(
    customer: str, *, by: Person, name: str = "", matter: str, why: str, may_wait: bool = False, held_by: str = ""
) -> Erasure:
    """Propose to erase a customer. `held_by` says which holds stand against it now: then it's refused, as while work of
    theirs is open, unless it may wait until nothing stands in its way. Raises ErasureRefused, or ApprovalRefused
    without a reason."""
    if access.entities_where(by, PROPOSE) is not None:
        raise ErasureRefused("A customer is erased in every entity: somebody whose role holds for all proposes it.")
    if not keys_of(customer).exists():
        raise ErasureRefused("Nothing is sealed under a key of this customer, or they were erased already.")
    if Erasure.objects.filter(customer=customer, state__in=(State.PROPOSED, State.WAITING)).exists():
        raise ErasureRefused("It was asked for already, and waits.")
    if held_by and not may_wait:
        raise ErasureRefused(f"Not while it stands: {held_by}. Let it wait for the release, or ask whoever placed it.")
    if (work := open_work.of_customer(customer)) and not may_wait:
        raise ErasureRefused(_while_open(work))
    with atomic():
        erasure = Erasure.objects.create(
            customer=customer, customer_name=name, matter=matter, why=why, may_wait=may_wait, proposed_by=by,
            proposed_at=timezone.now(),
        )  # fmt: skip
        content = {
            "customer": name or customer, "by_the_id": customer, "request": matter,
            "what_happens": "Their keys are destroyed. Messages, requests, files and archived rows of this customer "
            "can’t be read again, by nobody. Amounts, hashes and the audit chain stay.",
            "under_a_legal_hold": "It waits for the release." if may_wait else "It’s refused.",
            "while_work_is_open": "It waits until that is done." if may_wait else "It’s refused.",
            **({"held_now_by": held_by} if held_by else {}),
            **({"open_now": work.words} if work else {}),
        }  # fmt: skip
        erasure.proposal = approvals.propose(
            KIND, (SUBJECT, erasure.pk), content=content, by=by, title=f"Erase the customer {name or customer}",
            why=why, permission=APPROVE,
        )  # fmt: skip
        erasure.save(update_fields=["proposal"])
    return erasure


def apply_decision(proposal: Proposal, *, by: Person) -> None:
    """What was decided, in the transaction of its signature; also for one that was withdrawn. Raises ErasureRefused
    where a hold or open work stands against it and it may not wait: then nothing is signed."""
    erasure = Erasure.objects.select_for_update().get(pk=int(proposal.subject_id))
    if proposal.state != Proposal.State.APPROVED:
        erasure.state = State.DECLINED
        erasure.save(update_fields=["state"])
        return
    try:
        _erase(erasure, by=by)
    except ErasureRefused as held:
        if not erasure.may_wait:
            raise
        erasure.state = State.WAITING
        erasure.save(update_fields=["state"])
        audit.record(by, "erasure_waits", SUBJECT, erasure.pk, why=str(held), data={"customer": erasure.customer})


def withdraw(proposal: Proposal, *, by: Person, why: str = "") -> str:
    """Its proposer takes it back. Raises ApprovalRefused for anybody else, or when it's decided."""
    with atomic():
        state = approvals.withdraw(proposal, by=by, why=why)
        apply_decision(proposal, by=by)
    return state


def carry_waiting() -> int:
    """Carry out the erasures in whose way nothing stands any more. Returns how many."""
    done = 0
    for pk in Erasure.objects.filter(state=State.WAITING).order_by("pk").values_list("pk", flat=True):
        try:
            with atomic():
                erasure = Erasure.objects.select_for_update().get(pk=pk)
                if erasure.state == State.WAITING:
                    _erase(erasure, by=audit.PORTAL)
                    done += 1
        except ErasureRefused as held:
            log.info("an erasure waits on", erasure=pk, why=str(held))
    return done


def _erase(erasure: Erasure, *, by: Person | str) -> None:
    """Destroy every key of the customer, or none; an id that has no key never gets one. Raises ErasureRefused.

    What is open is asked for in one statement, in this transaction: a case opens on a message or a document that was
    open before it. What comes in at this very moment is as what comes later.
    """
    with atomic():
        barred = bar_keyless_ids(erasure.customer)
        if work := open_work.of_customer(erasure.customer):
            raise ErasureRefused(_while_open(work))
        keys = list(keys_of(erasure.customer))
        for key in keys:
            destroy_key(key.pk)
        erasure.state, erasure.done_at, erasure.key_count = State.DONE, timezone.now(), len(keys)
        erasure.save(update_fields=["state", "done_at", "key_count"])
        data = {"customer": erasure.customer, "keys": [key.pk for key in keys], "matter": erasure.matter,
                "barred": [f"{code}:{own}" for code, own in barred]}  # fmt: skip
        audit.record(by, "erase", SUBJECT, erasure.pk, why=erasure.why, data=data)


def _while_open(work: open_work.OpenWork) -> str:
    return f"Not while this is open, whose evidence it would destroy: {work.words}. Finish it, or let the erasure wait."
