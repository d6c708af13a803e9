"""What of a case waits for a second person: when one proposal is decided or gone, the case waits on for the others."""

from __future__ import annotations

from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core.approvals import OVERRIDE
from q2c.core.models import Person, Proposal

PREFIX = "resolve:"  # of the kinds of these proposals


def end_waiting(case: ExceptionCase, *, by: Person, text: str, verb: str) -> None:
    """One proposal of the case is decided or gone: it's worked again, unless another stands."""
    standing = Proposal.objects.filter(state=Proposal.State.PROPOSED)
    wishes = standing.filter(kind__startswith=PREFIX, subject_type="case", subject_id=str(case.pk))
    if wishes.exists() or standing.filter(kind=OVERRIDE, content__case=case.pk).exists():
        cases.note(case, verb=verb, text=text, by=by)
    else:
        cases.end_waiting(case, by=by, text=text, verb=verb)


def is_withdrawable(proposal: Proposal) -> bool:
    """Whether it's a resolution's proposal that still waits: others have ways of their own (a change set, a bulk
    action)."""
    is_own = proposal.kind == OVERRIDE or proposal.kind.startswith(PREFIX)
    return is_own and proposal.state == Proposal.State.PROPOSED
