"""What people do with back-fills: make one, start it after its dry run, pause, resume and cancel it.

A back-fill runs again what we stored, or reads again what a system has. Its dry run is obligatory and recent; who must
agree is told by whoever starts it (the governed rules are known further up). What is signed is bound to the dry run.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.transaction import atomic
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from mappings.kinds import Approval
from q2c.core import access, approvals, audit
from q2c.core.clocks import database_now
from q2c.core.models import Person, Proposal
from q2c.flows.backfill_files import Given
from q2c.flows.backfill_gathering import ITEMS_MAX
from q2c.flows.backfill_running import KIND, PERMISSION, UNREAD, let_go
from q2c.inbox.models import Backfill, BackfillItem

VIEW = "inbox.view_event"
FRESH = dt.timedelta(hours=24)
PACE_MAX, PACE = 6_000, 600  # messages a minute
State, Source, Finding = Backfill.State, Backfill.Source, BackfillItem.Finding
TAKEN = (Finding.POSTS, Finding.WAITS)  # carried in any case
CHOSEN = (Finding.HELD, Finding.DIFFERS)  # carried where whoever starts it says so
TAKES_SAY: dict[str, str] = {
    Finding.POSTS: "what will post", Finding.WAITS: "what will wait first", Finding.HELD: "what would be held",
    Finding.DIFFERS: "what differs from what we hold",
}  # fmt: skip
OPEN = (State.GATHERING, State.TRYING, State.TRIED, State.ASKED, State.RUNNING, State.PAUSED)


class BackfillRefused(ValueError):
    """Why it can't be, in words for the screen."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What somebody wants to be run again. `filters` may name event_type, legal_entity, verdict, flow and state; `ids`
    are rows of a file with the id in each."""

    source: str
    since: dt.datetime
    until: dt.datetime
    connection: Connection | None = None
    stream: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    ids: Sequence[Given] = ()
    words: str = ""


def make(plan: Plan, *, by: Person, why: str) -> Backfill:
    """A back-fill whose rows are gathered and tried at once, by a worker. Nothing is carried before somebody starts it.

    Raises BackfillRefused: without the right, without a reason, of a time that ends before it begins, of what a system
    can't give again.
    """
    mine = access.entities_where(by, PERMISSION)
    if mine is not None and not mine:
        raise BackfillRefused("Your role doesn’t run back-fills.")
    if not why.strip():
        raise BackfillRefused("Say why.")
    if plan.since >= plan.until:
        raise BackfillRefused("Its first day comes after its last one.")
    if len(plan.ids) > ITEMS_MAX:
        raise BackfillRefused(f"The file has {len(plan.ids):,} ids; up to {ITEMS_MAX:,} are taken. Split it.")
    if plan.source == Source.AGAIN:
        if plan.connection is None:
            raise BackfillRefused("Say which system is read again.")
        if mine is not None:
            raise BackfillRefused("A system is read again for all entities, and your role is for some of them.")
        ranges = registry.ranges_of(plan.connection.vendor)
        if not ranges:
            raise BackfillRefused(f"{plan.connection.name} can’t be read again. Replay what we stored of it.")
        if not plan.ids and plan.stream not in ranges:
            raise BackfillRefused(f"Say what of {plan.connection.name} is read again.")
    now = database_now()
    with atomic():
        made = Backfill.objects.create(
            source=plan.source, connection=plan.connection, stream="" if plan.ids else plan.stream, since=plan.since,
            until=plan.until, asked=dict(plan.filters), by_ids=bool(plan.ids), words=plan.words[:300], why=why,
            limited_to=None if mine is None else sorted(mine), made_by=by, made_at=now, due_at=now,
        )  # fmt: skip
        BackfillItem.objects.bulk_create(
            (
                BackfillItem(
                    backfill=made, row=g.row, given=g.id, says=g.fault, finding=Finding.REFUSED if g.fault else ""
                )
                for g in plan.ids
            ),
            batch_size=1000,
        )
        audit.record(by, "make", "backfill", made.pk, why=why, data={"what": made.words, "ids": len(plan.ids)})
    return made


def try_again(backfill: Backfill, *, by: Person) -> None:
    """Let the dry run find out anew. Raises BackfillRefused once it was started."""
    with atomic():
        own = _own(backfill, by)
        if own.state != State.TRIED:
            raise BackfillRefused("Only what was tried and not started is tried again.")
        rows = own.items.exclude(code="too_old").exclude(event_id=None, body=None)  # found, and not too old
        rows.update(finding="", code="", says="", document_key="", transaction_id=None)
        own.state, own.tried_at = State.TRYING, None
        own.save(update_fields=["state", "tried_at"])
        audit.record(by, "try_again", "backfill", own.pk)


def documents_of(backfill: Backfill, takes: Iterable[str]) -> list[dict[str, Any]]:
    """The documents that would be carried, as the rules about who agrees take them."""
    rows = backfill.items.filter(finding__in=list(takes)).values("legal_entity_code", "currency")
    return [
        {"legal_entity": row["legal_entity_code"], "amount": row["total"] or Decimal(0), "currency": row["currency"]}
        for row in rows.annotate(total=Sum("amount")).order_by("legal_entity_code", "currency")
    ]


def start(
    backfill: Backfill, *, by: Person, why: str, takes: Iterable[str], per_minute: int, approval: Approval | None,
    asked: Mapping[str, Any],
) -> Backfill:  # fmt: skip
    """Start it, or propose it where somebody has to agree (`approval`, with the words of the rule in `asked`).

    Raises BackfillRefused: somebody else's, not tried lately, with nothing to carry, without a reason or the right.
    """
    wanted = sorted({*TAKEN, *(t for t in takes if t in CHOSEN)})
    with atomic():
        own = _own(backfill, by)
        if own.state != State.TRIED or own.tried_at is None:
            raise BackfillRefused("Its dry run comes first.")
        if own.tried_at < timezone.now() - FRESH:
            raise BackfillRefused("Its dry run is older than a day. Try it again, then start it.")
        if not why.strip():
            raise BackfillRefused("Say why.")
        if not 1 <= per_minute <= PACE_MAX:
            raise BackfillRefused(f"From 1 to {PACE_MAX:,} messages a minute.")
        if not own.items.filter(finding__in=wanted).exists():
            raise BackfillRefused("There is nothing in it to carry.")
        own.takes, own.per_minute = wanted, per_minute
        if approval is None:
            _run(own, by=by, why=why)
        else:
            own.state = State.ASKED
            approvals.propose(
                KIND, (KIND, own.pk), content=content_of(own, asked), by=by, why=why,
                title=f"Carry {own.items.filter(finding__in=wanted).count():,} messages again, {own.number}",
                permission=approval.permission, signatures=approval.signatures, also=approval.also,
                legal_entities=_entities(own), evidence_at=own.tried_at,
            )  # fmt: skip
        own.save(update_fields=["takes", "per_minute", "state", "started_at", "released_at"])
    return own


def content_of(own: Backfill, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is signed: what is carried, its money, and a hash over each message with what the dry run found of it."""
    rows = own.items.filter(finding__in=own.takes)
    money = rows.values("legal_entity_code", "flow", "currency").annotate(n=Count("pk"), total=Sum("amount"))
    documents = [
        f"{r['legal_entity_code'] or 'No entity'}: {r['n']:,} of {r['flow'].replace('_', ' ') or 'no flow'}"
        + (f", {r['currency']} {r['total']:,.2f}" if r["total"] is not None else "")
        for r in money.order_by("legal_entity_code", "flow", "currency")
    ]
    return {
        "back_fill": own.number, "what": own.words, "documents": documents,
        "carries": ", ".join(TAKES_SAY[t] for t in own.takes), "messages_a_minute": own.per_minute,
        "asked": dict(asked),
        "set_hash": set_hash(own),
    }  # fmt: skip


