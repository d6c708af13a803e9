"""A value that its field's owner didn't say, let stand by two people: proposed with a reason, and ended the same way.

It holds until the owner says something else than it did at the proposal; then the owner's new word counts.
"""

from __future__ import annotations

from typing import Any

from q2c.core import access, approvals, audit
from q2c.core.models import Person, Proposal
from q2c.records.models import GoldenRecord
from q2c.records.store import OwnerOf, survive_again

KIND = "override_field"
PROPOSE, APPROVE = "mappings.propose_rule", "mappings.approve_rule"


class OverrideRefused(ValueError):
    """Why a value can't be let stand, in words for the screen."""


def propose_override(
    record: GoldenRecord, field: str, *, refused_by: str, owner_of: OwnerOf, by: Person, why: str
) -> Proposal:
    """Ask a second person to let stand what `refused_by` last said of a field. Raises OverrideRefused where it says
    nothing of it, or for a record of an entity that they only see; ApprovalRefused without a reason."""
    entry = next((e for e in reversed(record.refused) if e["field"] == field and e["by"] == refused_by), None)
    if entry is None:
        raise OverrideRefused(f"{refused_by} has said nothing of {field} that was refused.")
    content = {
        **_place(record, field), "value": entry["value"], "said_by": refused_by, "said_at": entry["at"],
        "instead_of": record.content.get(field), "over": _owners_word(record, field, owner_of),
    }  # fmt: skip
    return _propose(record, field, f"Let stand what {refused_by} says of", content, by=by, why=why)


def propose_end(record: GoldenRecord, field: str, *, by: Person, why: str) -> Proposal:
    """Ask a second person that a field follows its owner again. Raises OverrideRefused where nothing overrides it."""
    if field not in record.overrides:
        raise OverrideRefused(f"Nothing overrides {field}.")
    content = {**_place(record, field), "value": None, "said_by": "", "instead_of": record.content.get(field)}
    return _propose(record, field, "End the override of", content, by=by, why=why)


def apply_override(proposal: Proposal, *, by: Person, owner_of: OwnerOf) -> None:
    """What two people agreed on, in the transaction of the last signature. Raises OverrideRefused when the record moved
    meanwhile."""
    facts = proposal.content
    found = GoldenRecord.objects.select_for_update().filter(
        record_type=facts["record_type"], record_key=facts["record_key"]
    )
    record, field = found.first(), facts["field"]
    if record is None or record.content.get(field) != facts["instead_of"]:
        raise OverrideRefused("The surviving value changed meanwhile.")
    if not facts["said_by"]:
        record.overrides = {name: value for name, value in record.overrides.items() if name != field}
    elif _owners_word(record, field, owner_of) != facts["over"]:
        raise OverrideRefused("The field's owner said something else meanwhile.")
    else:
        record.overrides = {
            **record.overrides,
            field: {"value": facts["value"], "by": facts["said_by"], "at": facts["said_at"], "over": facts["over"],
                    "proposal": str(proposal.pk)},
        }  # fmt: skip
    survive_again([record], owner_of=owner_of)
    data = {"proposal": proposal.pk, "field": field, "said_by": facts["said_by"]}
    audit.record(by, "override_field", record.record_type, record.record_key[:80], why=proposal.why, data=data)


def proposals_about(record: GoldenRecord) -> Any:
    """Every override of the record's fields that was ever proposed."""
    return Proposal.objects.filter(
        kind=KIND, subject_type=record.record_type, subject_id=record.record_key[:80],
        content__record_key=record.record_key,
    )  # fmt: skip


def _propose(record: GoldenRecord, field: str, says: str, content: dict[str, Any], *, by: Person, why: str) -> Proposal:
    if beyond := access.beyond_reach(by, PROPOSE, record.legal_entity_code):
        raise OverrideRefused(beyond)
    waiting = proposals_about(record).filter(state=Proposal.State.PROPOSED, content__field=field)
    if waiting.exists():
        raise OverrideRefused("Another override of this field waits for a second person.")
    title = f"{says} {field.replace('_', ' ')} of {record.name or record.record_key}"
    entities = [record.legal_entity_code] if record.legal_entity_code else ()
    return approvals.propose(
        KIND, (record.record_type, record.record_key[:80]), content=content, by=by, title=title, why=why,
        permission=APPROVE, legal_entities=entities,
    )  # fmt: skip


def _place(record: GoldenRecord, field: str) -> dict[str, Any]:
    return {"record_type": record.record_type, "record_key": record.record_key, "field": field}


def _owners_word(record: GoldenRecord, field: str, owner_of: OwnerOf) -> Any:
    """What the field's owner says of it now; None while it says nothing."""
    owner = owner_of(record.record_type, field, record.legal_entity_code)
    said = sorted(record.sources.values(), key=lambda s: s["at"], reverse=True)
    return next((s["values"][field] for s in said if owner.owns(s["family"], s["connection"])
                 and s["values"].get(field) not in (None, "", [], {})), None)  # fmt: skip
