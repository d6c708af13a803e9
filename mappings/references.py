"""Cross-references: which id the same thing has in another system. An identity, not a rule.

Kept one to one by the database; several records share an id only where their type declares it and two people agreed.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, fields

from django.db import connection as database
from django.db.models import Q, QuerySet

from mappings.models import CrossReference
from q2c.core.problems import Category, Problem


@dataclass(frozen=True, slots=True)
class Reference:
    """A record's id in a system. `connection` is the target's code, `record_key` the record's `connection:type:id`."""

    record_type: str
    record_key: str
    connection: str
    external_type: str
    external_id: str
    number: str = ""
    scope: str = ""
    legal_entity: str = ""
    transaction_id: uuid.UUID | None = None


@dataclass(frozen=True)
class RecordType:
    """A kind of record whose ids people see and change. Several of ours may be one record of another system only where
    `may_share` declares it: two billing customers may rightly be one customer of the ERP, two invoices never."""

    title: str
    may_share: bool = False


RECORD_TYPES = {
    "customer": RecordType("Customer", may_share=True),
    "product": RecordType("Product", may_share=True),
    "order": RecordType("Order"),
    "subscription": RecordType("Subscription"),
    "invoice": RecordType("Invoice"),
    "credit_memo": RecordType("Credit memo"),
    "payment": RecordType("Payment"),
    "application": RecordType("Application"),
    "refund": RecordType("Refund"),
    "dispute": RecordType("Dispute"),
    "payout": RecordType("Payout"),
}
_STORE = """
    INSERT INTO mappings_crossreference (record_type, record_key, connection_id, external_type, external_id, number,
                                         scope, legal_entity_code, transaction_id, at)
    SELECT r.record_type, r.record_key, c.id, r.external_type, r.external_id, r.number, r.scope, r.legal_entity,
           r.transaction_id, %s
      FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                  %s::uuid[])
           AS r(record_type, record_key, connection, external_type, external_id, number, scope, legal_entity,
                transaction_id)
      JOIN connectors_connection c ON c.code = r.connection
     ORDER BY r.connection, r.external_type, r.external_id, r.record_type, r.record_key
    ON CONFLICT DO NOTHING
"""
_DIFFERING = """
    SELECT r.place - 1
      FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
           AS r(record_type, record_key, connection, external_type, external_id, scope, place)
     WHERE NOT EXISTS (
        SELECT FROM mappings_crossreference x JOIN connectors_connection c ON c.id = x.connection_id
         WHERE c.code = r.connection AND x.external_type = r.external_type AND x.external_id = r.external_id
           AND x.record_type = r.record_type AND x.record_key = r.record_key AND x.scope = r.scope)
     ORDER BY 1
"""


@dataclass(frozen=True)
class Conflict:
    """A reference that contradicts what is stored, so nothing was stored of it. `stands` is the id that the record has
    there instead, if it has one, and `is_said` that people, or a merge that was followed, gave it that."""

    reference: Reference
    problem: Problem
    stands: str = ""
    is_said: bool = False


def store_references(references: Iterable[Reference], at: dt.datetime) -> list[Conflict]:
    """Store all that are new, in two statements; the same one again is no news.

    Returns those that contradict what is stored: the record has another id there, or the id is another record's, or the
    connection is unknown. Nothing was changed for them.
    """
    rows = sorted(
        set(references), key=lambda r: (r.connection, r.external_type, r.external_id, r.record_type, r.record_key)
    )
    if not rows:
        return []
    columns = [[getattr(row, field.name) for row in rows] for field in fields(Reference)]
    with database.cursor() as cursor:
        cursor.execute(_STORE, [at, *columns])
        if cursor.rowcount == len(rows):
            return []
        cursor.execute(_DIFFERING, [columns[i] for i in (0, 1, 2, 3, 4, 6)])
        return [_conflict(rows[place]) for (place,) in cursor.fetchall()]


def move_references(moves: Iterable[tuple[Reference, str]], at: dt.datetime) -> list[Conflict]:
    """Our records stand as other documents of the same system from now on: each reference with the id that it was.
    One that stands as that document already is left as it is. Returns those that were another: they stay it."""
    conflicts = []
    for row, was in moves:
        rows = _standing(row)
        count = rows.filter(external_id=was).update(
            external_id=row.external_id, number=row.number, transaction_id=row.transaction_id, at=at
        )
        if not count and not rows.filter(external_id=row.external_id).exists():
            conflicts.append(_conflict(row))
    return conflicts


def _standing(row: Reference) -> QuerySet[CrossReference]:
    return CrossReference.objects.filter(
        record_type=row.record_type, record_key=row.record_key, connection__code=row.connection,
        external_type=row.external_type, scope=row.scope,
    )  # fmt: skip


def find_references(
    record_type: str, record_keys: Iterable[str], *, connection: str, external_type: str = "", scope: str = ""
) -> dict[str, Reference]:
    """The ids that these records have in a system, by record key, in one statement. Absent ones are left out."""
    found = CrossReference.objects.filter(
        record_type=record_type, record_key__in=set(record_keys), connection__code=connection, scope=scope
    )
    if external_type:
        found = found.filter(external_type=external_type)
    return {row.record_key: row for row in map(_reference, found.select_related("connection"))}


def find_records(external_ids: Iterable[str], *, connection: str, external_type: str) -> dict[str, Reference]:
    """Which records these ids of a system stand for, by external id, in one statement."""
    found = CrossReference.objects.filter(
        connection__code=connection, external_type=external_type, external_id__in=set(external_ids)
    )
    rows = found.select_related("connection").order_by("-is_shared", "-id")  # the first one's own counts
    return {row.external_id: row for row in map(_reference, rows)}


def find_anywhere(text: str) -> list[Reference]:
    """Every reference that has this text as its id, number or record key, in any system."""
    found = CrossReference.objects.filter(Q(external_id=text) | Q(number=text) | Q(record_key=text))
    return [_reference(row) for row in found.select_related("connection").order_by("id")]


def references_of(record_key: str) -> list[Reference]:
    """All ids of one record, in every system."""
    found = CrossReference.objects.filter(record_key=record_key).select_related("connection")
    return [_reference(row) for row in found.order_by("connection__code", "external_type", "scope")]


def _reference(row: CrossReference) -> Reference:
    return Reference(
        row.record_type, row.record_key, row.connection.code, row.external_type, row.external_id, row.number, row.scope,
        row.legal_entity_code, row.transaction_id,
    )  # fmt: skip


def _conflict(row: Reference) -> Conflict:
    """What is stored instead, by name: it's what people decide between."""
    stored = _standing(row).first()
    taken = CrossReference.objects.filter(
        connection__code=row.connection, external_type=row.external_type, external_id=row.external_id
    )
    other = taken.exclude(record_type=row.record_type, record_key=row.record_key).order_by("is_shared", "id").first()
    if stored is not None:
        stands, why = stored.external_id, f"it’s {stored.external_id} there already"
    elif other is not None:
        stands, why = other.record_key, f"that is {other.record_key} already"
    else:
        stands, why = "", "it isn’t known there any more as what it was"
    problem = Problem(
        "cross_reference_conflict",
        Category.CONFLICT,
        f"{row.record_key} can't be {row.external_type} {row.external_id} of {row.connection}: {why}",
        connection=row.connection,
        record=row.record_key,
        external_type=row.external_type,
        external_id=row.external_id,
        stands=stands,
    )
    if stored is None:
        return Conflict(row, problem)
    return Conflict(row, problem, stored.external_id, stored.is_linked)
