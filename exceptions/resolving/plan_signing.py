"""How a plan is proposed and signed, whatever it takes back: one at a time about a document, and void by name once
what it rests on moved. What is taken back, and what its signature starts, is said by the plan's own module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.transaction import atomic

from exceptions import cases
from exceptions.resolutions import ResolutionRefused
from q2c.core import access, approvals
from q2c.core.models import Person, Proposal
from q2c.transactions.models import BusinessTransaction

PROPOSES, AGREES = "transactions.repost", "transactions.approve_posting"


def proposals_about(kind: str, txn: BusinessTransaction) -> Any:
    """Every plan of this kind about this document that was ever proposed, newest first."""
    return Proposal.objects.filter(kind=kind, subject_type="transaction", subject_id=str(txn.pk)).order_by("-pk")


def check_may_propose(txn: BusinessTransaction, *, by: Person, reason: str) -> None:
    """That they say why, and that a role of theirs reaches the document's entity, whatever kind of case it's about.
    Raises ResolutionRefused."""
    if not reason.strip():
        raise ResolutionRefused("Say why.")
    if beyond := access.beyond_reach(by, PROPOSES, txn.legal_entity_code):
        raise ResolutionRefused(beyond)


def propose(
    kind: str, txn: BusinessTransaction, *, content: Mapping[str, Any], title: str, by: Person, reason: str
) -> Proposal:
    """Propose a plan about a document for which none waits yet. Raises ResolutionRefused."""
    with atomic():
        BusinessTransaction.objects.select_for_update().get(pk=txn.pk)
        other = proposals_about(kind, txn).filter(state=Proposal.State.PROPOSED).select_related("proposed_by").first()
        if other is not None:
            raise ResolutionRefused(
                f"{other.proposed_by} proposed a plan about it already, and it waits for a second person."
            )
        return approvals.propose(
            kind, ("transaction", txn.pk), content=content, by=by, title=title, why=reason, permission=AGREES,
            legal_entities=[txn.legal_entity_code],
        )  # fmt: skip


def decide(
    proposal: Proposal,
    *,
    by: Person,
    approve: bool,
    why: str,
    seen_hash: str,
    what_moved: Callable[[Proposal], str],
    start: Callable[[Proposal], None],
) -> str:
    """Sign a plan; the last signature starts it. What moved since it was proposed, as `what_moved` finds by asking the
    systems, voids it by name. Raises ApprovalRefused."""
    proposal.refresh_from_db()
    refused = approvals.why_not(proposal, Person.objects.get(pk=by.pk))
    if approve and refused is None and (said := what_moved(proposal)):
        return approvals.void(proposal, reason=said, by=by)
    return approvals.sign(
        proposal, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash, apply=start
    )
