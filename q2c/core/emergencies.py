"""Emergency approvals after they were used: which still need a review, which have to end, and the review itself.

What an emergency put in force ends by itself within hours. Documents that posted by it stay, and are listed in its
review. The review is done by somebody who neither used nor proposed it; the database says so too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import access, audit
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import EmergencyUse, Person

REVIEW = "core.review_emergency"
Verdict = EmergencyUse.Verdict


def uses_visible_to(user: Any) -> QuerySet[EmergencyUse]:
    """Emergency approvals about the person's entities; those about every entity are seen by people of all."""
    rows = EmergencyUse.objects.select_related("proposal", "proposed_by", "used_by", "reviewed_by")
    codes = access.entities_of(user, "core.view_decision")
    if codes is None:
        return rows
    return rows.filter(proposal__legal_entities__contained_by=sorted(codes)).exclude(proposal__legal_entities=[])


def unreviewed(legal_entity: str = "", *, until: dt.datetime | None = None) -> QuerySet[EmergencyUse]:
    """Uses that nobody has reviewed, of one entity (those about every entity are its too) or of all, used before
    `until`. While there is one, that entity's month can't be signed off (the sign-off asks here)."""
    rows = EmergencyUse.objects.filter(reviewed_at=None).select_related("proposal", "proposed_by", "used_by")
    if legal_entity:
        rows = rows.filter(Q(proposal__legal_entities=[]) | Q(proposal__legal_entities__contains=[legal_entity]))
    return (rows if until is None else rows.filter(used_at__lt=until)).order_by("used_at")


def due_to_end(kind: str) -> QuerySet[EmergencyUse]:
    """Uses on proposals of this kind whose hours are over, or that were objected to, and that haven't ended yet."""
    over = Q(ends_at__lte=timezone.now()) | Q(verdict=Verdict.OBJECTED)
    rows = EmergencyUse.objects.filter(over, proposal__kind=kind, ended_at=None).exclude(verdict=Verdict.STAYS)
    return rows.order_by("ends_at")


def note_end(use: EmergencyUse) -> None:
    """Say that what it put in force was taken back. The caller holds its row."""
    use.ended_at = timezone.now()
    use.save(update_fields=["ended_at"])


def state_of(use: EmergencyUse) -> str:
    """A state of `core.states`, kind emergency."""
    if use.verdict in (Verdict.STAYS, Verdict.OBJECTED):
        return str(use.verdict)
    if use.reviewed_at is None:
        return "running" if use.ended_at is None else "over"
    return "ending" if use.ended_at is None else "ended"


def why_not(use: EmergencyUse, person: Person) -> ApprovalRefused | None:
    """Why this person can't review it, or None if they can."""
    if use.reviewed_at is not None:
        return ApprovalRefused("decided", f"{use.reviewed_by} has reviewed it.")
    if person.pk == use.used_by_id:
        return ApprovalRefused("own", "You used it, so somebody else has to review it.")
    if person.pk == use.proposed_by_id:
        return ApprovalRefused("own", "It put in force what you proposed, so somebody else has to review it.")
    if not _holds(person, REVIEW, use):
        concerned = ", ".join(use.proposal.legal_entities) or "every entity"
        who = access.roles_with(REVIEW)
        return ApprovalRefused("not_permitted", f"Your role reviews no emergency for {concerned}; {who} does.")
    return None


def why_it_cannot_stay(use: EmergencyUse, person: Person) -> str:
    """Why this review can't let it stay in force, or "" if it can: it counts as an ordinary signature."""
    if use.ended_at is not None or use.ends_at <= timezone.now():
        return "Its hours are over: what it put in force has ended. Propose it anew in the ordinary way."
    permissions = {use.proposal.signer_permission, use.proposal.also_permission} - {""}
    if not all(_holds(person, permission, use) for permission in permissions):
        return "Letting it stay is an ordinary approval, and your role doesn't give that; propose it anew instead."
    return ""


def review(
    use: EmergencyUse,
    *,
    by: Person,
    verdict: str,
    says: str,
    found: Mapping[str, Any],
    end: Callable[[EmergencyUse], object],
) -> EmergencyUse:
    """Review it, once. `found` is what was shown of it; `end` takes back what it put in force, and is called at once
    when it was objected to. Raises ApprovalRefused saying who may, or which field is missing.
    """
    reviewer = Person.objects.get(pk=by.pk)
    with atomic():
        locked = EmergencyUse.objects.select_for_update().get(pk=use.pk)
        if refused := why_not(locked, reviewer):
            raise refused
        if verdict not in Verdict.values:
            raise ApprovalRefused("verdict", "Choose what you found: it stays, it ends, or you object.")
        if not says.strip():
            raise ApprovalRefused("no_reason", "Say what you looked at and what you found.")
        if verdict == Verdict.STAYS and (said := why_it_cannot_stay(locked, reviewer)):
            raise ApprovalRefused("over", said)
        locked.verdict, locked.review, locked.found = verdict, says, dict(found)
        locked.reviewed_by, locked.reviewed_at = reviewer, timezone.now()
        locked.save(update_fields=["verdict", "review", "found", "reviewed_by", "reviewed_at"])
        if verdict == Verdict.OBJECTED and locked.ended_at is None:
            end(locked)
        audit.record(
            reviewer, "review_emergency", locked.proposal.subject_type, locked.proposal.subject_id, why=says,
            data={"proposal": locked.pk, "verdict": verdict, "documents": found.get("count", 0)},
        )  # fmt: skip
    return locked


def reviewable_by(user: Any, uses: Iterable[EmergencyUse]) -> list[EmergencyUse]:
    """Those that this person may review."""
    return [use for use in uses if why_not(use, user) is None]


def _holds(person: Person, permission: str, use: EmergencyUse) -> bool:
    allowed = access.entities_where(person, permission)
    entities = use.proposal.legal_entities
    return allowed is None or bool(entities and set(entities) <= allowed)
