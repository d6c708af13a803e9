"""From the inbox into the house: golden records, documents, transactions and verdicts of a batch in one commit."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from connectors import registry
from connectors.families import Family
from connectors.models import Connection
from connectors.recorder import Collector, for_their_owners, write_exchanges
from exceptions import cases
from q2c import ports
from q2c.canonical import events
from q2c.core.customer_keys import owner_of
from q2c.core.hotpath import fetch_rows
from q2c.core.money import spoken_money
from q2c.core.problems import Category, Problem
from q2c.flows import begun, corrections, sightings
from q2c.flows.api_orders import API_MANIFEST
from q2c.flows.bill_runs import count_ignored
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.done import pause_refused
from q2c.flows.facts import About, Ignored, facts_of, with_event
from q2c.flows.field_owners import field_owners
from q2c.flows.steps import suspects
from q2c.flows.voids import cancel_unposted
from q2c.inbox import translate
from q2c.inbox.items import Item, Source, Tools, Verdict
from q2c.records.documents import Billed, Seen, count_arrivals, find_paid_to, known_documents, store_documents
from q2c.records.merging import follow_merge, lock_merges
from q2c.records.store import Stored, alias_of, store_records
from q2c.records.suspects import compare_now
from q2c.transactions.selectors import entity_of_invoice, held_sources

REMEMBERED_SECONDS = 20.0
Owners = dict[str, tuple[str, str]]  # whose a message is, by its id: connection and customer there
_KNOWN = """
SELECT record_type, aliases, name, legal_entity_code, content ->> 'order_id' FROM records_goldenrecord
WHERE aliases && %s::varchar[] AND record_type IN ('customer', 'subscription')
"""


@dataclass(frozen=True)
class Carried:
    """What one round did: how many events were claimed, and which flows have new work."""

    count: int
    flows: frozenset[str]


def carry_due_events(limit: int = 250) -> Carried:
    """Claim due events, translate them, and commit everything that follows from them. Nudge `flows` afterwards."""
    flows: set[str] = set()
    owners: Owners = {}
    count = translate.translate_due(_tools(flows, owners), limit=limit)
    write_exchanges(for_their_owners(_collector.take(), owners))
    return Carried(count, frozenset(flows))


def carry_these_events(event_ids: Iterable[UUID]) -> Carried:
    """The same for particular events, in the caller's transaction if there is one."""
    flows: set[str] = set()
    count = translate.translate_these(event_ids, _tools(flows, {}))
    return Carried(count, frozenset(flows))


@dataclass(frozen=True)
class Dispatching:
    """The facts of a batch, each with the id of its transaction and whether that is new."""

    facts: tuple[Fact, ...]
    ids: tuple[UUID, ...]
    new: frozenset[UUID]


def reading_tools(owners: Owners) -> Tools:
    """What a dry run needs to understand messages: it carries nothing."""
    return _tools(set(), owners)


def store_what_was_said(owners: Owners) -> None:
    """Write down what was asked of the vendors while messages were understood."""
    write_exchanges(for_their_owners(_collector.take(), owners))


def _tools(flows: set[str], owners: Owners) -> Tools:
    return Tools(
        sources=sources_of,
        manifest=manifest_of,
        client=client_of,
        carry=lambda items: carry_items(items, flows, owners),
        open_case=cases.open_case,
        close_read=cases.close_read_later,
        pause=pause_refused,
    )


# Who sent it.

_collector = Collector()
_sources: dict[int, tuple[float, Source]] = {}


def sources_of(ids: Iterable[int]) -> dict[int, Source]:
    """Connections by id, remembered for some seconds."""
    wanted, now = set(ids), time.monotonic()
    missing = [i for i in wanted if i not in _sources or _sources[i][0] < now]
    if missing:
        for row in Connection.objects.filter(id__in=missing).values("id", "code", "vendor", "settings"):
            row["settings"] = _settings_of(row["vendor"], row["settings"])
            _sources[row["id"]] = (now + REMEMBERED_SECONDS, Source(**row))
    return {i: _sources[i][1] for i in wanted}


