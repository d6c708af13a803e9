"""Brings a retail file into Stripe's sandbox: what is there stays, what is missing is made, in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from q2c.demo import retail
from q2c.demo.retail import FEED, INVOICE, RetailDocument
from q2c.demo.spool import Spool

BATCH_DOCUMENTS = 50  # the sandbox answers nobody else while it makes a batch
BATCH_LINES = 1000
STRIPE = "stripe"


class Door(Protocol):
    """What is needed of the control door (connectors.sandbox.remote)."""

    def make(self, vendor: str, kind: str, objects: list[dict]) -> list[str]: ...
    def documents(self, vendor: str, kind: str) -> Any: ...
    def lines(self, kind: str, document: dict) -> Any: ...


@dataclass
class Delivered:
    """How it went: documents that were there, and those that were made."""

    found: int = 0
    made: int = 0


@dataclass
class Batch:
    """Documents on their way, with the invoice that each credit note takes back."""

    documents: list[tuple[RetailDocument, str | None]] = field(default_factory=list)
    lines: int = 0

    def add(self, document: RetailDocument, credited: str | None) -> bool:
        """One more; whether it's full now."""
        self.documents.append((document, credited))
        self.lines += len(document.lines)
        return len(self.documents) >= BATCH_DOCUMENTS or self.lines >= BATCH_LINES


def deliver(spool: Spool, door: Door, on_progress: Callable[[int], None]) -> Delivered:
    """Make what is missing of all documents of the spool. A second run finds what the first one made.

    Raises SandboxRefused and SandboxAway; whatever was made until then stays and is found the next time.
    """
    note_existing(spool, door)
    result, batch, count = Delivered(), Batch(), 0
    for place, document in enumerate(spool.documents()):
        credited = spool.take_back(document)
        spool.note_sold(document, place)
        count += 1
        if spool.find_made("document", document.number):
            result.found += 1
        elif batch.add(document, credited):
            result.made += send(spool, door, batch)
            batch = Batch()
            on_progress(count)
    result.made += send(spool, door, batch)
    on_progress(count)
    return result


def note_existing(spool: Spool, door: Door) -> None:
    """Ask the sandbox which customers and documents of the feed exist, and what those of earlier files sold and took
    back: a credit of this file may take back an invoice of one of them."""
    numbers, crediting = {}, spool.customers_with_credits()
    for found in _of_the_feed(door, "customer"):
        spool.remember("customer", found["metadata"]["customer_key"], found["id"])
        if found["metadata"].get("customer_no") in crediting:
            numbers[found["id"]] = found["metadata"]["customer_no"]
    sold = {}  # by Stripe's id of the invoice
    for found in _of_the_feed(door, "invoice"):
        number = found["metadata"]["invoice_no"]
        spool.remember("document", number, found["id"])
        customer = numbers.get(found["customer"])
        if customer and found["metadata"]["feed_type"] == INVOICE and not spool.holds(number):
            sold[found["id"]] = number
            pieces = retail.pieces_of(door.lines("invoice", found))
            spool.note_pieces(customer, number, pieces, retail.local_time(found["effective_at"]))
    for found in _of_the_feed(door, "credit_note"):
        number = found["metadata"]["invoice_no"]
        spool.remember("document", number, found["id"])
        if found["invoice"] in sold and not spool.holds(number):
            spool.note_taken(sold[found["invoice"]], retail.pieces_of(door.lines("credit_note", found)))


def _of_the_feed(door: Door, kind: str) -> Iterator[dict]:
    for found in door.documents(STRIPE, kind):
        if (found.get("metadata") or {}).get("feed") == FEED:
            yield found


def send(spool: Spool, door: Door, batch: Batch) -> int:
    """Make a batch: its customers, then invoices, then credit notes; how many documents."""
    make_customers(spool, door, [document for document, _ in batch.documents])
    invoices = [document for document, credited in batch.documents if credited is None]
    objects = [retail.build_invoice(document, find_customer(spool, document)) for document in invoices]
    remember(spool, invoices, door.make(STRIPE, "invoice", objects))
    credits = [(document, credited) for document, credited in batch.documents if credited is not None]
    objects = [
        retail.build_credit_note(document, str(spool.find_made("document", credited))) for document, credited in credits
    ]
    remember(spool, [document for document, _ in credits], door.make(STRIPE, "credit_note", objects))
    return len(batch.documents)


def make_customers(spool: Spool, door: Door, documents: list[RetailDocument]) -> None:
    """Make the customers that don't exist yet, each once."""
    missing: dict[str, dict] = {}
    for document in documents:
        key = retail.find_customer_key(document)
        if key not in missing and spool.find_made("customer", key) is None:
            missing[key] = retail.build_customer(document)
    ids = door.make(STRIPE, "customer", list(missing.values()))
    for key, id in zip(missing, ids, strict=True):
        spool.remember("customer", key, id)


def find_customer(spool: Spool, document: RetailDocument) -> str:
    """Stripe's id of a document's customer, who exists by now."""
    return str(spool.find_made("customer", retail.find_customer_key(document)))


def remember(spool: Spool, documents: list[RetailDocument], ids: list[str]) -> None:
    """Keep the ids of what was made."""
    for document, id in zip(documents, ids, strict=True):
        spool.remember("document", document.number, id)
