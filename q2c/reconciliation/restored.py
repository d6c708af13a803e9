"""After a restore of the database from an older backup: everything is read again, every write looks first, and what the
ERP holds of ours that we have forgotten is listed and linked.

Keys and external ids are pure functions of the source, so whatever the feeds bring again finds its document. What no
feed brings back is linked here by its external id; only what isn't understood is left to a person.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from connectors.models import Connection, SyncCursor
from exceptions import cases
from mappings.models import CrossReference
from mappings.references import Reference, store_references
from q2c import ports
from q2c.canonical.posting import PostedDocument
from q2c.core import audit
from q2c.core.models import Person, Subsidiary
from q2c.core.problems import Category, Problem
from q2c.inbox.refetch import run_waiting
from q2c.transactions.models import Restore

FULL_LISTING = "full_at"  # in a feed's position: when everything was last listed (connectors.families.Page)

# The class of an external id (q2c.core.ids.external_id): the record it stands for, and the source's word for it.
RECORDS = {
    "inv": ("invoice", "invoice"),
    "cm": ("credit_memo", "credit_note"),
    "pay": ("payment", "payment"),
    "ref": ("refund", "refund"),
    "dsp": ("dispute", "dispute"),
    "po": ("payout", "payout"),
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


def link_forgotten(*, since: dt.date) -> list[Forgotten]:
    """Link what the ERPs hold of ours since a day and no cross-reference names; a case for what isn't understood."""
    found: list[Forgotten] = []
    sources = sorted(Connection.objects.values_list("code", flat=True), key=len, reverse=True)
    for code in sorted(set(Subsidiary.objects.values_list("connection__code", flat=True))):
        documents = run_waiting(_gather(ports.target(code).documents_of_ours(since=since)))
        known = set(
            CrossReference.objects.filter(connection__code=code, external_id__in=[d.id for d in documents]).values_list(
                "external_id", flat=True
            )
        )
        for document in documents:
            if document.id not in known:
                found.append(_link(code, document, sources))
    return found


async def _gather(rows: Any) -> list[PostedDocument]:
    return [row async for row in rows]


def _link(erp: str, document: PostedDocument, sources: list[str]) -> Forgotten:
    record = read_external_id(document.external_id, sources)
    if record is None:
        problem = _unknown(erp, document, "its external id isn't one that we would give")
    else:
        reference = Reference(*record, erp, document.document_type, document.id, document.number)
        refused = store_references([reference], timezone.now())
        if not refused:
            return Forgotten(erp, document, record[1])
        problem = _unknown(erp, document, refused[0][1].summary)
    cases.open_case(problem, connection_code=erp)
    return Forgotten(erp, document, "")


def read_external_id(external_id: str, sources: list[str]) -> tuple[str, str] | None:
    """Record type and key that an external id of ours stands for; None where it can't be told (a shortened one)."""
    prefix, _, rest = external_id.partition("-")
    source = next((s for s in sources if rest.startswith(f"{s}-")), None)
    if prefix not in RECORDS or source is None or re.search(r"-[0-9a-f]{10}(-g\d+)?$", rest):
        return None
    record_type, object_type = RECORDS[prefix]
    object_id = re.sub(r"-g\d+$", "", rest.removeprefix(f"{source}-"))
    return record_type, f"{source}:{object_type}:{object_id}"


def _unknown(erp: str, document: PostedDocument, why: str) -> Problem:
    return Problem(
        "forgotten_document",
        Category.DRIFT,
        f"{document.number or document.id} stands in {erp} as {document.external_id}, and we know nothing of it: {why}",
        connection=erp,
        document=document.number or document.id,
        external_id=document.external_id,
    )
