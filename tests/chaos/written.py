"""What we wrote at billing and in the CRM: once, of something that was sold, with its lineage, and as it was told last.

Our writes are told from those of the vendors' users: at billing by our idempotency key, in the CRM by the address,
since its users come through the control door. What a sandbox makes by itself (a subscription that begins under its
schedule, that subscription's invoices) stands in no log. Several changes of one record are no finding: a hold note
comes and goes, and a change whose answer was lost is sent again. What stands on the record at the end is judged.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from connectors.salesforce.outbound import HOLD_FIELDS, STATUS_FIELDS
from connectors.sandbox.remote import ControlDoor
from exceptions.models import Occurrence
from mappings.models import CrossReference
from q2c.canonical.contract import HoldNote, OrderStatus
from q2c.canonical.schema import from_json
from q2c.core.ids import read_external_id
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun

BILLING, CRM = "stripe", "salesforce"
KEY = re.compile(r"q2c[0-9a-f]{37}(-|$)")  # `ids.write_key`, and what a client appends for a part of one write
# What a sale may become stands under one external id, whichever of the three it is.
CLASS_OF = {"customer": "customer", "subscription": "sale", "subscription_schedule": "sale", "invoice": "sale"}
SOLD = {"customer": ("Account",), "sale": ("Opportunity", "Order")}
PRICED = ("product", "currency", "unit_amount_decimal", "recurring")
NOTED = ("invoice", "credit_note", "customer", "refund")
TELLING = {"status_to_crm": "publish_status", "hold_to_source": "publish_hold"}  # the flows, and the steps that write

Entry = dict[str, Any]
Told = dict[tuple[str, str], str | None]  # what stands on a record: by its id and our name of the field


@dataclass(frozen=True)
class Traces:
    """Ids at billing that lineage leads to, and that a cross-reference names; and the sources of what hasn't ended."""

    lineage: Collection[str]
    references: Collection[str]
    unfinished: Collection[str]


def judge_writes(say: Any, door: ControlDoor, logs: Mapping[str, list[Entry]]) -> dict[str, int]:
    """Everything of this module, each finding said by `Verdict.say`; how many writes there were. `logs` are the whole
    logs of billing and the CRM."""
    made = made_by_us(logs[BILLING])
    deals = {kind: {d["Id"]: d for d in door.documents(CRM, kind)} for kind in ("Account", "Opportunity", "Order")}
    prices = {d["id"]: d for d in door.documents(BILLING, "price")}
    say("doubled at billing", doubled(made, prices))
    say("at billing under our id, of nothing that the CRM has", strangers(made, deals))
    for what, entries in without_trace(made, _traces(deals)).items():
        say(what, entries)
    say("made in the CRM, where we only change", made_in_crm(logs[CRM]))
    changed, (records, told) = changed_by_us(logs), _told_last()
    say("changed at a vendor, and no transaction is about it", changed - records)
    say("shown at a vendor otherwise than it was told last", untrue(told, _standing(door, deals)))
    return {"documents that billing made for us": len(made), "records that we changed at their source": len(changed)}


def made_by_us(log: Iterable[Entry]) -> list[Entry]:
    """What billing made at our request and still has: a draft that was begun anew was deleted before."""
    ours = [e for e in log if KEY.match(e["idempotency_key"] or "")]
    gone = {e["id"] for e in log if e["effect"] == "deleted" and e["document_type"] == "invoice"}
    return [e for e in ours if e["effect"] == "created" and e["id"] not in gone]


