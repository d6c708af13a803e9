"""The one way that two people agree: a proposal with fixed content, and signatures bound to its hash.

Nobody approves what they proposed, superusers included; the database says so too. `sign` returns the new state and the
caller applies what was agreed: no signal, no callback that could be forgotten. In an emergency one signature of the
emergency role stands for all of them; `q2c.core.emergencies` has its end and its review.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import audit, jcs
from q2c.core.access import entities_where, people_who_may, roles_with
from q2c.core.models import EMERGENCY_HOURS_MAX, EmergencyUse, Person, Proposal, Signature
from q2c.core.problems import Category, Problem
from q2c.core.sign_on import new_way

IN_EMERGENCY = "core.approve_emergency"
OVERRIDE = "override"  # the kind of proposals that let one transaction pass one problem
OF_KIND = "case_kind"  # in its content: the kind of the case that it's about
CONCERNS = "concerns"  # in a proposal's content: whose rights it is about, who therefore doesn't sign it
EVIDENCE_KEPT = dt.timedelta(hours=24)
State = Proposal.State


class ApprovalRefused(Exception):
    """Why this person can't do this to the proposal, in words for the screen. `code` tells the reasons apart."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Something to be proposed. `legal_entities` are those it concerns (none: all of them). Every signer holds
    `permission`, and one of them `also` too."""

    kind: str
    subject: tuple[str, object]
    content: Mapping[str, Any]
    title: str
    why: str
    permission: str
    signatures: int = 1
    also: str = ""
    legal_entities: Iterable[str] = ()
    evidence_at: dt.datetime | None = None


def concerned(entities: Iterable[str]) -> list[str]:
    """The entities for which a signer must hold the permission, of these documents or rules. None means every entity:
    who may sign for a document that has no entity (yet) is whoever may for all."""
    codes = set(entities)
    return [] if "" in codes else sorted(codes)


def propose(
    kind: str,
    subject: tuple[str, object],
    *,
    content: Mapping[str, Any],
    by: Person,
    title: str,
    why: str,
    permission: str,
    signatures: int = 1,
    also: str = "",
    legal_entities: Iterable[str] = (),
    evidence_at: dt.datetime | None = None,
) -> Proposal:
    """A proposal whose content is fixed from now on. Raises ApprovalRefused without a reason."""
    wish = Wish(
        kind=kind, subject=subject, content=content, title=title, why=why, permission=permission,
        signatures=signatures, also=also, legal_entities=legal_entities, evidence_at=evidence_at,
    )  # fmt: skip
    return propose_all([wish], by=by)[0]


def propose_all(wishes: Iterable[Wish], *, by: Person) -> list[Proposal]:
    """As `propose`, for many in few statements. Raises ApprovalRefused when one has no reason: then none is made."""
    made = [_proposal_of(wish, by) for wish in wishes]
    with atomic():
        Proposal.objects.bulk_create(made, batch_size=500)
        audit.record_all(
            audit.Act(
                actor=by, verb="propose", subject=(p.subject_type, p.subject_id), why=p.why,
                data={"proposal": p.pk, "hash": p.content_hash, "kind": p.kind},
            )
            for p in made
        )  # fmt: skip
    return made


def propose_afresh(wishes: Iterable[Wish], *, by: Person, stale: str) -> list[Proposal]:
    """As `propose_all`, but what stands with the same content stays, and what stands with another is void, as `stale`
    says. One wish per kind and subject. Returns what is new.
    """
    wished = {(w.kind, w.subject[0], str(w.subject[1])): w for w in wishes}
    if not wished:
        return []
    hashes = {key: jcs.content_hash(jcs.as_plain(w.content)) for key, w in wished.items()}
    with atomic():
        standing = Proposal.objects.select_for_update().filter(
            state=State.PROPOSED, kind__in={k for k, _, _ in wished}, subject_type__in={t for _, t, _ in wished},
            subject_id__in={i for _, _, i in wished},
        )  # fmt: skip
        by_key = [((p.kind, p.subject_type, p.subject_id), p) for p in standing.order_by("pk")]
        kept = {key for key, p in by_key if hashes.get(key) == p.content_hash}
        moved = [p for key, p in by_key if key in wished and hashes[key] != p.content_hash]
        Proposal.objects.filter(pk__in=[p.pk for p in moved]).update(
            state=State.VOID, decided_at=timezone.now(), void_reason=stale
        )
        audit.record_all(_voided(p, by=by, why=stale) for p in moved)
        return propose_all([w for key, w in wished.items() if key not in kept], by=by)


def why_not(proposal: Proposal, person: Person, *, in_emergency: bool = False) -> ApprovalRefused | None:
    """Why this person can't sign now, or None if they can: what a screen shows before anybody clicks."""
    if proposal.state != State.PROPOSED:
        return ApprovalRefused("decided", f"It was {proposal.state} meanwhile.")
    if proposal.proposed_by_id == person.pk:
        return ApprovalRefused("own", "You proposed it, so somebody else has to approve it.")
    if person.pk in proposal.content.get(CONCERNS, ()):
        return ApprovalRefused("own", "It’s about what you may do, so somebody else has to approve it.")
    if not person.is_active:
        return ApprovalRefused("inactive", "This account is closed.")
    if not _holds(person, IN_EMERGENCY if in_emergency else proposal.signer_permission, proposal):
        concerned = ", ".join(proposal.legal_entities) or "every entity"
        how = "in an emergency " if in_emergency else ""
        return ApprovalRefused("not_permitted", f"Your role doesn't approve this {how}for {concerned}.")
    signers = [s.signed_by for s in proposal.signatures.select_related("signed_by")]
    if person in signers:
        return ApprovalRefused("signed", "You have signed it already; it needs another person.")
    also = "" if in_emergency else proposal.also_permission
    is_last = len(signers) + 1 >= proposal.signatures_needed
    if also and is_last and not any(_holds(p, also, proposal) for p in (*signers, person)):
        return ApprovalRefused("not_permitted", f"One of its signatures has to be of {roles_with(also)}.")
    if person.approves_from is not None and person.approves_from > timezone.now():
        return ApprovalRefused(
            "after_reset",
            f"You have {new_way(person.sign_in_changed)}; you may approve from {_clock(person.approves_from)}.",
        )
    return None