def set_hash(own: Backfill) -> str:
    """SHA-256 over every row in order: its message, what was found of it, its amount."""
    seal = hashlib.sha256()
    rows = own.items.order_by("id").values_list("event_id", "dedupe_key", "finding", "amount", "currency")
    for row in rows.iterator(chunk_size=5000):
        seal.update("|".join(map(str, row)).encode() + b"\n")
    return seal.hexdigest()


def proposal_of(backfill: Backfill) -> Proposal | None:
    """What waits, or waited, for a second person."""
    found = Proposal.objects.filter(kind=KIND, subject_type=KIND, subject_id=str(backfill.pk))
    return found.select_related("proposed_by").order_by("-id").first()


def lock_before_signing(proposal: Proposal) -> None:
    """Lock the back-fill before its proposal is signed, as whoever starts, cancels or forgets it does."""
    Backfill.objects.select_for_update().get(pk=int(proposal.subject_id))


def apply_decision(proposal: Proposal, state: str) -> None:
    """All have signed: it begins. Or one refused, or its dry run was too old: it stays tried, and what isn't asked for
    any more stays as it is. Call it in the transaction of the signature. Raises BackfillRefused when what was approved
    isn't what was signed any more."""
    own = Backfill.objects.select_for_update().get(pk=int(proposal.subject_id))
    if own.state != State.ASKED:
        if state != Proposal.State.APPROVED:
            return
        raise BackfillRefused(f"{own.number} isn’t waiting for a signature any more.")
    if state != Proposal.State.APPROVED:
        own.state = State.TRIED
    elif set_hash(own) != proposal.content["set_hash"]:
        raise BackfillRefused(f"{own.number} isn’t what was proposed any more.")
    else:
        _run(own, by=proposal.proposed_by, why=proposal.why)
    own.save(update_fields=["state", "started_at", "released_at"])


