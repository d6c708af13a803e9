"""What a batch knows of other records: cross-references, golden records, earlier facts, approvals; one query per
kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from exceptions.kind_words import BOOKED_BY_HAND
from exceptions.models import Waiver
from mappings.bill_runs import RunPolicies
from mappings.models import CrossReference
from q2c.canonical.posting import JournalLine
from q2c.core.models import Proposal
from q2c.records.documents import find_statuses
from q2c.records.models import GoldenRecord
from q2c.records.selectors import parents_above
from q2c.records.store import keys_known_as
from q2c.records.suspects import Suspect, suspects_of
from q2c.transactions.bill_runs import BillRun
from q2c.transactions.contributions import Contributed, find_contributions, lines_of
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import steps_gave, voids_under_way


class Carried(NamedTuple):
    """A transaction of a lane: its canonical document (JSON), its state, what it waits for or why it was cancelled, and
    whether it was given up since people booked it by hand."""

    id: UUID
    fact: bytes
    state: str
    why: str
    is_by_hand: bool


class Links:
    """Cross-references, golden records and approvals that the batch asked for."""

    def __init__(self, run_policies: RunPolicies | None = None) -> None:
        self.run_policies = run_policies or RunPolicies(0, [])
        self.bill_runs: dict[int, BillRun] = {}
        self.references: dict[tuple[str, str], list[CrossReference]] = {}
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.facts: dict[tuple[str, str, str], bytes] = {}
        self.given: dict[tuple[str, str, str, str], bytes] = {}
        self.given_back: dict[tuple[str, str, str, str], bytes] = {}
        self.states: dict[tuple[str, str, str], str] = {}
        self.sellers: dict[tuple[str, str, str], str] = {}
        self.targets: dict[tuple[str, str, str], tuple[str, str]] = {}
        self.statuses: dict[tuple[str, str], str] = {}
        self.lanes: dict[tuple[str, str], list[bytes]] = {}
        self.carried_in: dict[tuple[str, str], list[Carried]] = {}
        self.price_books: dict[str, list[dict[str, Any]]] = {}
        self.product_lines: dict[str, str] = {}
        self.parents: dict[str, str] = {}
        self.contributions: dict[tuple[str, str], Contributed] = {}
        self.suspected: dict[tuple[str, str], list[Suspect]] = {}
        self.voiding: dict[tuple[str, str], list[str]] = {}

    def contribution(self, connection: str, external_id: str) -> Contributed | None:
        """What the document with this external id contributed to a summary of this ERP, or None."""
        return self.contributions.get((connection, external_id))

    def summary_lines(self, summary_id: UUID) -> Iterator[JournalLine]:
        """The lines of a frozen summary's contributions. Rare: once per summary and attempt."""
        return lines_of(summary_id)

    def fact(self, flow: str, connection: str, source_id: str) -> bytes | None:
        """The newest canonical document (JSON) that a source object started a flow with, or None."""
        return self.facts.get((flow, connection, source_id))

    def state(self, flow: str, connection: str, source_id: str) -> str:
        """The state of the newest transaction that a source object started a flow with, or empty."""
        return self.states.get((flow, connection, source_id), "")

    def seller(self, flow: str, connection: str, source_id: str) -> str:
        """The legal entity whose the newest transaction is that a source object started a flow with; empty while its
        document and its first steps don't say. Comes with the fact."""
        return self.sellers.get((flow, connection, source_id), "")

    def written(self, flow: str, connection: str, source_id: str) -> tuple[str, str, str]:
        """That state, once it's held or at its end, and what the transaction wrote last in its target: its type and its
        number, or its id; empty where it wrote nothing. Comes with the fact."""
        key = (flow, connection, source_id)
        return self.states.get(key, ""), *self.targets.get(key, ("", ""))

    def status(self, connection: str, document_id: str) -> str:
        """What billing's newest event says of an invoice or credit note: open, void, ...; empty while unknown."""
        return self.statuses.get((connection, document_id), "")

    def voids(self, connection: str, invoice_id: str) -> list[str]:
        """The numbers of an invoice's posted credit notes whose voids are still on their way to the ERP."""
        return self.voiding.get((connection, invoice_id), [])

    def step_gave(self, flow: str, connection: str, source_id: str, fact: str) -> bytes | None:
        """What a step of the newest completed transaction of a source object gave (JSON), or None. Of money that came
        back that of its going."""
        return self.given.get((flow, connection, source_id, fact))

    def step_gave_back(self, flow: str, connection: str, source_id: str, fact: str) -> bytes | None:
        """The same of the money's coming back: of a refund or payout that failed, of a dispute won."""
        return self.given_back.get((flow, connection, source_id, fact))

    def in_lane(self, flow: str, lane: str) -> list[bytes]:
        """The canonical documents (JSON) of a flow's transactions in a lane, in its order, without cancelled ones."""
        return self.lanes.get((flow, lane), [])

    def carried(self, flow: str, lane: str) -> list[Carried]:
        """A flow's transactions in a lane, in its order, with how each stands."""
        return self.carried_in.get((flow, lane), [])

    def find(
        self, record_type: str, record_key: str, connection: str, external_type: str = ""
    ) -> CrossReference | None:
        """Our record's reference in a system, or None."""
        for found in self.references.get((record_type, record_key), ()):
            if found.connection.code == connection and external_type in ("", found.external_type):
                return found
        return None

    def anywhere(self, record_type: str, record_key: str) -> CrossReference | None:
        """Our record's first reference, in whichever system it stands."""
        found = self.references.get((record_type, record_key), ())
        return min(found, key=lambda row: row.pk, default=None)

    def suspects(self, record_type: str, record_key: str) -> list[Suspect]:
        """The records that are perhaps the same as ours, likeliest first."""
        return self.suspected.get((record_type, record_key), [])

    def systems(self, record_type: str, record_key: str, *, without: UUID | None = None) -> list[str]:
        """The systems in which our record stands, the first one first; `without` those that one transaction made."""
        found = sorted(self.references.get((record_type, record_key), ()), key=lambda row: row.pk)
        return list(
            dict.fromkeys(row.connection.code for row in found if without is None or row.transaction_id != without)
        )

    def entity(self, record_type: str, record_key: str) -> str:
        """The legal entity in whose book our record stands in the ERP; empty while it stands in none."""
        found = (row for row in self.references.get((record_type, record_key), ()) if row.legal_entity_code)
        return next((row.legal_entity_code for row in sorted(found, key=lambda row: row.pk)), "")

    def golden(self, record_type: str, record_key: str) -> dict[str, Any] | None:
        """The agreed content of a record, or None when nobody has told us of it."""
        return self.records.get((record_type, record_key))

    def is_one_record(self, record_type: str, alias: str, other: str) -> bool:
        """Whether two ids of a system lead to one record, since it merged them. Rare: only for what was changed after
        it was carried."""
        known = keys_known_as(record_type, (alias, other))
        return alias in known and known[alias] == known.get(other)

    def product_line(self, sku: str) -> str:
        """The product line that the CRM's catalogue names for a SKU, or empty."""
        return self.product_lines.get(sku, "")

    def prices(self, sku: str) -> list[dict[str, Any]]:
        """The entries of the price books for a SKU, as agreed; also those that aren't sold any more."""
        return self.price_books.get(sku, [])

    def is_ring(self, record_key: str) -> bool:
        """Whether the accounts above one, as far as we know them, go round in a ring."""
        way = [record_key, *self.above(record_key)]
        return self.parents.get(way[-1], "") in way

    def above(self, record_key: str) -> list[str]:
        """The accounts above one, nearest first, as far as we know them; of a ring each once."""
        met = [record_key]
        while (above := self.parents.get(met[-1], "")) and above not in met:
            met.append(above)
        return met[1:]

    def approval(self, transaction_id: UUID, posting_hash: str) -> str:
        """The id of the approval bound to this very posting, or empty. Rare: only above a policy's limit."""
        found = Proposal.objects.filter(
            kind="posting",
            subject_id=str(transaction_id),
            state=Proposal.State.APPROVED,
            content__posting_hash=posting_hash,
        ).values_list("id", flat=True)
        return str(found[0]) if found else ""

    def refusal(self, transaction_id: UUID, posting_hash: str, attempt: int) -> str:
        """Why this very posting was rejected when this attempt asked for it, or empty: a repost asks again."""
        found = Proposal.objects.filter(
            kind="posting",
            subject_id=str(transaction_id),
            state=Proposal.State.REJECTED,
            content__posting_hash=posting_hash,
            content__attempt=attempt,
        ).values_list("signatures__why", flat=True)
        return next(iter(found), None) or ""


