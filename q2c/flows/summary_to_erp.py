"""Summary to ERP: a day's documents of an entity in one currency become one journal.

Starts on   the end of the day and the entity's cut-off (beat), or a person; late documents at the next cut-off
Ends with   the journal in the ERP's ledger, its period read back; every document of the summary goes on with it
Posts       per account, dimensions, tax code and deferral; debits and credits apart, tax as the documents have it
Owners      billing operations; the controller for period and posting policy
Never       nets a credit against an invoice, changes a summary that was frozen, or gives one up: its documents would
            wait for ever
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.posting import DaySummary, Journal, PostedDocument
from q2c.flows.steps import dates, post, systems
from q2c.flows.steps.cash import find_journal, post_journal
from q2c.flows.told import Link, became
from q2c.posting.facts import Book, Period, RateUse
from q2c.posting.summary import build_summary
from q2c.transactions.contributions import Day
from q2c.transactions.steps import Flow, Read, Write


def find_book(document: DaySummary, txn: Any, calendar: Any) -> Book:
    """The entity's book in the ERP that its documents went to."""
    return dates.take_book(document.legal_entity, txn, calendar, systems.Chosen(document.erp))


def want_policy(document: DaySummary) -> list[tuple[str, Any]]:
    """The entity's posting policy."""
    return dates.want_policy()


def build_posting(
    document: DaySummary,
    book: Book,
    currency: str,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
    links: Any,
) -> Journal:
    """One journal of the documents that were frozen into this summary."""
    return build_summary(
        links.summary_lines(txn.id),
        document=document,
        book=book,
        currency=currency,
        rate=rate,
        posting_date=posting_date,
        period=period,
    )


def post_summary(posting: Journal, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return post_journal(posting, erp)


def tell(document: DaySummary, journal: PostedDocument, book: Book) -> list:
    """Lineage from the summary to its journal, and from a delta's journal to what it supplements."""
    told = became(
        document.source,
        "summary",
        journal,
        book.connection,
        amount=document.total,
        currency=document.currency,
        step="post_summary",
    )
    if document.supplements:  # from the later journal to the earlier: a late document's journey leads to both
        source = document.source
        told.append(
            Link(
                book.connection, journal.document_type, journal.id, source.connection, source.object_type,
                document.supplements,
                document.total, document.currency, "supplements", "post_summary",
            )
        )  # fmt: skip
    return told


def completes(document: DaySummary, book: Book) -> list[str]:
    """The documents of the day go on; those that aren't in this summary wait for the next."""
    return [_day(document, book).key]


def _day(document: DaySummary, book: Book) -> Day:
    return Day(book.connection, document.legal_entity, document.posting_date, document.currency)


SUMMARY_TO_ERP = Flow(
    code="summary_to_erp",
    title="Summary to ERP",
    starts_with=("document",),
    fact_type=DaySummary,
    owner="billing_ops",
    lane_type="summary",
    never_waived=(
        "a day’s summary can’t be given up, since its documents post by nothing else: have its period reopened or put "
        "right in the ERP what it refuses, then repost"
    ),
    steps=(
        *dates.whose(find_book, want_policy),
        *dates.ON_ITS_DAY_IN_LEDGER,
        Read("build_posting", "Sum up the day's documents; the journal must balance", build_posting, gives="posting"),
        *dates.WINDOW,
        Write(
            "post_summary",
            "Post the summary's journal",
            find=find_journal,
            create=post_summary,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="journal",
        ),
    ),
    links=tell,
    completes=completes,
)