def _settings_of(vendor: str, stored: dict[str, Any]) -> dict[str, Any]:
    try:
        return registry.settings_of(manifest_of(vendor), stored)
    except LookupError:
        return stored


def manifest_of(vendor: str) -> Any:
    """The vendor's manifest; orders of our own API have one too."""
    return API_MANIFEST if vendor == API_MANIFEST.code else registry.manifest(vendor)


def client_of(source: Source) -> Any:
    """The client of a connection; its exchanges are stored after the round."""
    return registry.client_for(Connection.objects.get(pk=source.id), collector=_collector)


def family_of(source: Source) -> str:
    """The role whose values a connection brings: its first family."""
    return manifest_of(source.vendor).families[0].value


def time_zone_of(entity: str) -> str:
    """The entity's time zone, as the flows take it; UTC while the entity isn't known."""
    known = ports.entities().get(entity)
    return known.time_zone if known is not None else "UTC"


# Carrying.


_CORRECTED = (events.InvoiceCorrected, events.CreditMemoCorrected)
BACKFILL = 8  # the priority of a back-fill's work: the last lane (connectors.lanes)


def carry_items(items: list[Item], flows: set[str], owners: Owners) -> Dispatching:
    """Sets the verdict of each item, and notes whose it is. Runs inside the commit of the batch, or in a transaction
    that a dry run takes back."""
    pairs = [(item, event) for item in items for event in item.events]
    outcomes = _store_records(pairs)
    around = _Around(pairs)
    documents = [sightings.billed_of(event, item.source.code) for item, event in pairs]
    seen = known_documents({d.key for d in documents if d is not None})
    facts: list[Fact] = []
    billed: list[Billed] = []
    arrived: list[Billed] = []
    ignored: list[tuple[Billed, Any]] = []  # what came for the first time and leads to nothing, with its event
    for (item, event), outcome, document in zip(pairs, outcomes, documents, strict=True):
        item.verdict = item.verdict or Verdict("translated")
        before = seen.get(document.key) if document is not None else None
        if document is not None and before is not None:
            document = sightings.as_told_before(document, before)
            outcome = "stale" if before.is_ahead_of(document) else outcome
        about = around.of(item, event, is_changed=outcome != "unchanged" and outcome != "stale", known=before)
        is_news = outcome != "stale" and not (
            document is not None and before is not None and before.has_heard(document)
        )
        if is_news and isinstance(event, events.InvoiceStatusChanged) and event.status == "uncollectible":
            _propose_write_off(item, event, about)
        made = _make_facts(event, about, outcome, item, document)
        if document is not None:
            reason = made.code if isinstance(made, Ignored) and document.content_hash else ""
            if not made and before is not None and isinstance(event, _CORRECTED):
                reason = before.ignored_reason  # which nothing came of: it's ignored as it was
            is_first = bool(document.content_hash) and not (before is not None and before.has_content)
            seen[document.key] = (before or Seen("", None, "")).after(document, reason)
            entity = document.legal_entity_code or about.legal_entity or around.paid_to(item, event)
            billed.append(
                replace(document, legal_entity_code=entity, order_id=document.order_id or about.order_id,
                        ignored_reason=reason, document_date=document.document_date or _day_of(document, entity))
            )  # fmt: skip
            if is_first:
                arrived.append(billed[-1])
            if is_first and reason:
                ignored.append((billed[-1], event))
        if isinstance(made, Ignored):
            _ignore(item, made, document, about)
        else:
            own = with_event(made, item.claimed.event_id)
            is_late = item.claimed.is_backfill
            facts += [replace(f, priority=max(f.priority, BACKFILL)) for f in own] if is_late else own
        verdict = item.decided
        verdict.customer_id = verdict.customer_id or sightings.customer_of(event)
        verdict.legal_entity_code = verdict.legal_entity_code or about.legal_entity
        if verdict.customer_id:
            owners[str(item.claimed.event_id)] = owner_of(item.source.code, verdict.customer_id)
    store_documents(billed)
    count_arrivals(arrived)
    count_ignored(ignored)
    corrections.remember({
        (item.source.code, n): item.claimed.event_id for item, e in pairs if (n := around.corrected_too_early(item, e))
    })  # fmt: skip
    dispatched = dispatch_facts(facts)
    flows |= dispatched.flows
    flows |= cancel_unposted((type(e), e.void) for _, e in pairs if hasattr(e, "void"))
    return Dispatching(tuple(facts), dispatched.ids, dispatched.new)