def doubled(made: Iterable[Entry], prices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """External ids under which there is more than one document, and prices that say the same of one product."""
    named = (f"{CLASS_OF[e['document_type']]} {e['external_id']}" for e in made if e["document_type"] in CLASS_OF)
    priced = (
        "price " + json.dumps([prices[e["id"]].get(name) for name in PRICED])
        for e in made if e["document_type"] == "price" and e["id"] in prices
    )  # fmt: skip
    return [name for name, times in Counter([*named, *priced]).items() if times > 1]


def strangers(made: Iterable[Entry], deals: Mapping[str, Collection[str]]) -> list[str]:
    """What bears no external id of ours, or one of a record that the CRM hasn't."""
    found = []
    for entry in made:
        if (kind := CLASS_OF.get(entry["document_type"])) is None:
            continue
        read = read_external_id(entry["external_id"] or "", (CRM,))
        if read is None or not any(read[2] in deals[name] for name in SOLD[kind]):
            found.append(f"{entry['document_type']} {entry['id']} ({entry['external_id']})")
    return found


def without_trace(made: Iterable[Entry], traces: Traces) -> dict[str, list[str]]:
    """What lineage or a cross-reference doesn't lead to. Both are written when the transaction ends, so what belongs to
    one that hasn't ended needs none yet."""
    ended = [
        e for e in made
        if e["document_type"] in CLASS_OF
        and (read_external_id(e["external_id"] or "", (CRM,)) or ("", "", ""))[2] not in traces.unfinished
    ]  # fmt: skip
    return {
        "at billing without lineage": [f"{e['external_id']} {e['id']}" for e in ended if e["id"] not in traces.lineage],
        "at billing without a cross-reference": [
            f"{e['external_id']} {e['id']}" for e in ended if e["id"] not in traces.references
        ],
    }


def made_in_crm(log: Iterable[Entry]) -> list[str]:
    """Records of the CRM that our requests made or deleted. We only ever change there."""
    return [f"{e['document_type']} {e['id']} {e['effect']}" for e in log if _came_from_us(e) and e["effect"] in
            ("created", "deleted")]  # fmt: skip


def changed_by_us(logs: Mapping[str, list[Entry]]) -> set[str]:
    """The ids of records of others that our requests changed: an invoice of single sales that we made is ours."""
    made = {e["id"] for e in made_by_us(logs[BILLING])}
    noted = {e["id"] for e in logs[BILLING] if KEY.match(e["idempotency_key"] or "") and e["effect"] == "updated"}
    return (noted - made) | {e["id"] for e in logs[CRM] if _came_from_us(e) and e["effect"] == "updated"}


def untrue(told: Told, standing: Told) -> list[str]:
    """Fields that don't hold what was written there last. A record that is gone shows nothing."""
    return [
        f"{record} {name}: {standing[record, name]!r}, told {value!r}"
        for (record, name), value in told.items()
        if (record, name) in standing and (standing[record, name] or "") != (value or "")
    ]


def _came_from_us(entry: Entry) -> bool:
    return bool(entry["path"].startswith("/services/"))


def _traces(deals: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Traces:
    rows = BusinessTransaction.objects.all()
    open_ids = set(rows.exclude(state="completed").values_list("source_id", flat=True))
    done_ids = set(rows.filter(flow="order_to_subscription", state="completed").values_list("source_id", flat=True))
    buyers = {i: deal["AccountId"] for kind in SOLD["sale"] for i, deal in deals[kind].items()}
    # A customer is made by the order of its account: as long as none of them has ended, neither has the customer.
    waiting = {buyers[i] for i in buyers.keys() & open_ids} - {buyers[i] for i in buyers.keys() & done_ids}
    return Traces(
        set(LineageLink.objects.filter(target_system=BILLING).values_list("target_id", flat=True)),
        set(CrossReference.objects.filter(connection__code=BILLING).values_list("external_id", flat=True)),
        open_ids | waiting,
    )


def _told_last() -> tuple[set[str], Told]:
    """The records that we were to tell something, and what each was told last by the steps that wrote it. Of a record
    about which something is still under way, or was held and given up by people, nobody knows what stands there."""
    rows = BusinessTransaction.objects.filter(flow__in=TELLING).order_by("lane_sequence")
    runs = StepRun.objects.filter(transaction_id__in=rows.values("pk"), state="done")
    written = set(runs.filter(step__in=TELLING.values()).values_list("transaction_id", flat=True))
    built = dict(runs.filter(step="build_status").order_by("sequence").values_list("transaction_id", "output"))
    held = Occurrence.objects.filter(transaction_id__in=rows.filter(state="cancelled").values("pk"))
    is_doubtful = Q(pk__in=held.values("transaction_id")) | ~Q(state__in=("completed", "cancelled"))
    doubtful = set(rows.filter(is_doubtful).values_list("lane", flat=True))
    records: set[str] = set()
    told: Told = {}
    for row in rows:
        record, fields = _said(row, built.get(row.pk))
        records.add(record)
        if row.pk in written and row.lane not in doubtful:
            told |= {(record, name): value for name, value in fields.items()}
    return records, told


def _said(row: BusinessTransaction, built: Any) -> tuple[str, dict[str, str]]:
    """The record that a transaction writes on, and what it writes by our own names."""
    if row.flow == "hold_to_source":
        note: HoldNote = from_json(bytes(row.fact), HoldNote)
        said = {"status": note.status, "message": note.message, "case": note.link}
        return note.source.object_id, {f"hold {name}": value for name, value in said.items()}
    status: OrderStatus = from_json(bytes(row.fact), OrderStatus)
    telling = json.loads(bytes(built)) if built else None
    return status.order_id, telling["fields"] if telling else {}


def _standing(door: ControlDoor, deals: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Told:
    """What the vendors' records show in our fields."""
    found: Told = {}
    for kind in SOLD["sale"]:
        for record, deal in deals[kind].items():
            found |= {(record, name): deal.get(field) for name, field in STATUS_FIELDS.items()}
            found |= {(record, f"hold {name}"): deal.get(field) for name, field in HOLD_FIELDS.items()}
    for kind in NOTED:
        for document in door.documents(BILLING, kind):
            notes = document.get("metadata") or {}
            found |= {(document["id"], f"hold {name}"): notes.get(f"q2c_{name}") for name in HOLD_FIELDS}
    return found
