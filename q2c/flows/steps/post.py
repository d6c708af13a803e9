"""Comparing what the ERP holds with what we asked for: amount, currency, book, date, and the period it really took."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from q2c.canonical.posting import PostedDocument
from q2c.core.ids import MACHINE_ID
from q2c.core.money import spoken_money
from q2c.core.problems import Category, NeverSent, NotAnswered, Problem


def total_of(prepared: Any) -> Decimal | None:
    """What a posting amounts to, in its own currency; None for one that has no amount (master data)."""
    total: Decimal | None = getattr(prepared, "total", None)
    return getattr(prepared, "amount", None) if total is None else total


def date_of(prepared: Any) -> dt.date:
    """The date that the ERP's document bears: the document's own, else that of posting."""
    date: dt.date = getattr(prepared, "document_date", None) or prepared.posting_date
    return date


NUMBERED = ("ArInvoice", "ArCreditMemo")  # whose number of ours the ERP keeps as its own
NUMBER_KEPT = 45  # so much of a number at least an ERP keeps


def own_number(prepared: Any, theirs: str) -> str:
    """The number under which the ERP must have it, as far as it keeps so long a one; theirs where any will do."""
    if type(prepared).__name__ not in NUMBERED:
        return theirs
    ours: str = prepared.number
    return theirs if len(theirs) >= NUMBER_KEPT and ours.startswith(theirs) else ours


_NOUNS = {"CashReceipt": "the receipt", "CashRefund": "the refund", "Journal": "the journal"}


def called(prepared: Any) -> str:
    """What people call a document that was asked for: its number; what it is, where only machines read that."""
    number = getattr(prepared, "number", "")
    return (
        number if number and not MACHINE_ID.fullmatch(number) else _NOUNS.get(type(prepared).__name__, "the document")
    )


def _first(name: str) -> str:
    return name[:1].upper() + name[1:]


def compare_posted(document: PostedDocument, prepared: Any, was_found: bool) -> Problem | None:
    """None when the ERP's document says what we asked for; otherwise the Problem that holds the transaction. Its number
    is compared where billing's is to be the ERP's.

    `posted_in_other_period` when the ERP moved it; `document_exists_differs` when a document with our external id says
    something else; `posted_differently` when the ERP changed what we sent.
    """
    number = getattr(prepared, "number", "") or prepared.external_id
    name = called(prepared)
    asked, currency = total_of(prepared), prepared.currency_code
    if asked is not None and document.total is not None and document.total != asked:
        booked = f"{spoken_money(document.total, currency)} as {document.number or document.id}"
        summary = f"{_first(name)} is {spoken_money(asked, currency)} and the ERP holds {booked}"
        return differs(was_found, document, number, summary, asked=asked, booked=document.total)
    for what, ours, theirs in (
        ("numbered", own_number(prepared, document.number), document.number),
        ("in", currency, document.currency_code),
        ("in currency", prepared.currency, document.currency),
        ("of subsidiary", prepared.subsidiary, document.subsidiary),
        ("of", date_of(prepared), document.posting_date),
    ):
        if theirs and theirs != ours:
            return differs(
                was_found, document, number, f"{_first(name)} is {what} {ours} and the ERP holds it as {what} {theirs}"
            )
    if document.period and document.period != prepared.period:
        return Problem(
            "posted_in_other_period",
            Category.PERIOD_CLOSED,
            f"The ERP put {name} into another period than the one asked for",
            number=number,
            document=document.id,
            asked=prepared.period,
            period=document.period,
        )
    return None


async def read_before_sending(erp: Any, document_type: str, document_id: str) -> PostedDocument:
    """What the ERP holds, asked the moment before a write. Raises NeverSent where it doesn't answer: only a question
    went out, so nothing of the write is in doubt."""
    found: PostedDocument = await asked_before_sending(erp.read(document_type, document_id))
    return found


async def asked_before_sending(question: Any) -> Any:
    """The answer to a question that is asked the moment before a write. Raises NeverSent as `read_before_sending`."""
    try:
        return await question
    except NeverSent:
        raise
    except Problem as problem:
        if isinstance(problem, NotAnswered) or problem.category is Category.AVAILABILITY:
            subject: dict[str, Any] = {**problem.subject}
            raise NeverSent(problem.summary, wait_seconds=problem.wait_seconds, **subject) from problem
        raise


def differs(was_found: bool, document: PostedDocument, number: str, summary: str, **more: Any) -> Problem:
    """The Problem of a document that isn't what we asked for: found under our external id, or changed as it came."""
    code = "document_exists_differs" if was_found else "posted_differently"
    return Problem(code, Category.CONFLICT, summary, number=number, document=document.id, **more)
