"""Steps that book money which comes back on the accounts on which stands what it takes back.

A payout that failed and a dispute that was won take the bank's, the disputes' and the fees' account of the journal that
stands in this book: the first as it was posted, or the one that a plan posted in its place. Where that isn't ours, the
rules of their own dates decide, as for clearing always. Their rate is that of their own date.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import Dispute, Payout
from q2c.canonical.posting import Journal, PostedDocument
from q2c.flows.steps import codes, receivables
from q2c.flows.steps import reversed as reversed_
from q2c.flows.steps.half_way import REVERSAL_FLOW
from q2c.posting.cash import kept_on
from q2c.posting.facts import Accounts, Book
from q2c.posting.reversing import LATER
from q2c.transactions.steps import NOTHING

_FLOWS = {Payout: "payout_to_erp", Dispute: "dispute_to_erp"}


def want_accounts(document: Dispute | Payout, mappings: Any) -> list[tuple[str, Any]]:
    """Account roles; and of money that came back the journals that may stand for what it takes back."""
    wants = codes.want_accounts(document, mappings)
    if document.movement not in LATER:
        return wants
    wants.append(("xref", reversed_.first_record(document)))
    return [*wants, *(("given", (*key, name)) for key, *names in _journals(document) for name in ("book", *names))]


def find_payout_accounts(
    document: Payout, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any, links: Any
) -> Accounts:
    """Of a payout; of one that failed as the first has them. Raises Problem naming the role."""
    kept = _kept(document, book, links)
    return codes.payout_accounts(kept, document, book, document_date, posting_date, mappings, links)


def find_dispute_accounts(
    document: Dispute, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any, links: Any
) -> Accounts:
    """Of a dispute; of one that was won as its withdrawal has them. Raises Problem naming the role."""
    kept = _kept(document, book, links)
    return codes.dispute_accounts(kept, document, book, document_date, posting_date, mappings, links)


def _kept(document: Dispute | Payout, book: Book, links: Any) -> dict[str, str]:
    """By role the accounts of the journal of ours that stands in this book; empty where none does."""
    if document.movement not in LATER:
        return {}
    stands = links.find(*reversed_.first_record(document), book.connection)

    def gave(key: tuple[str, str, str], name: str, kind: Any) -> Any:
        body = links.step_gave(*key, name)
        return None if body in NOTHING else schema.from_json(body, kind)

    for key, prepared, written in _journals(document):
        posted, journal = gave(key, written, PostedDocument), gave(key, prepared, Journal)
        if None in (posted, journal, stands) or not receivables.is_of_book(gave(key, "book", Book), book):
            continue
        if (posted.id, posted.external_id) == (stands.external_id, journal.external_id):  # not one that people linked
            return kept_on(journal)
    return {}


def _journals(document: Dispute | Payout) -> list[tuple[tuple[str, str, str], str, str]]:
    """Who may have posted the journal that stands, and what it calls the prepared and the posted one."""
    source = document.source
    names = source.connection, source.object_id
    return [((REVERSAL_FLOW, *names), "again", "reposted"), ((_FLOWS[type(document)], *names), "posting", "journal")]
