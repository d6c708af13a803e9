"""Rows for tests: people, entities, connections, transactions, cases, rules. Makers take any field."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
from decimal import Decimal
from typing import Any

from django.db.models import F
from django.utils import timezone

from connectors.models import Connection, ConnectionHealth, Exchange
from exceptions import files, freezing
from exceptions.models import (
    AlertAttempt,
    AlertChannel,
    AlertDelivery,
    AlertGroup,
    AlertSubscription,
    BulkAction,
    CaseFile,
    CaseNote,
    CaseTally,
    ExceptionCase,
    Occurrence,
)
from mappings.models import ChangeSet, CrossReference, MappingRule, Sheet
from q2c.core import approvals, holds, ids, stats, vault
from q2c.core.models import (
    AccountingPeriod,
    Archive,
    CustomRole,
    EmergencyUse,
    Erasure,
    ExpiredMonth,
    LegalEntity,
    LegalHold,
    Membership,
    Person,
    Proposal,
    Subsidiary,
)
from q2c.flows import catalog
from q2c.inbox.models import Backfill, BackfillItem, InboundEvent, InboundKey
from q2c.records.models import DuplicatePair, GoldenRecord
from q2c.transactions import counting
from q2c.transactions.bill_run_counts import roll_up
from q2c.transactions.bill_runs import BillRun
from q2c.transactions.models import BusinessTransaction, LineageLink, Pause, StepRun

PASSWORD = "correct horse battery"
ENTITIES = {
    "GB01": ("Adventure Works Ltd", "GB", "GBP", "Europe/London"),
    "US01": ("Adventure Works Inc.", "US", "USD", "America/New_York"),
    "JP01": ("Adventure Works KK", "JP", "JPY", "Asia/Tokyo"),
    "DE01": ("Adventure Works GmbH", "DE", "EUR", "Europe/Berlin"),
}
VENDORS = {"salesforce": "Salesforce", "stripe": "Stripe", "netsuite": "NetSuite"}
_numbers = itertools.count(1000)


def make_entity(code: str = "GB01", **fields: Any) -> LegalEntity:
    """A legal entity, made once per code."""
    name, country, currency, zone = ENTITIES.get(code, (f"{code} Ltd", code[:2], "GBP", "UTC"))
    defaults = {"name": name, "country": country, "currency": currency, "time_zone": zone, **fields}
    return LegalEntity.objects.get_or_create(code=code, defaults=defaults)[0]


def make_person(
    role: str = "controller", *, username: str = "", entities: tuple[str, ...] = (), **fields: Any
) -> Person:
    """Somebody with a role, for some entities or (none given) for all."""
    username = username or f"{role}{next(_numbers)}"
    person = Person.objects.filter(username=username).first()
    if person is None:
        person = Person(username=username, display_name=fields.pop("display_name", username), **fields)
        person.set_password(PASSWORD)
        person.save()
    for entity in [make_entity(code) for code in entities] or [None]:
        if role:
            Membership.objects.get_or_create(person=person, role=role, legal_entity=entity)
    return person


def make_custom_role(code: str, holder: str, *, entities: tuple[str, ...] = (), **fields: Any) -> Membership:
    """A role that people composed, and the (last) membership of somebody who holds it."""
    proposal = make_proposal(f"A new role: {code}", subject_type="role", subject_id=code, kind="role_change")
    values = {"title": code.title(), "permissions": ["portal.view_home", "exceptions.view_case"], **fields}
    CustomRole.objects.create(code=code, proposal=proposal, changed_at=timezone.now(), **values)
    return make_person(code, username=holder, entities=entities).memberships.latest("pk")


def make_connection(code: str = "netsuite", **fields: Any) -> Connection:
    """A sandbox connection, made once per code, that answered a minute ago."""
    vendor = fields.pop("vendor", code.partition("-")[0])
    defaults = {
        "name": VENDORS.get(vendor, code.title()),
        "vendor": vendor,
        "base_url": f"http://127.0.0.1:8901/{code}",
        "is_sandbox": True,
    }
    connection, is_new = Connection.objects.get_or_create(code=code, defaults={**defaults, **fields})
    if is_new:
        ConnectionHealth.objects.create(
            connection=connection,
            last_success_at=timezone.now() - dt.timedelta(minutes=1),
            latency_ms=210,
            quota_used=120,
            quota_limit=1000,
        )
    return connection


def make_period(entity: str = "GB01", code: str = "", *, is_open: bool = True, **fields: Any) -> AccountingPeriod:
    """A month of an entity's book in the ERP; the current one by default."""
    subsidiary = make_subsidiary(entity)
    year, month = map(int, (code or f"{timezone.now():%Y-%m}").split("-"))
    start = dt.date(year, month, 1)
    end = dt.date(year + month // 12, month % 12 + 1, 1) - dt.timedelta(days=1)
    defaults = {
        "name": f"{start:%b %Y}",
        "start_date": start,
        "end_date": end,
        "external_id": str(next(_numbers)),
        "is_receivables_open": is_open,
        "is_ledger_open": is_open,
        "read_at": timezone.now(),
        **fields,
    }
    return AccountingPeriod.objects.get_or_create(subsidiary=subsidiary, code=f"{start:%Y-%m}", defaults=defaults)[0]


def make_subsidiary(entity: str = "GB01", connection: str = "netsuite") -> Subsidiary:
    """The book of an entity in the ERP."""
    found = make_entity(entity)
    defaults = {"external_id": str(next(_numbers)), "name": found.name}
    return Subsidiary.objects.get_or_create(
        legal_entity=found, connection=make_connection(connection), defaults=defaults
    )[0]


def make_transaction(state: str = "completed", **fields: Any) -> BusinessTransaction:
    """An invoice on its way to the ERP. `fact` may be a dict."""
    number = fields.pop("number", f"INV-{next(_numbers)}")
    source_id = fields.pop("source_id", f"in_{number}")
    source = fields.pop("source_connection", "stripe")
    now = fields.pop("created_at", None) or timezone.now()
    fact = fields.pop("fact", {"number": number, "total": "120.00", "lines": []})
    flow = catalog.BY_CODE.get(fields.get("flow", "invoice_to_erp"))
    values: dict[str, Any] = {
        "flow": "invoice_to_erp",
        "business_key": ids.business_key(
            connection=source, object_type="invoice", object_id=source_id, content_hash=ids.digest(number)
        ),
        "lane": ids.lane(connection=source, object_type="invoice", object_id=source_id),
        "lane_sequence": 1,
        "state": state,
        "state_at": now,
        "created_at": now,
        "fact_type": flow.fact_type.__name__ if flow else "Invoice",
        "fact": json.dumps(fact).encode(),
        "source_connection": source,
        "source_type": "invoice",
        "source_id": source_id,
        "number": number,
        "legal_entity_code": "GB01",
        "customer_name": "Northwind Traders",
        "currency": "GBP",
        "amount": Decimal("120.00"),
        "line_count": 2,
        "document_date": now.date(),
        "period_code": f"{now:%Y-%m}",
        "correlation_id": str(ids.uuid7()),
        "target_connection": "netsuite",
    }
    if state == "completed":
        values |= {
            "target_type": "invoice",
            "target_id": str(next(_numbers)),
            "target_number": f"INVGB{next(_numbers)}",
        }
    if state == "held":
        values |= {
            "held_step": "map_items",
            "problem_code": "missing_item_mapping",
            "problem": {"summary": "NetSuite has no item for SKU 22423 in GB01"},
        }
    return BusinessTransaction.objects.create(**{**values, **fields})


def make_step(txn: BusinessTransaction, step: str, *, state: str = "done", sequence: int = 0, **fields: Any) -> StepRun:
    """A finished step of a transaction."""
    sequence = sequence or StepRun.objects.filter(transaction_id=txn.pk).count() + 1
    output = fields.pop("output", {"made": step})
    values = {
        "kind": "read",
        "at": timezone.now(),
        "took_us": 1400 * sequence,
        "gave": step,
        "output": json.dumps(output).encode(),
        "used": {"facts": ["invoice"]},
        "problem": None if state == "done" else {"summary": "It came back"},
    }
    return StepRun.objects.create(
        transaction_id=txn.pk, sequence=sequence, step=step, state=state, **{**values, **fields}
    )


def make_exchange(
    txn: BusinessTransaction, *, step: str = "post_invoice", status: int | None = 204, **fields: Any
) -> Exchange:
    """A request and its answer. The bodies are whatever is given: sealed bytes, or plain ones that can't be opened."""
    values = {
        "connection": make_connection("netsuite"),
        "verb": "post_invoice",
        "method": "POST",
        "url": "https://erp.example/record/v1/invoice",
        "at": timezone.now(),
        "took_ms": 148,
        "request": b"",
        "response": b"",
        "hash": "0" * 64,
        "correlation_id": txn.correlation_id,
    }
    return Exchange.objects.create(
        transaction_id=txn.pk, id=ids.uuid7(), step=step, status=status, **{**values, **fields}
    )


def make_case(
    summary: str = "NetSuite has no item for SKU 22423 in GB01", *, transactions: Any = (), **fields: Any
) -> ExceptionCase:
    """An open case with its documents, their tally and its opening note."""
    now = timezone.now()
    values: dict[str, Any] = {
        "fingerprint": ids.digest(summary, str(next(_numbers))),
        "kind": "missing_item_mapping",
        "category": "mapping",
        "severity": 2,
        "queue": "billing_ops",
        "summary": summary,
        "subject": {"kind": "item", "key": "22423", "connection": "netsuite", "legal_entity": "GB01"},
        "connection_code": "netsuite",
        "legal_entity_code": "GB01",
        "period_code": f"{now:%Y-%m}",
        "flow": "invoice_to_erp",
        "opened_at": now,
        "last_at": now,
        "due_at": now + dt.timedelta(hours=8),
    }
    case = ExceptionCase.objects.create(**{**values, **fields})
    for txn in transactions:
        Occurrence.objects.create(
            case=case,
            transaction_id=txn.pk,
            flow=txn.flow,
            step=txn.held_step or "map_items",
            number=txn.number,
            at=now,
            legal_entity_code=txn.legal_entity_code,
            amount=txn.amount,
            currency=txn.currency,
            problem=txn.problem or {},
        )
        tally, _ = CaseTally.objects.get_or_create(
            case=case, legal_entity_code=txn.legal_entity_code, currency=txn.currency, worker="test"
        )
        tally.document_count += 1
        tally.amount += txn.amount or 0
        tally.save()
    CaseNote.objects.create(case=case, at=now, by=None, verb="opened", text="by the first document")
    return case


def make_file(case: ExceptionCase, name: str = "remittance.pdf", body: bytes = b"%PDF-1.7 ...") -> CaseFile:
    """A file beside a note."""
    by = Person.objects.order_by("pk").first() or make_person("controller")
    note = CaseNote.objects.create(case=case, at=timezone.now(), by=by, verb="noted", text="What the bank says")
    return files.attach(note, files.take(name, body), by=by)


def make_bulk(by: Person, case: ExceptionCase, what: str = "repost") -> BulkAction:
    """A frozen set of a case's documents, not confirmed."""
    cases = ExceptionCase.objects.filter(pk=case.pk)
    return freezing.freeze(what, by=by, cases=cases, chosen={"cases": [case.pk]}, words="1 case")


def make_message(
    event_type: str = "invoice.finalized", *, connection: str = "stripe", verdict: str = "translated", **fields: Any
) -> InboundKey:
    """A stored message with its verdict. Its body is sealed only if the caller seals it."""
    found, now = make_connection(connection), timezone.now()
    source_id = fields.pop("source_id", f"evt_{next(_numbers)}")
    body = fields.pop("body", b"sealed elsewhere")
    event = InboundEvent.objects.create(
        connection=found,
        event_type=event_type,
        source_id=source_id,
        via="webhook",
        received_at=now,
        headers=fields.pop("headers", b""),
        body=body,
        body_hash=hashlib.sha256(body).hexdigest(),
        size_bytes=len(body),
    )
    values = {"legal_entity_code": "GB01", "received_at": now, "available_at": now, "body_key": b"", **fields}
    return InboundKey.objects.create(connection=found, dedupe_key=source_id, event=event, verdict=verdict, **values)


def count_work(completed: int = 40, held: int = 2, *, flow: str = "invoice_to_erp", entity: str = "GB01") -> None:
    """What the machine and the telephone would have counted of so many documents just now, added up."""
    where = {"flow": flow, "connection_code": "netsuite", "entity": entity}
    with stats.gathering():
        stats.note("begun", flow=flow, entity=entity, count=completed + held)
        for how, seconds, count in (("straight", 0.4, completed - 1), ("healed", 7.0, 1)):
            stats.note("completed", **where, about=how, seconds=seconds, count=count)
            stats.note("lead", **where, seconds=seconds, count=count)
        stats.note("held", **where, about="mapping", count=held)
        stats.note("failed", **where, about="rate_limit")
        stats.note("call_answered", connection_code="netsuite", about="invoice", seconds=0.3, count=completed)
        stats.note("call_failed", connection_code="netsuite", about="invoice", seconds=20.0)
    stats.roll_up()
    counting.look_at_open()


def make_rule(key: str = "22423", value: str = "10482", *, kind: str = "item", **fields: Any) -> MappingRule:
    """An active rule, proposed and approved by two people."""
    values = {
        "value_label": "Regency cakestand 3 tier",
        "connection_code": "netsuite",
        "effective_from": dt.date(2010, 12, 1),
        "known_from": 1,
        "proposed_by": fields.pop("proposed_by", None) or make_person("mapping_admin", username="rule_proposer"),
        "approved_by": fields.pop("approved_by", None) or make_person("controller", username="rule_approver"),
    }
    return MappingRule.objects.create(kind=kind, key=key, value=value, **{**values, **fields})


def make_proposal(
    title: str = "Change the address of NetSuite", *, by: Person | None = None, **fields: Any
) -> Proposal:
    """Something that waits for a second person."""
    values = {
        "kind": "connection",
        "subject_type": "connection",
        "subject_id": "netsuite",
        "why": "The vendor moved us",
        "proposed_at": timezone.now(),
        "proposed_by": by or make_person("platform", username="asks"),
        "content": {"base_url": "https://new.example"},
        "content_hash": "a" * 64,
        "signer_permission": "connectors.approve_connection",
        **fields,
    }
    return Proposal.objects.create(title=title, **values)


def make_emergency(title: str = "Map SKU 22423", *, hours: int = 4, **fields: Any) -> EmergencyUse:
    """What somebody of the emergency role approved alone, and nobody has reviewed yet."""
    proposal = make_proposal(title, **fields)
    now = timezone.now()
    return EmergencyUse.objects.create(
        proposal=proposal, proposed_by=proposal.proposed_by, used_by=make_person("emergency", username="oncall"),
        why="The bank run leaves at noon", used_at=now, ends_at=now + dt.timedelta(hours=hours),
    )  # fmt: skip


def make_change_set(title: str = "Map SKU 22423", *, by: Person | None = None, **fields: Any) -> ChangeSet:
    """A change set with one line."""
    by = by or make_person("billing_ops", username="proposes")
    change_set = ChangeSet.objects.create(
        title=title, why="The item is new", proposed_by=by, created_at=timezone.now(), **fields
    )
    change_set.lines.create(
        act="create",
        kind="item",
        key="22423",
        connection_code="netsuite",
        legal_entity_code="GB01",
        value="10482",
        value_label="Regency cakestand",
        effective_from=dt.date(2010, 12, 1),
    )
    return change_set


def make_sheet(by: Person, content: str = "Key\tBecomes\n22423\t10482\n", **fields: Any) -> Sheet:
    """Pasted cells of items, not checked yet."""
    values = {
        "made_by": by, "made_at": timezone.now(), "name": "Cells pasted", "is_pasted": True, "kind": "item",
        "default_from": timezone.localdate(), "content": content.encode(),
    }  # fmt: skip
    return Sheet.objects.create(**{**values, **fields})


def make_link(
    txn: BusinessTransaction, source: tuple[str, str, str], target: tuple[str, str, str], **fields: Any
) -> LineageLink:
    """A hop between two documents, each (system, type, id)."""
    sequence = LineageLink.objects.filter(transaction_id=txn.pk).count() + 1
    values = {
        "step": "post_invoice",
        "amount": txn.amount,
        "currency": txn.currency,
        "legal_entity_code": txn.legal_entity_code,
        "at": timezone.now(),
    }
    return LineageLink.objects.create(
        transaction_id=txn.pk,
        sequence=sequence,
        source_system=source[0],
        source_type=source[1],
        source_id=source[2],
        target_system=target[0],
        target_type=target[1],
        target_id=target[2],
        **{**values, **fields},
    )


def make_record(record_type: str, record_key: str, **fields: Any) -> GoldenRecord:
    """A golden record of one source, known by its alias."""
    connection, kind, external_id = record_key.split(":")
    at = timezone.now()
    said = {"hash": "", "at": at.isoformat(), "family": "billing", "connection": connection, "values": {}}
    values = {
        "name": external_id,
        "content": {},
        "sources": {record_key: said},
        "aliases": [f"{connection}:{external_id}"],
        "changed_at": at,
    }
    return GoldenRecord.objects.create(record_type=record_type, record_key=record_key, **{**values, **fields})


def make_pair(number: int, **fields: Any) -> DuplicatePair:
    """Two records that are perhaps one."""
    values = {
        "record_type": "customer",
        "one_key": f"salesforce:Account:{number}",
        "other_key": f"stripe:customer:{number}",
        "one_name": "Blue Bikes",
        "other_name": "Blue Bikes Ltd",
        "score": 60,
        "reasons": ["the same name"],
        "found_at": timezone.now(),
    }
    return DuplicatePair.objects.create(**{**values, **fields})


def make_reference(
    txn: BusinessTransaction, *, connection: str = "netsuite", external_type: str = "invoice", **fields: Any
) -> CrossReference:
    """The transaction's document as another system knows it."""
    values = {
        "external_id": str(next(_numbers)),
        "number": txn.target_number,
        "legal_entity_code": txn.legal_entity_code,
        "at": timezone.now(),
    }
    return CrossReference.objects.create(
        record_type="invoice",
        record_key=f"{txn.source_connection}:{txn.source_type}:{txn.source_id}",
        connection=make_connection(connection),
        external_type=external_type,
        transaction_id=txn.pk,
        **{**values, **fields},
    )


def make_channel(name: str = "Close room", *, address: str = "http://127.0.0.1:9/hook", **fields: Any) -> AlertChannel:
    """A room of a chat that is told of everything."""
    sealed = vault.seal_with_master(address.encode())
    values = {"sort": "slack", "host": "127.0.0.1", "address": sealed, **fields}
    channel = AlertChannel.objects.create(name=name, **values)
    AlertSubscription.objects.create(channel=channel, severity=4)
    return channel


def make_message_to(channel: AlertChannel, **fields: Any) -> AlertDelivery:
    """A message to a channel that it took at the second attempt."""
    now = timezone.now()
    group = make_alert(over_at=now)
    values = {"what": "alert", "state": "sent", "attempts": 2, "due_at": now, "sent_at": now, **fields}
    row = AlertDelivery.objects.create(group=group, channel=channel, **values)
    for status, error in ((503, "It answered 503"), (204, "")):
        AlertAttempt.objects.create(delivery=row, channel=channel, at=now, took_ms=12, status=status, error=error)
    return row


def make_pause(**fields: Any) -> Pause:
    """A pause of the invoices of one entity."""
    values = {"flow": "invoice_to_erp", "legal_entity_code": "GB01", "reason": "The ERP is moved", "by": "runs"}
    return Pause.objects.create(at=timezone.now(), **{**values, **fields})


def make_bill_run(name: str = "RUN-1", *, case: ExceptionCase | None = None, rows: int = 3, **fields: Any) -> BillRun:
    """A run of GB01 that is held, with so many invoices that wait and one that a case holds; added up."""
    now = timezone.now()
    values = {
        "connection_code": "stripe", "legal_entity_code": "GB01", "day": now.date(), "state": "complete",
        "period_code": f"{now:%Y-%m}", "holds": True, **fields,
    }  # fmt: skip
    made = BillRun.objects.create(name=name, state_at=now, first_at=now, **values)
    for n in range(rows):
        make_transaction("waiting", number=f"{name}-{n}", bill_run_id=made.pk, waits_for=f"the release of {name}")
    held = make_transaction("held", number=f"{name}-H", bill_run_id=made.pk)
    if case is not None:
        Occurrence.objects.create(case=case, transaction_id=held.pk, at=now)
    roll_up()
    made.parts.update(expected_count=rows + 1, expected_amount=F("received_amount"), expected_at=now)
    return made


def make_backfill(by: Person, *, rows: int = 1, finding: str = "posts", **fields: Any) -> Backfill:
    """A back-fill of stored messages after its dry run, each of a document of 120.00 GBP."""
    now = timezone.now()
    values = {
        "source": "stored", "since": now, "until": now, "words": "What we stored", "why": "An outage", "state": "tried",
        "tried_at": now, **fields,
    }  # fmt: skip
    made = Backfill.objects.create(made_by=by, made_at=now, due_at=now, **values)
    for _ in range(rows):
        key = make_message()
        BackfillItem.objects.create(
            backfill=made, connection=key.connection, event_type="invoice.finalized", source_id=key.dedupe_key,
            event_id=key.event_id, at=now, finding=finding, flow="invoice_to_erp", legal_entity_code="GB01",
            number=f"INV-{next(_numbers)}", currency="GBP", amount=120,
        )  # fmt: skip
    return made


def make_hold(**scope: Any) -> LegalHold:
    """A legal hold in force: two people agreed. Nothing named: the whole house."""
    by, second = make_person("controller", username="keeps"), make_person("controller", username="agrees")
    hold = holds.propose_hold(
        holds.Scope(**scope), by=by, name="Tax audit", matter="TA-7", why="They ask for it.", asked_by="Counsel"
    )
    assert hold.proposal is not None
    approvals.sign(hold.proposal, by=second, approve=True, alarm=lambda problem: None)
    holds.apply_decision(hold.proposal, by=second)
    hold.refresh_from_db()
    return hold


def make_erasure(customer: str = "stripe:cus_1", **fields: Any) -> Erasure:
    """An erasure that waits for its second person."""
    facts = {"matter": "DSR-1", "why": "They ask for it.", "proposed_at": timezone.now(), **fields}
    by = make_person("controller", username="keeps")
    proposal = make_proposal(f"Erase {customer}", kind="erase_customer", subject_type="erasure")
    return Erasure.objects.create(customer=customer, proposed_by=by, proposal=proposal, **facts)


def make_archive(month: str = "2019_03", table: str = "transactions_steprun", *, fault: str = "") -> Archive:
    """An archived month (its files aren't there), with the last look at it."""
    year, number = map(int, month.split("_"))
    low, high = (
        ids.uuid7_bound(int(dt.datetime(*day, 1, tzinfo=dt.UTC).timestamp() * 1000))
        for day in ((year, number), (year + number // 12, number % 12 + 1))
    )
    name = f"{table}_{month}"
    made = Archive.objects.create(
        table=table, partition=name, low=low, high=high, row_count=12_400, checksum="1", size_bytes=3_400_000,
        file_name=f"{name}-{next(_numbers):08x}.jsonl.gz", sha256="a" * 64, manifest_sha256="b" * 64,
        house_key=vault.seal_with_master(vault.new_key()), made_at=timezone.now(),
    )  # fmt: skip
    made.checks.create(at=timezone.now(), fault=fault)
    return made


def make_expired(month: str = "2019_03", table: str = "transactions_steprun", **fields: Any) -> ExpiredMonth:
    """A month that is older than policy keeps it, as the last look found it."""
    facts = {"months": 84, "why_kept": "an open case rests on it", "looked_at": timezone.now(), **fields}
    return ExpiredMonth.objects.create(partition=f"{table}_{month}", table=table, **facts)


def make_alert(kind: str = "missing_item_mapping", **fields: Any) -> AlertGroup:
    """An alert that runs, planned already."""
    now = timezone.now()
    values = {
        "about": "opened", "severity": 2, "queues": ["billing_ops"], "entities": ["GB01"], "case_count": 1,
        "first_at": now, "last_at": now, "grew_at": now, "is_planned": True,
    }  # fmt: skip
    return AlertGroup.objects.create(kind=kind, **{**values, **fields})
