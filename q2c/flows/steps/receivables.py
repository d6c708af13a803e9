"""Steps that say on which receivables account stands what a document takes back or settles.

What an earlier document was posted with counts in the book in which it was posted. In an ERP that took its open item
over, that account's id means another account or nothing: there the rule in force on its date decides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NamedTuple

from q2c.canonical import schema
from q2c.flows.steps import codes
from q2c.posting.facts import Accounts, Book, Policy
from q2c.transactions.steps import NOTHING

INVOICE_FLOW = "invoice_to_erp"
UNWINDING_FLOW = "unwinding_to_erp"
REPOSTED = "reposted"  # what the flow calls the document that stands for an invoice which it took back


class Posted(NamedTuple):
    """What may have been posted earlier: its flow, system and id, what its write gave, and its date's name there."""

    flow: str
    connection: str
    source_id: str
    written: str
    dated: str = "document_date"


class Standing(NamedTuple):
    """Where something posted stands: its account in this book; empty where it stands in another one, with its date."""

    account: str = ""
    since: dt.date | None = None


def want_standing(posted: Posted) -> list[tuple[str, Any]]:
    """What `stands_on` looks at."""
    return [("given", (*posted[:3], name)) for name in ("accounts", "book", posted.dated, posted.written)]


def want_standing_invoice(connection: str, invoice_id: str) -> list[tuple[str, Any]]:
    """What `invoice_stands_on` looks at."""
    return [want for posted in _of_invoice(connection, invoice_id) for want in want_standing(posted)]


def is_posted_again(connection: str, invoice_id: str, links: Any) -> bool:
    """Whether it's the document that a plan posted again that stands for the invoice."""
    return links.step_gave(UNWINDING_FLOW, connection, invoice_id, REPOSTED) not in NOTHING


def invoice_stands_on(connection: str, invoice_id: str, policy: Policy, book: Book, links: Any) -> Standing | None:
    """Where an invoice of ours stands; None where it isn't posted."""
    first, again = _of_invoice(connection, invoice_id)
    posted = again if is_posted_again(connection, invoice_id, links) else first
    return stands_on(posted, policy, book, links)


def _of_invoice(connection: str, invoice_id: str) -> tuple[Posted, Posted]:
    first = Posted(INVOICE_FLOW, connection, invoice_id, "ar_invoice")
    return first, Posted(UNWINDING_FLOW, connection, invoice_id, REPOSTED, "invoice_date")


def stands_on(posted: Posted, policy: Policy, book: Book, links: Any) -> Standing | None:
    """Where something that we carried stands, by itself or in a summary as the policy has it now; None where it was
    posted in neither way."""

    def gave(name: str, kind: Any) -> Any:
        body = links.step_gave(*posted[:3], name)
        return None if body in NOTHING else schema.from_json(body, kind)

    if (links.step_gave(*posted[:3], posted.written) in NOTHING) != policy.is_summary:
        return None
    accounts = gave("accounts", Accounts)
    if accounts is None:
        return None
    if is_of_book(gave("book", Book), book):
        return Standing(accounts.receivables)
    return Standing(since=gave(posted.dated, dt.date))


def is_of_book(other: Book | None, book: Book) -> bool:
    """Whether what was posted in the other book has in this one the ids that it was posted with."""
    return other is not None and (other.connection, other.code) == (book.connection, book.code)


def find_settled(
    standing: Iterable[Standing | None], document: Any, book: Book, document_date: dt.date, policy: Policy,
    mappings: Any, links: Any,
) -> str:  # fmt: skip
    """The receivables account of the first of these that is posted, the rule in force on its date where it stands in
    another book; empty where none is. Raises Problem naming the role."""
    for found in standing:
        if found is not None and found.since is not None:
            return codes.find_receivables(document, book, document_date, found.since, policy, mappings, links)
        if found is not None and found.account:
            return found.account
    return ""