def signers_of(proposal: Proposal, *, most: int = 6) -> list[Person]:
    """Who can sign it yet, by name: whoever may for each of its entities, but its proposer, who has signed, and whom
    it's about. Nobody once it's decided."""
    if proposal.state != State.PROPOSED:
        return []
    had = {proposal.proposed_by_id, *proposal.content.get(CONCERNS, ())}
    had.update(proposal.signatures.values_list("signed_by_id", flat=True))
    kind = str(proposal.content.get(OF_KIND, ""))
    found = Person.objects.exclude(pk__in=had).order_by("display_name", "username")
    for code in proposal.legal_entities or [""]:
        found = found.filter(pk__in=people_who_may(proposal.signer_permission, code, kind=kind).values("pk"))
    return list(found[:most])


def sign(
    proposal: Proposal,
    *,
    by: Person,
    approve: bool,
    alarm: Callable[[Problem], object],
    why: str = "",
    seen_hash: str = "",
    apply: Callable[[Proposal], object] | None = None,
    emergency_hours: int | None = None,
) -> str:
    """Sign, and return the proposal's state: `approved` once all signatures are there, `rejected` at the first refusal.

    `apply` puts what was agreed into force, in the transaction of the last signature: both hold or neither. Don't call
    this inside a transaction of your own, or the alarm of a refused attempt is rolled back with it.
    `seen_hash` is the hash of what the signer looked at. `alarm` opens a case for an attempt after a password reset.
    Evidence older than 24 hours voids the proposal. With `emergency_hours` it's an emergency: the one signature is
    enough, needs a reason, and what it puts in force ends after so many hours. Raises ApprovalRefused.
    """
    in_emergency = emergency_hours is not None
    signer = Person.objects.get(pk=by.pk)  # roles and password as they are now, not as of the session's beginning
    refused = why_not(proposal, signer, in_emergency=in_emergency)
    if refused is not None and refused.code == "after_reset":
        _alarm(proposal, signer, alarm)
        raise refused
    if not approve and not why.strip():
        raise ApprovalRefused("no_reason", "Say why you reject it.")
    if emergency_hours is not None:
        check_emergency(approve=approve, why=why, hours=emergency_hours)
    with atomic():
        proposal.refresh_from_db()
        locked = Proposal.objects.select_for_update().get(pk=proposal.pk)
        refused = why_not(locked, signer, in_emergency=in_emergency)
        if refused is not None:
            raise refused
        if jcs.content_hash(locked.content) != locked.content_hash:
            raise ApprovalRefused("changed", "What is stored isn't what was proposed.")
        if seen_hash and seen_hash != locked.content_hash:
            raise ApprovalRefused("changed", "It changed since you looked at it.")
        if approve and locked.evidence_at and timezone.now() - locked.evidence_at > EVIDENCE_KEPT:
            state = _decide(locked, State.VOID, void_reason="Its evidence is older than 24 hours.")
        else:
            state = _add_signature(locked, signer, approve=approve, why=why, emergency_hours=emergency_hours)
        if state == State.APPROVED and apply is not None:
            apply(locked)
        audit.record(
            signer, _verb(approve, emergency_hours), locked.subject_type, locked.subject_id, why=why,
            data={"proposal": locked.pk, "hash": locked.content_hash, "state": state,
                  **({"hours": emergency_hours} if in_emergency else {})},
        )  # fmt: skip
    proposal.refresh_from_db()
    return state


