"""What carries an id or a number of any system: transactions, and documents of other systems, of the rows that somebody
sees. The portal's search and the API's trace ask the same question here."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from mappings.models import CrossReference
from q2c.core import access
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import transactions_visible_to

Key = tuple[str, str, str]  # a document elsewhere: connection's code, the system's own word for its type, its id there
MOST = 20  # of each table


@dataclass(frozen=True)
class Carrier:
    """A document of another system that carries what was asked for. `amount` is in major units of its currency."""

    key: Key
    number: str = ""
    amount: Decimal | None = None
    currency: str = ""


def transactions_carrying(user: Any, forms: list[str], text: str) -> QuerySet[BusinessTransaction]:
    """The newest transactions with one of these ids or numbers (`forms`: as systems spell it), or whose own id or
    correlation id the text is."""
    wanted = Q(source_id__in=forms) | Q(number__in=forms) | Q(target_id__in=forms) | Q(target_number__in=forms)
    wanted |= Q(correlation_id=text)
    if own_id := as_uuid(text):
        wanted |= Q(pk=own_id)
    return transactions_visible_to(user).filter(wanted).order_by("-id")[:MOST]


def documents_carrying(user: Any, forms: list[str]) -> list[Carrier]:
    """The documents of other systems with one of these ids or numbers, each once; also what billing made under a
    subscription of this id."""
    found: dict[Key, Carrier] = {}
    references = access.visible_to(user, CrossReference.objects.select_related("connection"))
    for row in references.filter(Q(external_id__in=forms) | Q(number__in=forms))[:MOST]:
        key = (row.connection.code, row.external_type, row.external_id)
        found.setdefault(key, Carrier(key, row.number))
    billed = access.visible_to(user, BilledDocument.objects.all())
    for doc in billed.filter(Q(external_id__in=forms) | Q(number__in=forms) | Q(subscription_id__in=forms))[:MOST]:
        key = (doc.connection_code, doc.document_type, doc.external_id)
        found.setdefault(key, Carrier(key, doc.number, doc.amount, doc.currency))
    links = access.visible_to(user, LineageLink.objects.all())
    for link in links.filter(Q(source_id__in=forms) | Q(target_id__in=forms)).order_by()[:MOST]:
        for key in ends_of(link):
            if key[2] in forms:
                found.setdefault(key, Carrier(key))
    return list(found.values())


def ends_of(link: LineageLink) -> tuple[Key, Key]:
    """Where a hop begins, and where it leads."""
    return (
        (link.source_system, link.source_type, link.source_id),
        (link.target_system, link.target_type, link.target_id),
    )


def as_uuid(text: str) -> uuid.UUID | None:
    """The id that a text is, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
