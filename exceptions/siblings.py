"""What hangs together with a case: its documents' other transactions, and the open cases that hold some of those.

Three ties, each told: the same document in another flow, the same journey from the first sale on, the same customer.
Looked up from the case's newest documents, so that a case of ten thousand costs what a case of one does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from exceptions import tallies
from exceptions.models import ExceptionCase, Occurrence
from q2c.flows.catalog import TELLING
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import OPEN, trace, transactions_visible_to

DOCUMENTS = 25  # of the case, the newest, from which others are found
NEWEST = 5000  # open documents among which those of the same customer are looked for
SHOWN = 10
DOCUMENT, JOURNEY, CUSTOMER = "same document", "same journey", "same customer"


@dataclass(frozen=True)
class Sibling:
    """Another open case, and what ties it to this one."""

    case: ExceptionCase
    tie: str


@dataclass
class Related:
    """The newest of the case's documents, other transactions of its documents, and other cases."""

    document: BusinessTransaction | None = None
    transactions: list[tuple[BusinessTransaction, str]] = field(default_factory=list)
    cases: list[Sibling] = field(default_factory=list)


def related_to(user: Any, case: ExceptionCase) -> Related:
    """What the person sees of what hangs together with a case."""
    rows = tallies.occurrences_visible_to(user, case).exclude(transaction_id=None)
    held = rows.order_by(F("closed_at").asc(nulls_first=True), "-id")  # the open ones first
    mine = [pk for pk in dict.fromkeys(held.values_list("transaction_id", flat=True)[:DOCUMENTS]) if pk is not None]
    visible = transactions_visible_to(user)
    own = {txn.pk: txn for txn in visible.filter(pk__in=mine)}
    if not own:
        return Related()
    first = next(own[pk] for pk in mine if pk in own)
    ties: dict[UUID, str] = {}
    for tie, found in (
        (DOCUMENT, _same_document(visible, own.values())),
        (JOURNEY, _same_journey(user, first)),
        (CUSTOMER, _same_customer(visible, own.values())),
    ):
        for pk in found:
            if pk not in own:
                ties.setdefault(pk, tie)
    others = {txn.pk: txn for txn in visible.filter(pk__in=ties)}
    shown = [(txn, ties[pk]) for pk, txn in others.items() if ties[pk] != CUSTOMER and txn.flow not in TELLING]
    shown.sort(key=lambda each: each[0].pk)
    rows = Occurrence.objects.filter(transaction_id__in=others, closed_at__isnull=True).exclude(case=case)
    by_case: dict[int, list[str]] = {}
    for case_id, transaction_id in rows.values_list("case_id", "transaction_id"):
        if transaction_id is not None:
            by_case.setdefault(case_id, []).append(ties[transaction_id])
    nearest = (DOCUMENT, JOURNEY, CUSTOMER)
    seen = tallies.cases_visible_to(user).filter(pk__in=by_case, closed_at__isnull=True)
    cases = [Sibling(found, min(by_case[found.pk], key=nearest.index)) for found in seen]
    cases.sort(key=lambda each: (nearest.index(each.tie), -each.case.pk))
    return Related(first, shown[:SHOWN], cases[:SHOWN])


def _same_document(visible: Any, own: Iterable[BusinessTransaction]) -> list[UUID]:
    """Transactions of the same source object, in other flows and other versions."""
    wanted = Q()
    for txn in own:
        place = {"source_connection": txn.source_connection, "source_type": txn.source_type}
        wanted |= Q(source_id=txn.source_id, **place)
    return list(visible.filter(wanted).order_by("-id").values_list("pk", flat=True)[: 10 * SHOWN])


def _same_journey(user: Any, txn: BusinessTransaction) -> list[UUID]:
    """Transactions of the journey that the document is on, by its lineage."""
    links, _ = trace(user, [(txn.source_connection, txn.source_type, txn.source_id)])
    return list(dict.fromkeys(link.transaction_id for link in links))


def _same_customer(visible: Any, own: Iterable[BusinessTransaction]) -> list[UUID]:
    """Open documents of the same customers, among the newest open ones."""
    wanted = Q()
    for system, customer in {(txn.source_connection, txn.customer_id) for txn in own if txn.customer_id}:
        wanted |= Q(source_connection=system, customer_id=customer)
    if not wanted:
        return []
    newest = visible.filter(OPEN).order_by("-id").values("pk")[:NEWEST]
    return list(visible.filter(wanted, pk__in=newest).order_by("-id").values_list("pk", flat=True)[: 10 * SHOWN])
