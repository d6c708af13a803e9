"""After a restore of the database from an older backup: everything is read again, every write looks first, and what the
ERP holds of ours that we have forgotten is listed and linked.

Keys and external ids are pure functions of the source, so whatever the feeds bring again finds its document. What no
feed brings back is linked here by its external id; only what isn't understood is left to a person.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from connectors import connections
from connectors.models import Connection, SyncCursor
from exceptions import cases
from exceptions.alerts import channels
from mappings.models import CrossReference
from mappings.references import Reference, store_references
from q2c import ports
from q2c.canonical.posting import PostedDocument
from q2c.core import audit, ids
from q2c.core.leases import BEAT, WORKER, living
from q2c.core.models import Person, Subsidiary
from q2c.core.problems import Category, Problem
from q2c.inbox.refetch import run_waiting
from q2c.transactions.contributions import PORTAL
from q2c.transactions.models import Restore

FULL_LISTING = "full_at"  # in a feed's position: when everything was last listed (connectors.families.Page)


@dataclass(frozen=True)
class Record:
    """What a document of ours stands for: our type of record, the source's word for its object, and, where it's one
    movement of several, which there are (`document.movement`, the end of the external id): each is its own record."""

    record_type: str
    object_type: str
    movements: tuple[str, ...] = ()


_REFUND = Record("refund", "refund", ("", "failed"))
# By the class of the external id (q2c.core.ids) and our word for the document.
RECORDS = {
    ("inv", "ar_invoice"): Record("invoice", "invoice"),
    ("cm", "ar_credit_memo"): Record("credit_memo", "credit_note"),
    ("void", "ar_credit_memo"): Record("invoice_void", "invoice_void"),
    ("void", "ar_invoice"): Record("credit_void", "credit_note_void"),
    ("pay", "receipt"): Record("payment", "payment"),
    ("ref", "ar_refund"): _REFUND,
    ("ref", "journal"): _REFUND,
    ("dsp", "journal"): Record("dispute", "dispute", ("withdrawn", "won")),
    ("po", "journal"): Record("payout", "payout", ("", "failed")),
}
# What stands for no object of a source: a link alone would say nothing of who decided it.
_DECIDED = "it’s {}, which two people agreed on after the backup; decide it again, and what is there is found"
OTHERS = {
    "wo": _DECIDED.format("a write-off or an accepted difference"),
    "unw": _DECIDED.format("an invoice that was taken back"),
    "re": _DECIDED.format("an invoice or a journal that was posted again"),
    "rev": _DECIDED.format("the reversal of a journal"),
    "rvo": _DECIDED.format("the reversal of what the ERP made of a journal"),
    "acc": _DECIDED.format("an accrual"),
    "sum": "it’s a day’s summary that the documents which came back don’t add up to; compare its lines with them",
}


@dataclass(frozen=True)
class Forgotten:
    """A document of ours in the ERP that we knew nothing of, and the record that it was linked to (empty: a case)."""

    connection: str
    document: PostedDocument
    record_key: str


def declare_restored(*, by: Person, why: str, days: int) -> Restore:
    """From now on, for so many days, every write looks first; every feed is read again from where the backup stood. The
    audit chain goes on from there: anchors of what came after the backup are named by its entry, and set aside.

    Raises ValueError without a reason.
    """
    if not why.strip():
        raise ValueError("say why")
    with atomic():
        now = timezone.now()
        restore = Restore.objects.create(at=now, looks_until=now + dt.timedelta(days=days), by=by.username, why=why)
        for cursor in SyncCursor.objects.select_for_update():
            if FULL_LISTING in cursor.position:
                cursor.position = {**cursor.position, FULL_LISTING: 0}
                cursor.save(update_fields=["position"])
        gone = audit.anchors_gone()
        data: dict[str, Any] = {"looks_until": restore.looks_until.isoformat()}
        if gone:
            data[audit.VOID] = list(gone)
        entry = audit.record(by, "restored", "database", restore.pk, why=why, data=data)
    if gone:
        audit.set_aside(entry, gone)
    return restore


def cut_off(*, by: Person, why: str) -> tuple[list[str], list[str]]:
    """Keep a restored copy from the systems and rooms that the original works with: codes of the connections that have
    no credentials any more and are paused, and names of the channels that were switched off. Before anything runs.

    Raises ValueError without a reason, and while processes work on this database: then it's no copy.
    """
    if not why.strip():
        raise ValueError("say why")
    if alive := living(WORKER) + living(BEAT):  # other leases come with a fresh backup, and lapse
        raise ValueError(f"{alive} processes work on this database, so it’s no copy that was just restored")
    with atomic():
        return connections.cut_off(by=by, reason=why), channels.switch_all_off(why=why, by=by)


def link_forgotten(*, since: dt.date) -> list[Forgotten]:
    """Link what the ERPs were given by us since a day and no cross-reference names; a case for what isn't
    understood."""
    found: list[Forgotten] = []
    sources = [PORTAL, *Connection.objects.values_list("code", flat=True)]
    for code in sorted(set(Subsidiary.objects.values_list("connection__code", flat=True))):
        documents = run_waiting(_gather(ports.target(code).documents_of_ours(since=since)))
        rows = CrossReference.objects.filter(connection__code=code, external_id__in=[d.id for d in documents])
        known = set(rows.values_list("external_type", "external_id"))  # one id may be a customer's and a document's
        for document in documents:
            if (document.document_type, document.id) not in known:
                found.append(_link(code, document, sources))
    return found


async def _gather(rows: Any) -> list[PostedDocument]:
    return [row async for row in rows]


def _link(erp: str, document: PostedDocument, sources: list[str]) -> Forgotten:
    record = read_record(document, sources)
    if isinstance(record, str):
        problem = _unknown(erp, document, record)
    else:
        reference = Reference(*record, erp, document.document_type, document.id, document.number)
        refused = store_references([reference], timezone.now())
        if not refused:
            return Forgotten(erp, document, record[1])
        problem = _unknown(erp, document, refused[0].problem.summary)
    cases.open_case(problem, connection_code=erp)
    return Forgotten(erp, document, "")


def read_record(document: PostedDocument, sources: list[str]) -> tuple[str, str] | str:
    """Record type and key, as its own flow names it, that a document of ours stands for; else why none."""
    read = ids.read_external_id(document.external_id, sources)
    if read is None:
        return "its external id doesn’t say of what"
    prefix, source, object_id = read
    if prefix in OTHERS:
        return OTHERS[prefix]
    record = RECORDS.get((prefix, document.document_type))
    movements = record.movements if record is not None else ()
    movement = next((m for m in movements if m and object_id.endswith(f"-{m}")), "")
    if record is None or (movements and movement not in movements):
        return f"we give no {document.document_type.replace('_', ' ')} such an external id"
    key = f"{source}:{record.object_type}:{object_id}"
    return record.record_type, f"{key.removesuffix(f'-{movement}')}:{movement}" if movement else key


def _unknown(erp: str, document: PostedDocument, why: str) -> Problem:
    return Problem(
        "forgotten_document",
        Category.DRIFT,
        f"{document.number or document.id} stands in {erp} as {document.external_id}, and we know nothing of it: {why}",
        connection=erp,
        document=document.number or document.id,
        external_id=document.external_id,
    )
