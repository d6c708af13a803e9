"""The life of a change set: proposed, signed by others, in force. What is signed is fixed at the proposal.

Signed are the differences row by row (of a large set the hash over them), the policy, the knowledge they start from,
and the list of held documents that they release. A rule that changed meanwhile voids all. Activation gives the next
number under a lock, ends what was known, and writes what is known from now on: no rule is ever edited.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection
from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone
from psycopg.errors import ExclusionViolation

from mappings import freezes, policies
from mappings.conflicts import find_conflicts
from mappings.days import rules_today
from mappings.drafts import DraftRefused, Line, check_lines, line_of, lines_of
from mappings.kinds import APPROVAL, Approval
from mappings.known import store_rules
from mappings.meanwhile import tell_changes
from mappings.models import ONE_RULE_A_DAY, ChangeSet
from mappings.planning import planned_rules, signed_rows
from mappings.resolve import latest_change_set
from q2c.core import approvals, audit
from q2c.core.history import save_with_reason
from q2c.core.models import Person, Proposal
from q2c.core.problems import Problem

KIND = "change_set"  # of proposals
_NUMBERS_LOCK = 0x51326303
_LOOKED_AT = 200  # rows of a draft that a page looks at one by one
State = ChangeSet.State


@dataclass(frozen=True)
class Decision:
    """How a signature left the change set. `number` is its place in what is known, once it's in force."""

    state: str
    number: int | None = None
    why: str = ""

    @property
    def is_in_force(self) -> bool:
        """Whether its rules are known now."""
        return self.number is not None


def propose_change_set(
    change_set: ChangeSet,
    *,
    by: Person,
    affected: Iterable[Mapping[str, Any]] = (),
    evidence: Mapping[str, Any] | None = None,
    evidence_at: dt.datetime | None = None,
    over: Sequence[str] = (),
) -> Proposal:
    """Ask for signatures on a draft. `affected` is the frozen list of held documents that it releases, as plain facts
    (`transaction` among them); `evidence` is what it would do, as found out at `evidence_at`; `over` says which limits
    it is over, so that two people sign.

    Raises DraftRefused for faults that arose meanwhile, ApprovalRefused for somebody else's draft.
    """
    with atomic():
        locked = ChangeSet.objects.select_for_update().get(pk=change_set.pk)
        if locked.state != State.DRAFT:
            raise approvals.ApprovalRefused("decided", f"It was {locked.state} already.")
        if locked.proposed_by_id != by.pk:
            raise approvals.ApprovalRefused("not_own", "Only its author can propose it.")
        knowledge = latest_change_set()  # before the check: what comes while it is checked is newer than this
        lines = lines_of(locked)
        faults = check_lines(lines, by=by)
        if faults:
            raise DraftRefused(faults)
        policy, frozen = _asked(lines, over=over)
        proposal = approvals.propose(
            KIND, (KIND, locked.pk), by=by, title=locked.title, why=locked.why,
            content={
                "change_set": locked.pk,
                "knowledge": knowledge,
                "rows": signed_rows(locked),
                "policy": {
                    "permission": policy.permission, "signatures": policy.signatures, "also": policy.also,
                    "words": policies.words_of(policy), "over": [*over, *frozen],
                },
                "affected": [dict(facts) for facts in affected],
                **({} if evidence is None else {"evidence": evidence}),
            },
            permission=policy.permission, signatures=policy.signatures, also=policy.also,
            legal_entities=approvals.concerned(freezes.entities_of(lines)), evidence_at=evidence_at,
        )  # fmt: skip
        locked.proposal = proposal
        _save(locked, State.PROPOSED, by=by, why=locked.why)
    change_set.refresh_from_db()
    return proposal


