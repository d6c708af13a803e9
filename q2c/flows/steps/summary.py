"""The step at which a document goes to the ledger by itself, or with the day's summary, by the entity's policy.

Under summary posting the document has passed every check and its posting is built; what it contributes is stored with
the wait, and it waits, without being read again, until the summary that it was frozen into is in the ledger.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.posting import Journal, JournalLine, PostedDocument
from q2c.core.money import ZERO, spoken_money
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps.cash import movement_key
from q2c.flows.told import record_key
from q2c.posting.facts import Book, Policy
from q2c.posting.summary import due_at, sum_lines
from q2c.transactions.contributions import IN_SUMMARY, Contributed, Contributing, Day
from q2c.transactions.steps import Wait

LOOKS_AGAIN = dt.timedelta(hours=1)  # the summary's completion releases its documents; this is for a lost nudge
PATIENCE_SECONDS = 10 * 366 * 86400.0  # a summary that doesn't post is one case, its own: documents wait for it
IN_TWO_WAYS = "one of them is in the ERP by itself, the other in a summary"
IN_TWO_ERPS = "they stand in two ERPs"
_RECORDS = {
    "invoice_to_erp": "invoice", "credit_memo_to_erp": "credit_memo", "payment_to_erp": "payment",
    "refund_to_erp": "refund", "invoice_void_to_erp": "invoice_void", "credit_void_to_erp": "credit_void",
}  # fmt: skip


def want_contribution(posting: Any, document: Any, policy: Policy, book: Book, txn: Any) -> list[tuple[str, Any]]:
    """What stands in a summary under this external id already; under summary posting also what stands by itself."""
    wants: list[tuple[str, Any]] = [("contribution", (book.connection, posting.external_id))]
    if policy.is_summary:
        wants.append(("xref", _record(document, txn)))
    return wants


def await_summary(
    posting: Any, document: Any, policy: Policy, book: Book, posting_date: dt.date, txn: Any, links: Any
) -> PostedDocument | None:
    """The journal of the summary that this document is in; None when it's posted by itself.

    The choice is the policy's as read for this document; what was posted or contributed before keeps its way, so a
    change of policy doubles nothing. Raises Problem `document_exists_differs` when an earlier version of the document
    stands in a summary with another amount.
    """
    found: Contributed | None = links.contribution(book.connection, posting.external_id)
    is_frozen = found is not None and found.summary_id is not None
    if not is_frozen and (not policy.is_summary or _stands_by_itself(document, book, txn, links)):
        return None
    day = Day(book.connection, book.code, posting_date, posting.currency_code)
    lines = sum_lines(_lines(posting))
    if found is not None and is_frozen:
        _check_same(found, lines, posting, txn)
        day = Day(book.connection, book.code, found.posting_date, found.currency)
        if found.is_posted:
            txn.target = _journal(found, day)
            return txn.target
    raise Awaits(
        day.key,
        f"the summary of {book.code} for {day.posting_date}, {day.currency}",
        patience_seconds=PATIENCE_SECONDS,
        not_before=_look_at(day, found, policy, book),
        brings=None if is_frozen else Contributing(txn.id, posting.external_id, day, lines, _record(document, txn)),
    )


def check_keeper(document: Any, policy: Policy, found: Any) -> None:
    """That what takes a document back goes the way that the document went: `found` is the cross-reference of it.

    Raises Problem `unsupported_document` across a cut-over: an open item of the ERP isn't lowered by a summary, nor the
    other way round.
    """
    if found is not None and (found.external_type == IN_SUMMARY) is not policy.is_summary:
        raise across_cut_over(document, f"{document.number} takes back {found.number or 'another document'}")


def across_cut_over(document: Any, what: str, how: str = IN_TWO_WAYS) -> Problem:
    """Two documents that belong together don't stand together: one of them is in the ERP by itself and the other in a
    summary, or they are in two ERPs."""
    return Problem(
        "unsupported_document",
        Category.VALIDATION,
        f"{what}, and {how}: clear them by a journal",
        connection=document.source.connection,
        document=document.source.object_id,
        prefix="across a cut-over",
    )


def _record(document: Any, txn: Any) -> tuple[str, str]:
    kind = _RECORDS[txn.flow.code]
    return kind, movement_key(document) if kind == "refund" else record_key(document.source)


def _stands_by_itself(document: Any, book: Book, txn: Any, links: Any) -> bool:
    """Whether the ERP has the document on line level, from before the policy changed: its write then finds it."""
    found = links.find(*_record(document, txn), book.connection)
    return found is not None and found.external_type != IN_SUMMARY


def _lines(posting: Any) -> tuple[JournalLine, ...]:
    return posting.lines if isinstance(posting, Journal) else posting.journal


def _check_same(found: Contributed, lines: tuple[JournalLine, ...], posting: Any, txn: Any) -> None:
    total = sum((line.debit for line in lines), ZERO)
    if found.transaction_id == txn.id or (found.total, found.currency) == (total, posting.currency_code):
        return
    number = txn.number or txn.source_id
    raise Problem(
        "document_exists_differs",
        Category.CONFLICT,
        f"{number} has {spoken_money(total, posting.currency_code)} and stands in a summary with"
        f" {spoken_money(found.total, found.currency)}",
        number=number,
        document=posting.external_id,
        asked=total,
        booked=found.total,
    )


def _journal(found: Contributed, day: Day) -> PostedDocument:
    return PostedDocument(
        document_type=found.target_type or "journal",
        id=found.target_id or "",
        external_id=f"{day.number}-{found.delta}",
        number=found.target_number or "",
        currency_code=day.currency,
        posting_date=day.posting_date,
    )


def _look_at(day: Day, found: Contributed | None, policy: Policy, book: Book) -> dt.datetime:
    now = dt.datetime.now(dt.UTC)
    since = found.at if found is not None else now
    due = due_at(day.posting_date, since, time_zone=book.time_zone, cut_off=policy.summary_cut_off)
    return max(due.astimezone(dt.UTC), now) + LOOKS_AGAIN


BY_ITSELF_OR_IN_SUMMARY = (
    Wait(
        "await_summary",
        "Post it by itself or wait for the day's summary, as policy says",
        until=await_summary,
        gives="summary",
        parks=True,
        wants=want_contribution,
    ),
)
