"""Who has to agree to a change set: by kind and entity as governed rules say, and the catalogue where none does.

A rule of kind `approval` changes it; that change takes the signatures that were asked for before it. Nothing here is
decided by whoever proposes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mappings.days import rules_todays
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
    """The strictest of what is asked for these kinds and entities today, on each entity's own day. Two statements."""
    wanted = sorted(places)
    rows = MappingRule.objects.filter(kind=APPROVAL, key__in={kind for kind, _ in wanted}, known_to=None)
    rules = [_Asks(*row) for row in rows.values_list(*_Asks._fields) if row[2] in APPROVALS]
    days = rules_todays({entity for _, entity in wanted} | {rule.legal_entity_code for rule in rules}) if rules else {}
    found: Approval | None = None
    for kind, entity in wanted:
        for asked in _asked_of(kind, entity, rules, days):
            found = asked if found is None else found.joined(asked)
    return found or Approval()


class _Asks(NamedTuple):
    """What one rule asks for."""

    key: str
    legal_entity_code: str
    value: str
    effective_from: dt.date
    effective_to: dt.date | None

    def holds(self, on: dt.date) -> bool:
        """Whether it's in force on a day."""
        return self.effective_from <= on and (self.effective_to is None or on < self.effective_to)


def _asked_of(kind: str, entity: str, rules: Sequence[_Asks], days: Mapping[str, dt.date]) -> list[Approval]:
    """What the most specific rule asks; for a row about every entity also what any entity's own rule asks."""
    own = {
        rule.legal_entity_code: APPROVALS[rule.value]
        for rule in rules
        if rule.key == kind and rule.holds(days[entity or rule.legal_entity_code])
    }
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
