"""Reposting where a rule asks for a second person first: what is signed is each document as it is, and what would be
sent of it."""

from __future__ import annotations

from exceptions import resolutions
from exceptions.kind_words import REMAP_AND_REPOST, REPOST
from exceptions.models import ExceptionCase
from exceptions.resolving import rules
from exceptions.resolving.agreeing import Agreed, Wished, wish
from exceptions.resolving.binding import state_of
from exceptions.resolving.held import held_documents
from q2c.core.models import Person, Proposal
from q2c.transactions.restart import Restarted


def repost(
    case: ExceptionCase, *, by: Person, reason: str, as_then: bool = False
) -> tuple[Proposal | None, list[Restarted]]:
    """Repost the case's documents, or wish it where the rules ask for a signature. Raises ResolutionRefused."""
    if rules.asks_nobody(REPOST):
        return None, resolutions.repost(case, by=by, reason=reason, as_then=as_then)
    resolutions.check_case(case, reason, REPOST, REMAP_AND_REPOST)
    rows = held_documents(case, by, resolutions.MAY_REPOST).order_by("transaction_id")
    ids = [i for i in rows.values_list("transaction_id", flat=True) if i is not None]
    if rules.asked_for(REPOST, state_of(ids).values()).approval is None:
        return None, resolutions.repost(case, by=by, reason=reason, as_then=as_then)
    noun = "document" if len(ids) == 1 else "documents"
    mappings = "those of then" if as_then else "the newest"
    return wish(
        Wished(
            resolution=REPOST, case=case, by=by, reason=reason, permission=resolutions.MAY_REPOST,
            title=f"Repost {len(ids):,} {noun} of {case.number}",
            happens=[
                f"{len(ids):,} {noun} {'goes' if len(ids) == 1 else 'go'} on where it stopped, by {mappings} mappings.",
                "Each looks in the target first where it may be there already.",
            ],
            documents=ids, terms={"as_then": as_then}, chosen={i: {} for i in ids},
        ),
        apply_repost,
    )  # fmt: skip


def apply_repost(agreed: Agreed) -> list[Restarted]:
    """Repost what was signed for."""
    return resolutions.repost_documents(
        agreed.documents, by=agreed.by, reason=agreed.why, permission=None, as_then=agreed.terms["as_then"]
    )
