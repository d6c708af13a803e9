"""Credit of a customer's balance that a voided invoice gives back: it stops settling the invoice in the ERP too."""

from __future__ import annotations

from typing import Any

from q2c.canonical.billing import CustomerBalanceEntry, DocumentVoid
from q2c.canonical.posting import CashApplication, PostedDocument
from q2c.canonical.unwinding import Settling
from q2c.core.ids import external_id
from q2c.core.problems import Awaits
from q2c.flows.steps import open_items, settling
from q2c.flows.told import Link
from q2c.posting.facts import Book
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.steps import Read, Write

APPLICATION_FLOW = "application_to_erp"


def want_release(void: DocumentVoid) -> list[tuple[str, Any]]:
    """What became of the credit that the invoice had used of its customer's balance."""
    connection, wants = void.source.connection, list[tuple[str, Any]]()
    for entry in void.balance_entries:
        wants.append(("fact", (APPLICATION_FLOW, connection, entry.source.object_id)))
        wants.append(("xref", ("credit_memo", f"{connection}:{entry.from_type}:{entry.from_id}")))
    return wants


def build_release(void: DocumentVoid, book: Book, erp_invoice: str, links: Any) -> Settling | None:
    """The credit memos that let the invoice go, since billing gave the credit back; None where none settle it. Waits
    for those that are on their way to it."""
    connection, applications = void.source.connection, []
    for entry in void.balance_entries:
        state = links.state(APPLICATION_FLOW, connection, entry.source.object_id)
        if state not in ("completed", "cancelled", ""):
            awaited = open_items.application_key(connection, entry.source.object_id)
            raise Awaits(awaited, f"the credit that {void.number} had used in the ERP, to release it")
        credit = links.find("credit_memo", f"{connection}:{entry.from_type}:{entry.from_id}", book.connection)
        if state != "completed" or credit is None or credit.external_type == IN_SUMMARY:
            continue
        applications.append(
            CashApplication(
                external_id=_name(void, entry),
                payment=credit.external_id,
                kind="credit_memo",
                apply_to=(),
                released=(erp_invoice,),
                currency_code=entry.currency,
            )
        )
    if not applications:
        return None
    name = external_id("rel", source=connection, object_id=void.document_id)
    return Settling(external_id=name, applications=tuple(applications))


def _name(void: DocumentVoid, entry: CustomerBalanceEntry) -> str:
    return external_id("rel", source=void.source.connection, object_id=entry.source.object_id)


async def find_release(release: Settling, erp: Any) -> PostedDocument | None:
    """Look whether the ERP has released all of it."""
    return await settling.find_all(release, erp)


async def release_settlements(release: Settling, book: Book, erp: Any) -> PostedDocument:
    """Take the credit off the invoice; the credit memo keeps it for a later one."""
    return await settling.apply_all(release, book, erp)


def tell_release(release: Settling | None, void: DocumentVoid, book: Book, erp_invoice: str) -> list:
    """Lineage from the credit memos to the invoice that they settle no longer."""
    given = {_name(void, entry): -entry.amount for entry in void.balance_entries}
    return [
        Link(book.connection, "ar_credit_memo", row.payment, book.connection, "ar_invoice", erp_invoice,
             given.get(row.external_id), row.currency_code, "released from", "release_settlements")
        for row in (release.applications if release is not None else ())
    ]  # fmt: skip


BUILD_RELEASE = Read(
    "build_release", "See what of the customer's balance lets the invoice go first", build_release, gives="release",
    wants=want_release, quiet=True,
)  # fmt: skip
RELEASE = Write(
    "release_settlements",
    "Take the customer's balance off the invoice",
    find=find_release,
    create=release_settlements,
    equal=settling.compare_applied,
    prepared="release",
    unless="summary",
    port="erp",
    gives="released",
    quiet=True,  # what an older release has posted was posted without it
)
