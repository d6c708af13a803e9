"""The first steps of a billing document: may it be carried at all?"""

from __future__ import annotations

from typing import Any

from q2c.core.problems import Category, NotNeeded, Problem
from q2c.posting.facts import Book, Policy
from q2c.transactions.steps import Read


def want_standing(document: Any) -> list[tuple[str, Any]]:
    """Whether billing has voided it meanwhile."""
    return [("status", (document.source.connection, document.source.object_id))]


VOID = "void"


def check_standing(document: Any, links: Any, txn: Any) -> str:
    """The document still stands in billing: one that was voided before it was posted is never posted. After a restore
    nobody knows whether it was: then the ERP is asked first, and `check_unposted` ends what isn't there."""
    status = links.status(document.source.connection, document.source.object_id)
    if status == VOID and not txn.is_after_restore:
        raise _voided(document.number)
    return status or "stands"


def check_unposted(standing: str, number: str) -> None:
    """The ERP was asked and hasn't got it. Raises NotNeeded for what billing has voided."""
    if standing == VOID:
        raise _voided(number)


def _voided(number: str) -> NotNeeded:
    return NotNeeded(f"billing voided {number} before it was posted")


def check_document(document: Any, policy: Policy, book: Book) -> str:
    """What the feed's own prefix says, prices that it can't mean, and documents of 0. Billing's own negative lines are
    prorations and vouchers: they lower the document.

    Raises Problem `unknown_feed_prefix` or `negative_price`; NotNeeded for a document of 0 that isn't carried.
    """
    number = document.feed_number or document.number
    if document.feed_type == "unknown":
        raise Problem(
            "unknown_feed_prefix",
            Category.VALIDATION,
            f"{number} has a prefix that says neither invoice nor credit memo",
            number=number,
            feed=document.feed,
        )
    for line in document.lines:
        if document.feed and line.unit_price < 0:
            raise Problem(
                "negative_price",
                Category.VALIDATION,
                f"{number} sells {line.sku} at a price of {line.unit_price}",
                number=number,
                sku=line.sku,
            )
    check_zero(document, policy, book)
    return "can be carried"


def check_zero(document: Any, policy: Policy, book: Book) -> None:
    """A document of 0 goes through where its lines move revenue or sell something that has a price; one that does
    neither as policy says. Raises NotNeeded for one that doesn't."""
    if any(line.amount or any(tax.amount for tax in line.taxes) for line in document.lines):
        return
    if policy.is_summary:
        raise NotNeeded(f"{document.number} is a document of 0, which adds nothing to a summary")
    if policy.zero_amount == "skip" and not any(line.unit_price for line in document.lines):
        raise NotNeeded(f"{document.number} is a document of 0, which the posting policy of {book.code} skips")


STANDING = (
    Read(
        "check_standing", "Check that billing hasn't voided it", check_standing, gives="standing", wants=want_standing
    ),
)
CARRIED = (Read("check_document", "Check that the document can be carried", check_document, gives="checked"),)
