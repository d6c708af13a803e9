"""Correcting words of a held document that the source can't mend in time: old and new kept, agreed to, then reposted.

The document as the source sent it is never touched: the edits stand beside it, and its steps read the document with
them. Which fields may be edited is data of the canonical language; amounts, tax, currency, customer, entity and dates
that decide the period never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.transaction import atomic
from django.utils import timezone

from exceptions.kind_words import EDIT_FIELDS, EMERGENCY_EDIT
from exceptions.models import Choice, ExceptionCase
from exceptions.resolutions import WORK, ResolutionRefused, check_case, repost_documents
from exceptions.resolving.agreeing import PREFIX, Agreed, Wished, wish
from exceptions.resolving.held import document_of_case, held_documents, why_not_held
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.edits import EDIT, Place, apply_edits, places_of
from q2c.core import audit, emergencies
from q2c.core.models import EmergencyUse, Person, Proposal
from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted

_HOURS = (
    "One signature of the emergency role is enough. It holds for the hours that are named there; what hasn’t posted by "
    "then goes back to its own words. Somebody else reviews it afterwards."
)


def document_of(txn: BusinessTransaction) -> Any:
    """The held document as its steps would read it now, with what was edited before."""
    document = schema.from_json(bytes(txn.fact), catalog.BY_CODE[txn.flow].fact_type)
    made = ports.choices_of([txn.pk]).get(txn.pk, {}).get(EDIT, {})
    return apply_edits(document, made.get("changes", ()))


def edit_fields(
    case: ExceptionCase, *, by: Person, reason: str, transaction_id: UUID, values: Mapping[str, str],
    in_emergency: bool = False,
) -> tuple[Proposal | None, list[Restarted]]:  # fmt: skip
    """Wish that these fields ({path: text}) of a held document say something else; in an emergency those beyond the
    ordinary ones, which the emergency role signs for some hours. Raises ResolutionRefused for a field that may not be
    edited, when nothing would change, and while the target may hold the document."""
    check_case(case, reason, EDIT_FIELDS)
    held = held_documents(case, by, WORK).filter(transaction_id=transaction_id)
    txn = BusinessTransaction.objects.filter(pk__in=held.values("transaction_id"), state="held").first()
    if txn is None:
        gone = document_of_case(case, by, WORK, transaction_id)
        raise ResolutionRefused(why_not_held(gone) if gone else "That document isn’t held in this case.")
    if txn.open_intent is not None:
        raise ResolutionRefused("The target may hold it already: its outcome must be known first.")
    document = document_of(txn)
    places = {place.path: place for place in places_of(document, in_emergency=in_emergency)}
    if strange := sorted(set(values) - set(places)):
        raise ResolutionRefused(f"{strange[0].rpartition('/')[2].replace('_', ' ').capitalize()} can’t be edited.")
    changes = [
        {"path": path, "label": places[path].label, "old": places[path].value, "new": new}
        for path, new in values.items()
        if new != places[path].value
    ]
    if not changes:
        raise ResolutionRefused("Nothing would change.")
    try:
        apply_edits(document, changes)
    except ValueError as fault:
        raise ResolutionRefused(f"{str(fault)[:1].upper()}{str(fault)[1:]}.") from fault
    earlier = ports.choices_of([txn.pk]).get(txn.pk, {}).get(EDIT, {}).get("changes", [])
    all_of_them = [row for row in earlier if row["path"] not in {c["path"] for c in changes}] + changes
    number = txn.number or txn.source_id
    return wish(
        Wished(
            resolution=EMERGENCY_EDIT if in_emergency else EDIT_FIELDS, case=case, by=by, reason=reason,
            title=f"Edit {number}: {_what(changes)}",
            happens=[
                *(f"{c['label']}: “{c['old'] or 'nothing'}” becomes “{c['new'] or 'nothing'}”." for c in changes),
                f"{number} then goes on with these words, and is marked as edited here and on its own page.",
                "What the source sent stays as it is; a corrected version from there replaces both.",
                *((_HOURS,) if in_emergency else ()),
            ],
            documents=[txn.pk], terms={"changes": changes}, chosen={txn.pk: {EDIT: {"changes": all_of_them}}},
            fields=sorted({places[c["path"]].field.name for c in changes}),
        ),
        apply_edit,
    )  # fmt: skip


def apply_edit(agreed: Agreed) -> list[Restarted]:
    """Note the edits, in the audit chain too, and repost."""
    for i in agreed.documents:
        Choice.objects.create(
            transaction_id=i, about=EDIT, content=agreed.content["chosen"][str(i)][EDIT], case=agreed.case,
            proposal=agreed.proposal, by=agreed.proposer, at=agreed.at,
        )  # fmt: skip
    results = repost_documents(agreed.documents, by=agreed.by, reason=f"edited: {agreed.why}", permission=None)
    for i in agreed.documents:
        changes = agreed.terms["changes"]
        audit.record(agreed.proposer, "edit", "transaction", i, why=agreed.why, data={"changes": changes})
    return results


def end_emergencies(*, by: Person) -> int:
    """End every emergency edit whose hours are over. Safe at any time and twice. Returns how many."""
    return sum(end_emergency(use, by=by) for use in emergencies.due_to_end(PREFIX + EMERGENCY_EDIT))


def end_emergency(use: EmergencyUse, *, by: Person) -> bool:
    """What hasn't posted by it goes by its own words again from its next attempt on; what has, stays. Whether it was
    still in force."""
    with atomic():
        locked = EmergencyUse.objects.select_for_update().get(pk=use.pk)
        if locked.ended_at is not None or locked.verdict == EmergencyUse.Verdict.STAYS:
            return False
        for mine in Choice.objects.filter(proposal=locked.pk, about=EDIT).order_by("pk"):
            txn = BusinessTransaction.objects.get(pk=mine.transaction_id)
            newest = Choice.objects.filter(transaction_id=txn.pk, about=EDIT).latest("pk")
            if txn.state not in ("completed", "cancelled") and newest.pk == mine.pk:
                ended = {row["path"] for row in locked.proposal.content["terms"]["changes"]}
                left = [row for row in mine.content["changes"] if row["path"] not in ended]
                Choice.objects.create(
                    transaction_id=txn.pk, about=EDIT, content={"changes": left}, case=mine.case, by=by,
                    at=timezone.now(),
                )  # fmt: skip
        emergencies.note_end(locked)
        audit.record(by, "end_emergency", "case", locked.proposal.subject_id, data={"proposal": locked.pk})
    return True


def documents_of_use(use: EmergencyUse) -> list[UUID]:
    """The documents that an emergency edit was about."""
    return [UUID(row["transaction"]) for row in use.proposal.content["documents"]]


def places_for(txn: BusinessTransaction, *, in_emergency: bool = False) -> list[Place]:
    """What of a held document may be edited; nothing of one whose type has no such field, or that can't be read."""
    try:
        return places_of(document_of(txn), in_emergency=in_emergency)
    except (ValueError, KeyError):
        return []


def _what(changes: list[dict[str, str]]) -> str:
    return ", ".join(change["label"].lower() for change in changes[:3]) + ("…" if len(changes) > 3 else "")
