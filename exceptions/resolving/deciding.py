"""Which resolution a proposal is about, and what its last signature puts into force."""

from __future__ import annotations

from exceptions.kind_words import (
    ACCEPT_DIFFERENCE,
    ACCRUE,
    APPLY_OPEN,
    CHOOSE_PERIOD,
    EDIT_FIELDS,
    EMERGENCY_EDIT,
    LINK,
    REOPEN_PERIOD,
    REPOST,
    WAIVE,
    WRITE_OFF,
)
from exceptions.resolving import adjustments, agreeing, applying, edits, linking, periods, reposts, waivers
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person, Proposal
from q2c.transactions.restart import Restarted

APPLIES: dict[str, agreeing.Apply] = {
    agreeing.PREFIX + CHOOSE_PERIOD: periods.apply_period,
    agreeing.PREFIX + EDIT_FIELDS: edits.apply_edit,
    agreeing.PREFIX + EMERGENCY_EDIT: edits.apply_edit,
    agreeing.PREFIX + LINK: linking.apply_link,
    agreeing.PREFIX + REOPEN_PERIOD: periods.apply_reopening,
    agreeing.PREFIX + ACCRUE: periods.apply_accrual,
    agreeing.PREFIX + REPOST: reposts.apply_repost,
    agreeing.PREFIX + WAIVE: waivers.apply_waiver,
    agreeing.PREFIX + WRITE_OFF: adjustments.apply_adjustment,
    agreeing.PREFIX + ACCEPT_DIFFERENCE: adjustments.apply_adjustment,
    agreeing.PREFIX + APPLY_OPEN: applying.apply_open,
}


def decide(
    proposal: Proposal,
    *,
    by: Person,
    approve: bool,
    why: str = "",
    seen_hash: str = "",
    emergency_hours: int | None = None,
) -> tuple[str, list[Restarted]]:
    """Sign a resolution; once all have, it's in force. One in an emergency takes the hours for which it holds. Raises
    ApprovalRefused."""
    if proposal.kind == agreeing.PREFIX + EMERGENCY_EDIT and approve and emergency_hours is None:
        raise ApprovalRefused("hours", "Say for how many hours it holds.")
    return agreeing.decide(
        proposal, APPLIES[proposal.kind], by=by, approve=approve, why=why, seen_hash=seen_hash,
        emergency_hours=emergency_hours if proposal.kind == agreeing.PREFIX + EMERGENCY_EDIT and approve else None,
    )  # fmt: skip
