"""What holds a document is told on its record outside: which notes are to be written, found from what cases hold.

Each occurrence is marked once it's told (`Occurrence.told`), and again once it's closed; so a lost nudge, a late commit
and a crash are all found by one look at two small indexes, and nothing stands in the machinery's way. Only marked ones
are spoken of on a record, so each of them that changes or closes brings its record up again. What is to be said becomes
a fact of the flow `hold_to_source`, a few at once: thousands of held documents don't use up a vendor's limits.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db.models.functions import Now
from django.db.transaction import atomic
from django.utils import timezone

from connectors import registry
from connectors.families import Family
from connectors.manifest import TELLS_HOLDS, Manifest
from connectors.models import Connection
from exceptions.hold_words import Held, message_of
from exceptions.models import Occurrence
from q2c import ports
from q2c.canonical.base import Source
from q2c.canonical.contract import HoldNote
from q2c.canonical.schema import content_hash, from_json
from q2c.core import ids, leases
from q2c.core.problems import Problem
from q2c.flows import hold_to_source
from q2c.flows.catalog import TELLING
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.facts import is_order_of_crm
from q2c.flows.status_to_crm import STATUS_TO_CRM
from q2c.flows.tasks import nudge
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, WorkItem

AT_ONCE = 50  # notes on their way, and occurrences looked at in one round of a few seconds
_LEASE_SECONDS = 60.0
# Chosen apart: a limit in a subquery of the condition may be asked once per row, and then it limits nothing.
_MARK = """
    WITH due AS MATERIALIZED (
        SELECT id FROM exceptions_occurrence WHERE {due} ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    UPDATE exceptions_occurrence o SET told = CASE WHEN o.closed_at IS NULL THEN 1 ELSE 0 END
      FROM due WHERE o.id = due.id RETURNING o.transaction_id
"""
_CLOSED = "closed_at IS NOT NULL AND told <> 0"
_OPENED = "closed_at IS NULL AND told <> 1 AND transaction_id IS NOT NULL"
_HOLDING = """
    SELECT t.source_connection, t.source_id, t.number, t.legal_entity_code, o.problem, c.id, c.queue
      FROM transactions_businesstransaction t
      JOIN exceptions_occurrence o ON o.transaction_id = t.id AND o.closed_at IS NULL AND o.told <> 0
      JOIN exceptions_exceptioncase c ON c.id = o.case_id
     WHERE t.source_id = ANY(%s) AND t.flow <> ALL(%s) ORDER BY c.severity, o.id
"""
_LAST_SAID = """
    SELECT DISTINCT ON (lane) lane, fact FROM transactions_businesstransaction
     WHERE lane = ANY(%s) AND state <> 'cancelled' ORDER BY lane, lane_sequence DESC
"""


ORDER = "order"  # a CRM's record, of whichever kind: its client knows
Key = tuple[str, str]  # connection and id of a source object
_Of = tuple[str, str, str, str]  # connection, type, id and legal entity of one


class Place(NamedTuple):
    """A record outside that can carry a note."""

    connection: str
    object_type: str
    object_id: str


def tell_sources() -> int:
    """Let the records follow what holds their documents. Returns how many notes are on their way now."""
    me = leases.this_process()
    if not leases.take_lease("hold_notes", holder=me, seconds=_LEASE_SECONDS):
        return 0
    try:
        # What waits for a connection that is away takes no room from the others.
        due = WorkItem.objects.filter(flow=hold_to_source.CODE, available_at__lte=Now())
        room = AT_ONCE - due.count()
        return _tell(room) if room > 0 else 0
    finally:
        leases.release_lease("hold_notes", holder=me)


def _tell(room: int) -> int:
    with atomic():
        changed = _mark(_CLOSED, room)
        changed += _mark(_OPENED, room - len(changed))
        notes = _notes(changed) if changed else []
        made = dispatch_facts([fact_of(note) for note in notes])
        nudge(made.flows)
    return len(made.new)


def tell_anew() -> int:
    """Look once more at everything that is told of: where notes are written was changed. Returns how much that is."""
    return Occurrence.objects.filter(closed_at__isnull=True, told=1).update(told=2)


def _mark(due: str, limit: int) -> list[UUID]:
    """Mark what changed as told. Never waits for a row that somebody writes to: the next round has it."""
    with database.cursor() as cursor:
        cursor.execute(_MARK.format(due=due), [limit])
        return [row[0] for row in cursor.fetchall()]


def _notes(transaction_ids: list[UUID]) -> list[HoldNote]:
    """What is to be said now of the records of these documents and isn't said yet."""
    rows = BusinessTransaction.objects.filter(pk__in=transaction_ids).exclude(flow__in=TELLING)
    sources = set(rows.values_list("source_connection", "source_type", "source_id", "legal_entity_code"))
    takers, silent = _takers()
    documents = _documents_by_place(sources, takers)
    holding = _holding({each for found in documents.values() for each in found})
    said, at, notes = _last_said(documents), timezone.now(), []
    for place, sold in sorted(documents.items()):
        is_told = place.connection not in silent  # elsewhere what was written before is taken away, and no more
        held = [row for each in sorted(sold) for row in holding.get(each, ())] if is_told else []
        note = HoldNote(source=Source(connection=place.connection, object_type=place.object_type,
                                      object_id=place.object_id), at=at)  # fmt: skip
        if held:
            note = HoldNote(source=note.source, at=at, status="held", message=message_of(held),
                            link=f"{settings.BASE_URL.rstrip('/')}/exceptions/cases/{held[0].case}/")  # fmt: skip
        last = said.get(hold_to_source.lane_of(note))
        before = (last.status, last.message, last.link) if last else ("", "", "")
        if before != (note.status, note.message, note.link):
            notes.append(note)
    return notes


def _documents_by_place(sources: Iterable[_Of], takers: dict[str, Manifest]) -> dict[Place, set[Key]]:
    """The records to tell, each with the source objects (connection, id) of which it tells: the document's own record,
    and the order that sold it with all that was billed of it."""
    found = defaultdict[Place, set[Key]](set)
    orders: dict[Key, set[Key]] = {}  # by the CRM's connection and the order's id: what was billed of it
    entities = {(connection, object_id): entity for connection, _, object_id, entity in sources}
    for connection, kind, object_id, _ in sources:
        taker = takers.get(connection)
        if taker is not None and Family.CRM in taker.families:
            orders[connection, object_id] = set()
        elif taker is not None and kind in taker.notes_on:
            found[Place(connection, kind, object_id)].add((connection, object_id))
    for key, order in _orders_of(entities):
        crm = _crm_of(entities[key])
        if crm in takers:
            orders.setdefault((crm, order), set())
    for lane, connection, object_id in _billed_of({order for _, order in orders}):
        for crm, order in orders:
            if order == lane:
                orders[crm, order].add((connection, object_id))
    for (crm, order), billed in orders.items():
        found[Place(crm, ORDER, order)] |= {(crm, order), *billed}
    return found


def _takers() -> tuple[dict[str, Manifest], set[str]]:
    """The connections whose records take our notes, and those of them where somebody has switched that off. Read
    afresh: what is marked as told isn't looked at again."""
    found, silent = {}, set()
    for row in Connection.objects.only("code", "vendor", "settings"):
        manifest = registry.manifest(row.vendor) if row.vendor in registry.vendors() else None
        if manifest and manifest.notes_on:
            found[row.code] = manifest
            if row.settings.get(TELLS_HOLDS.name, TELLS_HOLDS.default) == "no":
                silent.add(row.code)
    return found, silent


def _crm_of(entity: str) -> str:
    try:
        return ports.role(Family.CRM, entity)
    except Problem:  # nobody sells for it
        return ""


def _orders_of(keys: Collection[Key]) -> list[tuple[Key, str]]:
    """The orders of a CRM by which these documents were sold."""
    rows = BilledDocument.objects.filter(external_id__in={object_id for _, object_id in keys}).exclude(order_id="")
    named = rows.values_list("connection_code", "external_id", "order_id")
    return [((c, i), order) for c, i, order in named if (c, i) in keys and is_order_of_crm(order)]


def _billed_of(orders: Collection[str]) -> list[tuple[str, str, str]]:
    """What was billed of these orders, as the CRM was told of it: order, connection and id."""
    lanes = {f"order:{order}": order for order in orders}
    rows = BusinessTransaction.objects.filter(lane__in=lanes, flow=STATUS_TO_CRM.code).values_list(
        "lane", "source_connection", "source_id"
    )
    return [(lanes[lane], connection, object_id) for lane, connection, object_id in rows.distinct()]


def _holding(keys: Collection[Key]) -> dict[Key, list[Held]]:
    """What holds the documents of these source objects, the most severe first."""
    with database.cursor() as cursor:
        cursor.execute(_HOLDING, [sorted({object_id for _, object_id in keys}), list(TELLING)])
        rows = [(*row[:4], _json(row[4]), *row[5:]) for row in cursor.fetchall()]
    known = _known_for([(entity, problem) for _, _, _, entity, problem, _, _ in rows])
    found: dict[Key, list[Held]] = defaultdict(list)
    for connection, object_id, number, entity, problem, case, queue in rows:
        if (connection, object_id) in keys:
            code, subject = problem["code"], problem["subject"]
            found[connection, object_id].append(Held(number, code, subject, case, queue, known(code, entity, problem)))
    return found


def _known_for(rows: Iterable[tuple[str, dict[str, Any]]]) -> Callable[[str, str, dict[str, Any]], dict[str, str]]:
    """Where we know what would be right: the entities that there are, the next open period, the price book's price."""
    codes = {problem["code"] for _, problem in rows}
    entities = sorted(ports.entities()) if "legal_entity_unknown" in codes else []

    def known(code: str, entity: str, problem: dict[str, Any]) -> dict[str, str]:
        if code == "legal_entity_unknown":
            return {"right": f"one of {', '.join(entities)}"}
        if code == "period_closed":
            period = _next_open(entity, problem["subject"])
            return {"open_period": period} if period else {}
        listed = (problem.get("evidence") or {}).get("listed")
        return {"listed": listed} if listed else {}

    return known


def _next_open(entity: str, subject: dict[str, str]) -> str:
    """The first period after a closed one that is open in the same book, as the ERP's own list says."""
    if not subject.get("period"):
        return ""  # an ERP that doesn't say which
    periods = ports.periods().get((subject.get("legal_entity") or entity, subject.get("connection", "")), [])
    ledger = subject.get("ledger") == "ledger"
    later = (p for p in periods if p.code > subject["period"])
    return next((p.code for p in later if (p.is_ledger_open if ledger else p.is_receivables_open)), "")


def _last_said(places: Iterable[Place]) -> dict[str, HoldNote]:
    """What was said last of each record, sent or on its way, by lane."""
    lanes = [f"hold:{place.connection}:{place.object_type}:{place.object_id}" for place in places]
    with database.cursor() as cursor:
        cursor.execute(_LAST_SAID, [lanes])
        return {lane: from_json(bytes(fact), HoldNote) for lane, fact in cursor.fetchall()}


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def fact_of(note: HoldNote) -> Fact:
    """The fact of a note: one lane per record, after all that carries money."""
    source = note.source
    return Fact(
        flow=hold_to_source.CODE,
        business_key=ids.business_key(
            connection=source.connection, object_type=source.object_type, object_id=source.object_id,
            content_hash=content_hash(note),
        ),
        lane=hold_to_source.lane_of(note),
        document=note,
        source_connection=source.connection,
        source_type=source.object_type,
        source_id=source.object_id,
        priority=9,
    )  # fmt: skip
