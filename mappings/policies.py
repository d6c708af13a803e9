"""Who has to agree to a change set: by kind and entity as governed rules say, and the catalogue where none does.

A rule of kind `approval` changes it; that change takes the signatures that were asked for before it. Nothing here is
decided by whoever proposes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Q
from django.utils import timezone

from mappings.drafts import Line
from mappings.kinds import APPROVAL, APPROVALS, BY_CODE, TWO_ONE_CONTROLLER, Approval
from mappings.models import MappingRule
from q2c.core import access
from q2c.core.models import Membership, Proposal

Place = tuple[str, str]  # a kind, and the entity that a row is about ("" for every entity)


def places_of(lines: Iterable[Line]) -> set[Place]:
    """The kinds and entities that rows are about; one of kind `approval` is about the kind that it names too."""
    places = set()
    for line in lines:
        places.add((line.kind, line.legal_entity))
        if line.kind == APPROVAL and line.key in BY_CODE:
            places.add((line.key, line.legal_entity))
    return places


def approval_for(places: Iterable[Place]) -> Approval:
    """The strictest of what is asked for these kinds and entities today. One statement."""
    wanted = sorted(places)
    today = timezone.localdate()
    rows = MappingRule.objects.filter(
        Q(effective_to=None) | Q(effective_to__gt=today), kind=APPROVAL, key__in={kind for kind, _ in wanted},
        known_to=None, effective_from__lte=today,
    ).values_list("key", "legal_entity_code", "value")  # fmt: skip
    rules = [row for row in rows if row[2] in APPROVALS]
    found: Approval | None = None
    for kind, entity in wanted:
        for asked in _asked_of(kind, entity, rules):
            found = asked if found is None else found.joined(asked)
    return found or Approval()


def _asked_of(kind: str, entity: str, rules: Sequence[tuple[str, str, str]]) -> list[Approval]:
    """What the most specific rule asks; for a row about every entity also what any entity's own rule asks."""
    own = {code: APPROVALS[value] for key, code, value in rules if key == kind}
    general = own.get("", BY_CODE[kind].approval)
    return [own.get(entity, general)] if entity else [general, *own.values()]


def is_covered(asked: Approval, proposal: Proposal) -> bool:
    """Whether what was signed for is at least what is asked."""
    signed = Approval(proposal.signer_permission, proposal.signatures_needed, proposal.also_permission)
    return signed.joined(asked) == signed


def words_of(approval: Approval) -> str:
    """What is asked, in the words of a rule: "2 with a controller"."""
    return next((words for words, row in APPROVALS.items() if row == approval), f"{approval.signatures} signatures")


def over_a_limit(approval: Approval) -> Approval:
    """What is asked where a limit is exceeded or the books are about to close: two, one of controllership."""
    return approval.joined(TWO_ONE_CONTROLLER)


def too_few(proposal: Proposal) -> str:
    """Why the people who may sign aren't enough for what it needs, and the way out; "" where they are."""
    signers = _people(proposal.signer_permission, proposal)
    can = len(signers)
    needs = proposal.signatures_needed
    if can >= needs and (not proposal.also_permission or signers & _people(proposal.also_permission, proposal)):
        return ""
    what = f"{needs} signatures" if needs > 1 else "a signature"
    return (
        f"It needs {what}, and beside its proposer {can or 'nobody'} may sign. Have it proposed by somebody who doesn't"
        " approve, or ask for an emergency approval."
    )


def _people(permission: str, proposal: Proposal) -> set[int]:
    """Active people other than the proposer who hold a permission for all entities of a proposal."""
    rows = Membership.objects.filter(access.role_q(permission), access.in_force(), person__is_active=True).exclude(
        person=proposal.proposed_by_id
    )
    entities: dict[int, set[str | None]] = {}
    for person, code in rows.values_list("person", "legal_entity__code"):
        entities.setdefault(person, set()).add(code)
    wanted = set(proposal.legal_entities)
    return {person for person, codes in entities.items() if None in codes or (wanted and wanted <= codes)}