def fetch_links(links: Links, wants: dict[str, set[Any]]) -> None:
    """Fetch what a step wants to know of other records, for the whole batch."""
    if keys := wants.get("xref"):
        links.references.update({key: [] for key in keys})
        rows = CrossReference.objects.filter(record_key__in=[key for _, key in keys]).select_related("connection")
        for row in rows:
            links.references.setdefault((row.record_type, row.record_key), []).append(row)
    if keys := wants.get("fact"):
        sources = [k[2] for k in keys]
        found_facts = BusinessTransaction.objects.filter(source_id__in=sources, flow__in={k[0] for k in keys})
        columns = ("flow", "source_connection", "source_id", "fact", "state")
        target = ("target_type", "target_number", "target_id", "legal_entity_code")
        rows_found = found_facts.order_by("lane_sequence").values_list(*columns, *target)
        for flow, source, found, fact, state, kind, number, document, seller in rows_found:
            links.facts[flow, source, found] = bytes(fact)
            links.states[flow, source, found] = state
            links.targets[flow, source, found] = (kind, number or document)
            links.sellers[flow, source, found] = seller
    if keys := wants.get("contribution"):
        links.contributions.update(find_contributions(sorted(keys)))
    if keys := wants.get("status"):
        links.statuses.update(find_statuses(keys))
    if keys := wants.get("voids"):
        links.voiding.update({key: [] for key in keys} | voids_under_way(keys))
    if keys := wants.get("bill_run"):
        links.bill_runs.update(BillRun.objects.in_bulk(keys))
    if keys := wants.get("given"):
        links.given.update(steps_gave(keys))
    if keys := wants.get("given_back"):
        links.given_back.update(steps_gave(keys, came_back=True))
    if keys := wants.get("price"):
        entries = GoldenRecord.objects.filter(record_type="price", number__in=keys)
        links.price_books.update({sku: [] for sku in keys})
        for sku, content in entries.values_list("number", "content"):
            links.price_books[sku].append(content)
    if keys := wants.get("product_line"):
        sold = GoldenRecord.objects.filter(record_type="product", number__in=keys).exclude(content__family="")
        links.product_lines.update(sold.order_by("-pk").values_list("number", "content__family"))
    if keys := wants.get("parents"):
        links.parents.update(parents_above(keys))
    if keys := wants.get("lane"):
        in_lanes = BusinessTransaction.objects.filter(lane__in={k[1] for k in keys}, flow__in={k[0] for k in keys})
        rows_told = in_lanes.exclude(state="cancelled").order_by("lane", "lane_sequence")
        links.lanes.update({key: [] for key in keys})
        for flow, lane, fact in rows_told.values_list("flow", "lane", "fact"):
            links.lanes.setdefault((flow, lane), []).append(bytes(fact))
    if keys := wants.get("carried"):
        _fetch_carried(links, keys)
    if keys := wants.get("suspect"):
        links.suspected.update(suspects_of(keys))
    if keys := wants.get("golden"):
        _fetch_golden(links, [key for _, key in keys])