def _day_of(document: Billed, entity: str) -> dt.date | None:
    return document.dated_at and document.dated_at.astimezone(ZoneInfo(time_zone_of(entity))).date()


def _make_facts(event: Any, about: About, outcome: str, item: Item, document: Billed | None) -> list[Fact] | Ignored:
    is_state = not (document is not None and document.content_hash)
    if outcome == "stale" and is_state:
        return Ignored("older_state", "A newer state of the same object came before")
    return facts_of(event, about)


def _ignore(item: Item, ignored: Ignored, document: Billed | None, about: About) -> None:
    is_only = len(item.events) == 1
    verdict = item.decided
    verdict.code, verdict.reason = ignored.code, ignored.reason
    if is_only:
        verdict.kind = "ignored"
    if document is not None and document.content_hash:
        verdict.amount, verdict.currency, verdict.line_count = document.amount, document.currency, document.line_count
        verdict.document_type, verdict.feed, verdict.feed_type = (
            document.document_type,
            document.feed,
            document.feed_type,
        )
        verdict.rounding = document.rounding


def _propose_write_off(item: Item, event: events.InvoiceStatusChanged, about: About) -> None:
    """Billing gives up an invoice: only a proposal, since a write-off is an AR document that people decide on."""
    number = event.number or event.invoice_id
    entity = about.legal_entity or entity_of_invoice(item.source.code, event.invoice_id)
    money = spoken_money(event.amount, event.currency)
    problem = Problem(
        "uncollectible_proposed", Category.CONFLICT,
        f"Billing gave up {event.number or 'an invoice'}, of which {money} is owed",
        connection=item.source.code, document=number, invoice=event.invoice_id,
    )  # fmt: skip
    cases.open_case(problem, event_id=item.claimed.event_id, connection_code=item.source.code, number=number,
                    amount=event.amount, currency=event.currency, legal_entity_code=entity)  # fmt: skip


def _store_records(pairs: list[tuple[Item, Any]]) -> list[str]:
    """Upsert the golden records that these events speak of. Returns per event changed, unchanged, stale or document."""
    places, seen = [], []
    for place, (item, event) in enumerate(pairs):
        sighting = sightings.sighting_of(event, family_of(item.source))
        if sighting is not None:
            places.append(place)
            seen.append(sighting)
    outcomes = ["document"] * len(pairs)
    merged = [event for _, event in pairs if isinstance(event, events.CustomerMerged)]
    lock_merges("customer", ((event.customer.source, event.merged) for event in merged))
    stored_all = store_records(seen, owner_of=field_owners()) if seen else []
    for place, stored in zip(places, stored_all, strict=True):
        outcomes[place] = stored.outcome
        for refused in stored.refused:
            _tell_refused(stored, refused, pairs[place][0])
    for event in merged:
        follow_merge("customer", survivor=event.customer.source, merged=event.merged, at=event.occurred_at,
                     owner_of=field_owners())  # fmt: skip
    begun.tie_late((event for _, event in pairs), dt.datetime.now(dt.UTC))
    _compare_customers([
        stored.record_key for sighting, stored in zip(seen, stored_all, strict=True)
        if sighting.record_type == "customer" and stored.outcome == "changed"
    ])  # fmt: skip
    return outcomes


def _compare_customers(record_keys: list[str]) -> None:
    """Where policy holds doubles, a customer is compared before its transaction asks; else the radar has time."""
    if record_keys and suspects.is_holding(ports.entities(), ports.known_rules().for_document()):
        compare_now("customer", record_keys)