def check_emergency(*, approve: bool, why: str, hours: int) -> None:
    """Whether an emergency can be used so. Raises ApprovalRefused naming what is missing."""
    if not approve:
        raise ApprovalRefused("no_emergency", "An emergency approves; reject it in the ordinary way.")
    if not why.strip():
        raise ApprovalRefused("no_reason", "Say why it can't wait for those who approve it otherwise.")
    if not 1 <= hours <= EMERGENCY_HOURS_MAX:
        raise ApprovalRefused(
            "hours", f"An emergency ends within 1 to {EMERGENCY_HOURS_MAX} hours; choose one of them."
        )


def withdraw(proposal: Proposal, *, by: Person, why: str = "") -> str:
    """Its proposer takes it back. Raises ApprovalRefused for anybody else, or when it's decided."""
    if proposal.proposed_by_id != by.pk:
        raise ApprovalRefused("not_own", "Only its proposer can withdraw it.")
    return _end(proposal, State.WITHDRAWN, by=by, verb="withdraw", why=why)


def void(proposal: Proposal, *, reason: str, by: Person | str = audit.PORTAL) -> str:
    """What was to be approved has changed, so nothing can be approved. Raises ApprovalRefused when it's decided."""
    return _end(proposal, State.VOID, by=by, verb="void", why=reason)


def approved_contents(kind: str, subject_type: str, subject_ids: Iterable[object]) -> dict[str, list[dict[str, Any]]]:
    """The contents of all approved proposals of this kind, by subject id, oldest first; one statement."""
    found: dict[str, list[dict[str, Any]]] = {}
    rows = Proposal.objects.filter(
        kind=kind, subject_type=subject_type, subject_id__in=[str(i) for i in subject_ids], state=State.APPROVED
    )
    for subject_id, content in rows.order_by("decided_at").values_list("subject_id", "content"):
        found.setdefault(subject_id, []).append(content)
    return found