def sign_change_set(
    change_set: ChangeSet,
    *,
    by: Person,
    approve: bool,
    alarm: Callable[[Problem], object],
    why: str = "",
    seen_hash: str = "",
    emergency_hours: int | None = None,
    lock: Callable[[], object] | None = None,
) -> Decision:
    """Approve or reject; the last signature puts it in force in the same transaction. With `emergency_hours` the one
    of the emergency role does, also while the books are frozen (`mappings.emergencies`). `lock` takes what its caller
    acts on in the same transaction, between the change set and the audit trail. Raises ApprovalRefused."""
    proposal = _proposal(change_set)
    refused = approvals.why_not(proposal, Person.objects.get(pk=by.pk), in_emergency=emergency_hours is not None)
    if refused is not None and refused.code != "after_reset":
        raise refused
    if refused is not None:
        approvals.sign(  # alarms and raises, outside our transaction
            proposal, by=by, approve=approve, alarm=alarm, emergency_hours=emergency_hours
        )
    with atomic():
        lock_numbers()
        locked = ChangeSet.objects.select_for_update().get(pk=change_set.pk)
        if lock is not None:
            lock()
        stale = stale_reason(locked)
        if stale and approve:
            return _void(locked, proposal, stale)
        if approve and emergency_hours is None and (said := frozen_words(locked)):
            raise approvals.ApprovalRefused("frozen", said)
        number = None
        try:
            with atomic():
                state = approvals.sign(
                    proposal, by=by, approve=approve, alarm=alarm, why=why, seen_hash=seen_hash,
                    emergency_hours=emergency_hours,
                )  # fmt: skip
                if state == Proposal.State.APPROVED:
                    number = _activate(locked, approver=by)
        except (IntegrityError, ExclusionViolation) as refused:  # store_rules speaks with the driver itself
            if ONE_RULE_A_DAY not in str(refused):
                raise
            return _void(ChangeSet.objects.get(pk=locked.pk), proposal, _TWO_A_DAY)
        if number is None and state != Proposal.State.PROPOSED:
            _save(locked, state, by=by, why=why or proposal.void_reason)
    change_set.refresh_from_db()
    return Decision(state, number, proposal.void_reason)


def _void(change_set: ChangeSet, proposal: Proposal, why: str) -> Decision:
    """Nothing of it can be approved any more. The caller holds the lock of numbers."""
    approvals.void(proposal, reason=why)
    _save(change_set, State.VOID, by=None, why=why)
    return Decision(State.VOID, why=why)


def withdraw_change_set(change_set: ChangeSet, *, by: Person, why: str = "") -> None:
    """Its author takes it back: a draft, or a proposal that isn't decided. Raises ApprovalRefused."""
    with atomic():
        locked = ChangeSet.objects.select_for_update().get(pk=change_set.pk)
        if locked.state == State.PROPOSED:
            approvals.withdraw(_proposal(locked), by=by, why=why)
        elif locked.state != State.DRAFT or locked.proposed_by_id != by.pk:
            raise approvals.ApprovalRefused("decided", f"It was {locked.state}; only its author withdraws a draft.")
        _save(locked, State.WITHDRAWN, by=by, why=why)
    change_set.refresh_from_db()


def released_by(change_set: ChangeSet) -> list[UUID]:
    """The held documents that were signed for release with it, in the proposal's order."""
    content = change_set.proposal.content if change_set.proposal else {}
    return [UUID(facts["transaction"]) for facts in content.get("affected", ()) if facts.get("transaction")]


def stale_reason(change_set: ChangeSet) -> str:
    """Why what was proposed no longer fits what is known; empty while it does."""
    content = _proposal(change_set).content
    if content["rows"] != _plain(signed_rows(change_set)):
        return "The rows aren't those that were proposed."
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [change_set.pk])
        if ended := cursor.fetchone():
            return "Rule {} ({} {}) was changed meanwhile. {}.".format(*ended, *tell_changes([ended[0]]))
        asked = policies.approval_for(policies.places_of(_outlines(change_set, Q(kind=APPROVAL))))
        if not policies.is_covered(asked, _proposal(change_set)):
            return f"Who has to approve it was changed meanwhile: it takes {policies.words_of(asked)} now."
        cursor.execute(_NEWER, [change_set.pk, content["knowledge"]])
        if newer := cursor.fetchone():
            return "Another rule for {} {} came into force meanwhile.".format(*newer)
        cursor.execute(_NEWER_PATTERN, [content["knowledge"], change_set.pk])
        is_rivalled = cursor.fetchone() is not None
    for fault in find_conflicts(enumerate(lines_of(change_set))) if is_rivalled else ():
        return f"A rule came into force meanwhile: of row {fault.line + 1} {fault.text}."
    return ""