def pause(backfill: Backfill, *, by: Person) -> None:
    """Give the intake no more of it for now; what it was given goes on. Raises BackfillRefused unless it runs."""
    _turn(backfill, by, State.RUNNING, State.PAUSED, "pause")


def resume(backfill: Backfill, *, by: Person) -> None:
    """Go on where it was. Raises BackfillRefused unless it is paused."""
    _turn(backfill, by, State.PAUSED, State.RUNNING, "resume")


def cancel(backfill: Backfill, *, by: Person, why: str) -> None:
    """End it: what the intake was given goes on, the rest isn't carried. Raises BackfillRefused once it has ended."""
    with atomic():
        own = _visible(backfill, by)
        if own.state not in OPEN and own.state != State.FAILED:
            raise BackfillRefused(f"{own.number} has ended already.")
        proposal = proposal_of(own)
        if own.state == State.ASKED and proposal is not None and proposal.state == Proposal.State.PROPOSED:
            if proposal.proposed_by_id != by.pk:
                raise BackfillRefused("It waits for a signature: reject it there, or let its author cancel it.")
            approvals.withdraw(proposal, by=by, why=why or f"{own.number} was cancelled")
        let_go(own, by=by, why=why)


def backfills_visible_to(user: Any) -> QuerySet[Backfill]:
    """The back-fills that may concern a person's entities. Of their rows each sees those of their own entities."""
    codes = access.entities_of(user, VIEW)
    rows = Backfill.objects.select_related("made_by", "connection")
    return rows if codes is None else rows.filter(Q(limited_to=None) | Q(limited_to__overlap=sorted(codes)))


def items_visible_to(user: Any, backfill: Backfill) -> QuerySet[BackfillItem]:
    """Its rows of the person's entities; a row without one for people of all, and for whoever made it."""
    rows = backfill.items.all()
    if backfill.made_by_id == user.pk and access.entities_of(user, VIEW) is not None:
        mine = access.visible_q(user, permission=VIEW)
        return rows.filter(mine) | rows.filter(legal_entity_code="")
    return access.visible_to(user, rows)


def may_act(user: Any, backfill: Backfill) -> bool:
    """Whether a person may pause, resume or cancel it: whoever runs back-fills of all its entities."""
    mine = access.entities_where(user, PERMISSION)
    if mine is None:
        return True
    return bool(mine) and backfill.limited_to is not None and set(backfill.limited_to) <= mine


def _run(own: Backfill, *, by: Any, why: str) -> None:
    own.state, own.released_at = State.RUNNING, None
    own.started_at = timezone.now()
    own.items.exclude(finding__in=own.takes).update(**UNREAD)  # nor is it ever tried again
    facts = {"carries": own.takes, "per_minute": own.per_minute, "hash": set_hash(own)}
    audit.record(by, "start", "backfill", own.pk, why=why, data=facts)


def _turn(backfill: Backfill, by: Person, before: str, after: str, verb: str) -> None:
    with atomic():
        own = _visible(backfill, by)
        if own.state != before:
            raise BackfillRefused(f"{own.number} isn’t {before} any more.")
        own.state = after
        own.save(update_fields=["state"])
        audit.record(by, verb, "backfill", own.pk)


def _visible(backfill: Backfill, by: Person) -> Backfill:
    """Its row, locked. Raises BackfillRefused for whoever may not act on it."""
    own = Backfill.objects.select_for_update().get(pk=backfill.pk)
    if not may_act(by, own):
        raise BackfillRefused("Your role doesn’t act on it.")
    return own


def _own(backfill: Backfill, by: Person) -> Backfill:
    own = _visible(backfill, by)
    if own.made_by_id != by.pk:
        raise BackfillRefused("Somebody else made it, and starts it.")
    return own


def _entities(own: Backfill) -> list[str]:
    rows = own.items.filter(finding__in=own.takes).order_by().values_list("legal_entity_code", flat=True)
    return approvals.concerned(rows.distinct())