def _proposal_of(wish: Wish, by: Person) -> Proposal:
    if not wish.why.strip():
        raise ApprovalRefused("no_reason", "Say why.")
    plain = jcs.as_plain(wish.content)
    return Proposal(
        kind=wish.kind,
        subject_type=wish.subject[0],
        subject_id=str(wish.subject[1]),
        title=wish.title[:300],
        why=wish.why,
        proposed_by=by,
        proposed_at=timezone.now(),
        content=plain,
        content_hash=jcs.content_hash(plain),
        signatures_needed=wish.signatures,
        signer_permission=wish.permission,
        also_permission=wish.also,
        legal_entities=sorted(set(wish.legal_entities)),
        evidence_at=wish.evidence_at,
    )


def _voided(proposal: Proposal, *, by: Person, why: str) -> audit.Act:
    subject = (proposal.subject_type, proposal.subject_id)
    return audit.Act(actor=by, verb="void", subject=subject, why=why, data={"proposal": proposal.pk})


def _holds(person: Person, permission: str, proposal: Proposal) -> bool:
    """Whether a person holds it for every entity that the proposal concerns."""
    allowed = entities_where(person, permission, kind=str(proposal.content.get(OF_KIND, "")))
    return allowed is None or bool(proposal.legal_entities and set(proposal.legal_entities) <= allowed)


def _verb(approve: bool, emergency_hours: int | None) -> str:
    if emergency_hours is not None:
        return "approve_emergency"
    return "approve" if approve else "reject"


def _add_signature(
    proposal: Proposal, signer: Person, *, approve: bool, why: str, emergency_hours: int | None = None
) -> str:
    if emergency_hours is not None:
        now = timezone.now()
        EmergencyUse.objects.create(
            proposal=proposal, proposed_by_id=proposal.proposed_by_id, used_by=signer, why=why, used_at=now,
            ends_at=now + dt.timedelta(hours=emergency_hours),
        )  # fmt: skip
    Signature.objects.create(
        proposal=proposal,
        proposed_by_id=proposal.proposed_by_id,
        signed_by=signer,
        signed_at=timezone.now(),
        is_approval=approve,
        signed_hash=proposal.content_hash,
        why=why,
    )
    if not approve:
        return _decide(proposal, State.REJECTED)
    given = proposal.signatures.filter(is_approval=True).count()
    is_enough = emergency_hours is not None or given >= proposal.signatures_needed
    return _decide(proposal, State.APPROVED) if is_enough else State.PROPOSED


def _end(proposal: Proposal, state: str, *, by: Person | str, verb: str, why: str) -> str:
    with atomic():
        locked = Proposal.objects.select_for_update().get(pk=proposal.pk)
        if locked.state != State.PROPOSED:
            raise ApprovalRefused("decided", f"It was {locked.state} meanwhile.")
        _decide(locked, state, void_reason=why)
        audit.record(by, verb, locked.subject_type, locked.subject_id, why=why, data={"proposal": locked.pk})
    proposal.refresh_from_db()
    return state


def _decide(proposal: Proposal, state: str, *, void_reason: str = "") -> str:
    proposal.state = state
    proposal.decided_at = timezone.now()
    proposal.void_reason = void_reason
    proposal.save(update_fields=["state", "decided_at", "void_reason"])
    return state


def _alarm(proposal: Proposal, signer: Person, alarm: Callable[[Problem], object]) -> None:
    problem = Problem(
        "approval_attempt_after_reset",
        Category.AUTHENTICATION,
        f"{signer} tried to approve “{proposal.title}” within 24 hours of {new_way(signer.sign_in_changed)}",
        person=signer.get_username(),
        proposal=proposal.pk,
    )
    with atomic():
        alarm(problem)
        audit.record(signer, "approval_refused_after_reset", proposal.subject_type, proposal.subject_id,
                     data={"proposal": proposal.pk})  # fmt: skip


def _clock(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%-d %B %H:%M UTC")