def _fetch_carried(links: Links, keys: set[tuple[str, str]]) -> None:
    """How what came in these lanes stands."""
    rows = BusinessTransaction.objects.filter(lane__in={lane for _, lane in keys}, flow__in={flow for flow, _ in keys})
    found = list(rows.order_by("lane", "lane_sequence").values_list("flow", "lane", "id", "fact", "state", "waits_for"))
    given_up = [row[2] for row in found if row[4] == "cancelled"]
    waived = Waiver.objects.filter(transaction_id__in=given_up, code=BOOKED_BY_HAND, undone_at__isnull=True)
    by_hand = set(waived.values_list("transaction_id", flat=True)) if given_up else set()
    links.carried_in.update({key: [] for key in keys})
    for flow, lane, pk, fact, state, why in found:
        links.carried_in.setdefault((flow, lane), []).append(Carried(pk, bytes(fact), state, why, pk in by_hand))


def _fetch_golden(links: Links, keys: list[str]) -> None:
    """The agreed contents; of a record that was merged, what it is now."""
    found = GoldenRecord.objects.filter(record_key__in=keys)
    merged: dict[tuple[str, str], list[str]] = {}
    for record_type, record_key, content, into in found.values_list(
        "record_type", "record_key", "content", "merged_into"
    ):
        links.records[record_type, record_key] = content
        if into:
            merged.setdefault((record_type, into), []).append(record_key)
    if merged:
        survivors = GoldenRecord.objects.filter(record_key__in=[into for _, into in merged])
        for record_type, record_key, content in survivors.values_list("record_type", "record_key", "content"):
            for key in merged.get((record_type, record_key), ()):
                links.records[record_type, key] = content