def frozen_words(change_set: ChangeSet) -> str:
    """Why it can't come into force now: the books of an entity are frozen, and it wasn't proposed with the signatures
    that this takes. Empty where it can."""
    proposal = _proposal(change_set)
    found = freezes.frozen_now(freezes.entities_of(_outlines(change_set)))
    if not found or policies.is_covered(policies.over_a_limit(Approval()), proposal):
        return ""
    return (
        f"{freezes.words_of(found)}. Withdraw it and propose it anew: it then takes two signatures, one of"
        " controllership. Or ask for an emergency approval, or sign it afterwards."
    )


def expected(change_set: ChangeSet) -> tuple[Approval, list[str]]:
    """What a draft would take if it were proposed now, and why more than its kinds ask (limits of amounts aside)."""
    telling = Q(kind=APPROVAL) | Q(effective_from__gte=rules_today())  # somewhere it's yesterday still
    return _asked(_outlines(change_set, telling), over=())


def _outlines(change_set: ChangeSet, telling: Q | None = None) -> list[Line]:
    """A row for each kind and entity that a set is about, whatever its size, and the first of those that tell more."""
    places = change_set.lines.order_by().values_list("kind", "legal_entity_code").distinct()
    always = dt.date.min  # they speak of no day
    found = [Line(kind=kind, key="", legal_entity=entity, effective_from=always) for kind, entity in places]
    rows = change_set.lines.filter(telling).order_by("pk")[:_LOOKED_AT] if telling else ()
    return [*found, *(line_of(row) for row in rows)]


def _asked(lines: Sequence[Line], *, over: Sequence[str]) -> tuple[Approval, list[str]]:
    """What a set of these rows takes, and why it takes more than its kinds ask: frozen books, now or when it begins."""
    asked = policies.approval_for(policies.places_of(lines))
    found = freezes.frozen_now(freezes.entities_of(lines))
    frozen = [freezes.words_of([freeze]) for freeze in found] + freezes.scheduled_into(lines)
    return (policies.over_a_limit(asked) if over or frozen else asked), frozen


_ENDED = """
    SELECT r.id, r.kind, r.key FROM mappings_changeline l JOIN mappings_mappingrule r ON r.id = l.rule_id
     WHERE l.change_set_id = %s AND r.known_to IS NOT NULL ORDER BY r.id LIMIT 1
"""
_NEWER = """
    SELECT r.kind, r.key FROM mappings_changeline l JOIN mappings_mappingrule r ON r.kind = l.kind AND r.key = l.key
     WHERE l.change_set_id = %s AND r.known_from > %s ORDER BY r.id LIMIT 1
"""
# A newer rule of another key can be a rival only if it is a pattern.
_NEWER_PATTERN = """
    SELECT 1 FROM mappings_mappingrule r WHERE r.is_pattern AND r.known_to IS NULL AND r.known_from > %s
       AND r.kind IN (SELECT kind FROM mappings_changeline WHERE change_set_id = %s) LIMIT 1
"""
_TWO_A_DAY = "Beside it two rules of the same key and scope would hold on the same days. Look at its rows again."
_END = """
    UPDATE mappings_mappingrule r SET known_to = %s FROM mappings_changeline l
     WHERE l.change_set_id = %s AND l.rule_id = r.id
"""


def _activate(change_set: ChangeSet, *, approver: Person) -> int:
    """Write what is known from now on. The caller holds the lock of numbers."""
    number = latest_change_set() + 1
    with connection.cursor() as cursor:
        cursor.execute(_END, [number, change_set.pk])
    written = 0
    for rules in planned_rules(change_set, number, approver=approver.pk):
        store_rules(rules)
        written += len(rules)
    change_set.number = number
    change_set.approved_at = timezone.now()
    _save(change_set, State.APPROVED, by=approver, why=change_set.why)
    facts = {"number": number, "rules": written, "hash": _proposal(change_set).content_hash}
    audit.record(approver, "activate", "change_set", change_set.pk, why=change_set.why, data=facts)
    return number


def _plain(value: Any) -> Any:
    return approvals.jcs.as_plain(value)


def _proposal(change_set: ChangeSet) -> Proposal:
    if change_set.proposal is None:
        raise approvals.ApprovalRefused("not_proposed", "It hasn't been proposed yet.")
    return change_set.proposal


def lock_numbers() -> None:
    """Take the lock under which change sets get their numbers, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_NUMBERS_LOCK])


def _save(change_set: ChangeSet, state: str, *, by: Person | None, why: str) -> None:
    change_set.state = state
    save_with_reason(change_set, why=why, by=by)