def _tell_refused(stored: Stored, refused: dict[str, Any], item: Item) -> None:
    """A system said something of a field that isn't its own, and policy wants somebody to look."""
    field = refused["field"].replace("_", " ")
    problem = Problem(
        "update_refused", Category.CONFLICT,
        f"{item.source.code} says another {field} of {stored.name or stored.record_key}, which isn't its to say",
        connection=refused["by"], record=stored.record_key, field=refused["field"],
    )  # fmt: skip
    cases.open_case(
        problem, event_id=item.claimed.event_id, connection_code=item.source.code,
        legal_entity_code=stored.legal_entity_code,
    )  # fmt: skip


class _Around:
    """What is known around the events of a batch, with one query per kind."""

    def __init__(self, pairs: list[tuple[Item, Any]]) -> None:
        named = {alias_of(i.source.code, n) for i, e in pairs for n in _named(e)}
        self._records: dict[tuple[str, str], tuple[str, str, str]] = {}
        for record_type, aliases, name, entity, order in fetch_rows(_KNOWN, [sorted(named)]) if named else ():
            self._records |= {(record_type, alias): (name, entity, order or "") for alias in aliases}
        corrected = [n for _, e in pairs if (n := sightings.corrected_of(e))]
        self._held = held_sources(corrected) if corrected else frozenset()
        invoices = {(i.source.code, "invoice", v) for i, e in pairs if (v := sightings.invoice_of(e))}
        self._invoices = known_documents(invoices)
        disputed = {(i.source.code, p) for i, e in pairs if (p := sightings.disputed_of(e))}
        self._paid_to = find_paid_to(disputed) | self._payments(pairs) if disputed else {}

    def of(self, item: Item, event: Any, *, is_changed: bool, known: Seen | None) -> About:
        """What is known around one event."""
        name, entity, _ = self._record("customer", item, sightings.customer_of(event))
        _, contract_entity, order = self._record("subscription", item, sightings.subscription_of(event))
        invoice = self._invoices.get((item.source.code, "invoice", sightings.invoice_of(event)))
        entity = sightings.entity_of(event) or contract_entity or entity
        return About(
            occurred_at=event.occurred_at,
            is_billing=Family.BILLING in manifest_of(item.source.vendor).families,
            legal_entity=entity,
            customer_name=name,
            order_id=sightings.order_of(event) or order or (invoice.order_id if invoice else ""),
            time_zone=time_zone_of(entity),
            is_changed=is_changed,
            is_held=(item.source.code, sightings.corrected_of(event)) in self._held,
            known=known,
        )

    def _payments(self, pairs: list[tuple[Item, Any]]) -> dict[tuple[str, str], str]:
        """To which entity payments of this batch went, as far as they say."""
        paid = [(item, event) for item, event in pairs if isinstance(event, events.PaymentReceived)]
        found = {
            (i.source.code, e.payment.source.object_id):
                sightings.entity_of(e) or self._record("customer", i, sightings.customer_of(e))[1]
            for i, e in paid
        }  # fmt: skip
        return {key: entity for key, entity in found.items() if entity}

    def paid_to(self, item: Item, event: Any) -> str:
        """Whose payment this event takes back, where we have that."""
        return self._paid_to.get((item.source.code, sightings.disputed_of(event)), "")

    def corrected_too_early(self, item: Item, event: Any) -> str:
        """The document that this event corrects and that isn't held; empty otherwise."""
        corrected = sightings.corrected_of(event)
        return "" if (item.source.code, corrected) in self._held else corrected

    def _record(self, record_type: str, item: Item, object_id: str) -> tuple[str, str, str]:
        return self._records.get((record_type, alias_of(item.source.code, object_id)), ("", "", ""))


def _named(event: Any) -> list[str]:
    return [n for n in (sightings.customer_of(event), sightings.subscription_of(event)) if n]
