"""Which documents of a case a person may act on: of a case of several entities those of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from exceptions import tallies
from exceptions.models import ExceptionCase, Occurrence
from q2c.core import access
from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction

NEVER_WAIVED = {flow.code: flow.never_waived for flow in catalog.FLOWS if flow.never_waived}
NONE_WAIVED = " ".join(f"{why[:1].upper()}{why[1:]}." for why in NEVER_WAIVED.values())


def held_documents(case: ExceptionCase, by: Any, permission: str) -> QuerySet[Occurrence]:
    """The open documents of the case that this person sees and holds the permission for, the newest first."""
    rows = tallies.occurrences_visible_to(by, case).filter(closed_at__isnull=True, transaction_id__isnull=False)
    return _reached(rows, case, by, permission).order_by("-pk")


def document_of_case(case: ExceptionCase, by: Any, permission: str, transaction_id: UUID) -> BusinessTransaction | None:
    """One document that the case holds or held, if this person sees it and holds the permission for it."""
    rows = tallies.occurrences_visible_to(by, case).filter(transaction_id=transaction_id)
    found = _reached(rows, case, by, permission).values_list("transaction_id", flat=True)[:1]
    return BusinessTransaction.objects.filter(pk__in=list(found)).first()


def why_not_held(txn: BusinessTransaction) -> str:
    """That a document isn't held in its case any more, and what it is now, in a sentence."""
    now = {"completed": "it’s completed", "cancelled": "it was given up", "held": "another case has it now"}
    return f"{txn.number or txn.source_id} isn’t held any more: {now.get(txn.state, 'it’s on the way')}."


def never_waived(transaction_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Which of these documents can't be given up, each with why and what is done instead."""
    rows = BusinessTransaction.objects.filter(pk__in=list(transaction_ids), flow__in=NEVER_WAIVED)
    return {pk: NEVER_WAIVED[flow] for pk, flow in rows.order_by("pk").values_list("pk", "flow")}


def _reached(rows: QuerySet[Occurrence], case: ExceptionCase, by: Any, permission: str) -> QuerySet[Occurrence]:
    entities = access.entities_where(by, permission, kind=case.kind)
    if entities is not None:
        own = BusinessTransaction.objects.filter(legal_entity_code__in=sorted(entities))
        rows = rows.filter(transaction_id__in=own.values("pk"))
    return rows
