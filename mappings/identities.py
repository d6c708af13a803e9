"""Cross-references changed by people: linking, unlinking and re-pointing are proposals that a second person approves.

What is signed names the record, the system, the id, and what was stored at the proposal; if that moved meanwhile, it
can't be put into force. The approved proposals of a record are its history.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from mappings.models import CrossReference
from mappings.references import RECORD_TYPES
from q2c.core import access, approvals, audit
from q2c.core.models import Person, Proposal

KIND = "reference"
PROPOSE, APPROVE = "mappings.propose_rule", "mappings.approve_rule"
LINK, UNLINK, REPOINT = "link", "unlink", "repoint"
WORDS = {LINK: "Link", UNLINK: "Unlink", REPOINT: "Re-point"}


class IdentityRefused(ValueError):
    """Why a record can't be linked so, in words for the screen."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One record's id in one system, as it shall be (`external_id`) and as it is stored now (`was`, empty: it isn't).

    An unlinking has no new id. `is_shared` says that the id is another record's too, and rightly.
    """

    record_type: str
    record_key: str
    connection: str
    external_type: str
    external_id: str = ""
    number: str = ""
    scope: str = ""
    legal_entity: str = ""
    was: str = ""
    was_number: str = ""
    was_linked: bool = False
    is_shared: bool = False
    is_linked: bool = True  # people say so; False only where a change is taken back

    @property
    def act(self) -> str:
        """link, unlink or repoint."""
        if not self.external_id:
            return UNLINK
        return REPOINT if self.was else LINK


def change_of(row: CrossReference, *, external_id: str = "", number: str = "", is_shared: bool = False) -> Change:
    """The change of a stored reference: to another id, or (without one) none at all."""
    return Change(
        record_type=row.record_type, record_key=row.record_key, connection=row.connection.code,
        external_type=row.external_type, external_id=external_id, number=number, scope=row.scope,
        legal_entity=row.legal_entity_code, was=row.external_id, was_number=row.number, was_linked=row.is_linked,
        is_shared=is_shared,
    )  # fmt: skip


def propose_change(change: Change, *, by: Person, why: str) -> Proposal:
    """Ask for a second person's signature. Raises IdentityRefused, also of another's entity that the person only sees,
    or ApprovalRefused without a reason."""
    if beyond := access.beyond_reach(by, PROPOSE, change.legal_entity):
        raise IdentityRefused(beyond)
    change = _spelled(change)
    _check(change)
    if open_proposals(change.record_type, [change.record_key]).filter(content__connection=change.connection).exists():
        raise IdentityRefused("Another change of this record in this system waits for a second person.")
    return approvals.propose(
        KIND, (change.record_type, change.record_key[:80]), content=_content(change), by=by, title=_title(change),
        why=why, permission=APPROVE, legal_entities=[change.legal_entity] if change.legal_entity else (),
    )  # fmt: skip


def apply_change(proposal: Proposal, *, by: Person) -> list[str]:
    """Put what two people agreed on into force, in the transaction of the last signature. Returns the keys of what
    waits for it. Raises IdentityRefused when what is stored moved meanwhile."""
    facts = proposal.content
    change = Change(**{name: facts[name] for name in Change.__dataclass_fields__ if name in facts})
    store_change(change)
    audit.record(by, change.act, change.record_type, change.record_key[:80], why=proposal.why,
                 data={"proposal": proposal.pk, "connection": change.connection, "id": change.external_id,
                       "was": change.was})  # fmt: skip
    return [f"{change.record_type}:{change.record_key}"]


def store_change(change: Change) -> None:
    """Store one change, in the caller's transaction. Raises IdentityRefused where it doesn't fit what is stored."""
    rows = _check(change)
    if change.act == LINK:
        CrossReference.objects.create(
            record_type=change.record_type, record_key=change.record_key,
            connection=Connection.objects.get(code=change.connection), external_type=change.external_type,
            external_id=change.external_id, number=change.number, scope=change.scope,
            legal_entity_code=change.legal_entity, is_shared=change.is_shared, is_linked=True,
            at=timezone.now(),
        )  # fmt: skip
    elif change.act == UNLINK:
        rows.delete()
    else:
        rows.update(
            external_id=change.external_id, number=change.number, is_shared=change.is_shared,
            is_linked=change.is_linked, at=timezone.now(),
        )  # fmt: skip


def open_proposals(record_type: str, record_keys: Iterable[str]) -> Any:
    """Changes of a record's ids that wait for a second person."""
    return proposals_about(record_type, record_keys).filter(state=Proposal.State.PROPOSED)


def proposals_about(record_type: str, record_keys: Iterable[str]) -> Any:
    """Every change of a record's ids that was ever proposed."""
    keys = list(record_keys)
    return Proposal.objects.filter(
        kind=KIND, subject_type=record_type, subject_id__in=[key[:80] for key in keys], content__record_key__in=keys
    )


def _check(change: Change) -> Any:
    """What is stored must be what the change says that it was, and what it wants must be allowed. Returns the rows."""
    facts = RECORD_TYPES.get(change.record_type)
    if facts is None:
        raise IdentityRefused(f"{change.record_type} isn't a kind of record whose ids people change.")
    rows = CrossReference.objects.select_for_update(of=("self",)).filter(
        record_type=change.record_type, record_key=change.record_key, connection__code=change.connection,
        external_type=change.external_type, scope=change.scope,
    )  # fmt: skip
    stored = next(iter(rows.values_list("external_id", flat=True)), "")
    if stored != change.was:
        now = f"it is {stored}" if stored else "it has none"
        raise IdentityRefused(f"Its id in {_name(change.connection)} was changed meanwhile: {now}.")
    if change.external_id and change.external_id == change.was:
        raise IdentityRefused("The id stays the same.")
    taken = Q(connection__code=change.connection, external_type=change.external_type, external_id=change.external_id)
    others = CrossReference.objects.filter(taken).exclude(record_type=change.record_type, record_key=change.record_key)
    other = others.order_by("is_shared").first() if change.external_id else None
    if other is None:
        if change.is_shared:
            raise IdentityRefused(f"{change.external_id} is no other record's id.")
    elif other.record_type != change.record_type or not facts.may_share:
        raise IdentityRefused(f"{change.external_id} is {other.record_key} already, and may be one record's only.")
    elif not change.is_shared:
        raise IdentityRefused(f"{change.external_id} is {other.record_key} already. Say so if both are rightly one.")
    return rows


def _spelled(change: Change) -> Change:
    """The change with the id as its system spells it."""
    connection = Connection.objects.filter(code=change.connection).first()
    if connection is None:
        raise IdentityRefused("No such system.")
    if not change.external_id:
        return change
    try:
        spelled = registry.spell_id(connection, change.external_id)
    except ValueError as error:
        raise IdentityRefused(f"{connection.name} can't have such an id: {error}.") from error
    return replace(change, external_id=spelled)


def _content(change: Change) -> dict[str, Any]:
    return {name: getattr(change, name) for name in Change.__dataclass_fields__}


def _title(change: Change) -> str:
    system = _name(change.connection)
    if change.act == UNLINK:
        return f"Unlink {change.record_key} from {system} {change.was}"
    if change.act == REPOINT:
        return f"Re-point {change.record_key} in {system} from {change.was} to {change.external_id}"
    return f"Link {change.record_key} to {system} {change.external_id}"


def _name(code: str) -> str:
    return Connection.objects.filter(code=code).values_list("name", flat=True).first() or code
