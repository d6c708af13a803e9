"""Which resolution a proposal is about, and what its last signature puts into force."""

from __future__ import annotations

from exceptions.kinds import CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.resolving import agreeing, periods
from q2c.core.models import Person, Proposal
from q2c.transactions.restart import Restarted

APPLIES: dict[str, agreeing.Apply] = {
    agreeing.PREFIX + CHOOSE_PERIOD: periods.apply_period,
    agreeing.PREFIX + REOPEN_PERIOD: periods.apply_reopening,
}


def decide(
    proposal: Proposal, *, by: Person, approve: bool, why: str = "", seen_hash: str = ""
) -> tuple[str, list[Restarted]]:
    """Sign a resolution; once all have, it's in force. Raises ApprovalRefused."""
    return agreeing.decide(proposal, APPLIES[proposal.kind], by=by, approve=approve, why=why, seen_hash=seen_hash)
