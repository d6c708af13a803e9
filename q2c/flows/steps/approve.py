"""The step that waits for a second person where policy asks for approval before posting."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from q2c.canonical import schema
from q2c.core.money import spoken_money
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps.post import total_of
from q2c.posting.facts import Book, Policy, RateUse
from q2c.transactions.steps import Read

POSTING = "posting"  # the kind of such proposals


def wait_key(transaction_id: Any) -> str:
    """What a transaction waits for while its posting isn't approved."""
    return f"approval:{transaction_id}"


def await_approval(posting: Any, policy: Policy, book: Book, rate: RateUse, txn: Any, links: Any, calendar: Any) -> str:
    """Nothing to approve under the limit; above it, an approval bound to this posting's content (law 7). The limit is
    an amount of the book's currency.

    Raises Awaits until two people agree, and Problem once one of them has refused.
    """
    total = total_of(posting)
    if posting is None or policy.approval_over is None or total is None:
        return "not needed"
    if abs(in_book_currency(total, rate, book, calendar)) < policy.approval_over:
        return "not needed"
    content = schema.content_hash(posting)
    approved = links.approval(txn.id, content)
    if approved:
        return approved
    number = txn.number or txn.source_id
    refused = links.refusal(txn.id, content, txn.attempt)
    if refused:
        raise Problem(
            "posting_rejected",
            Category.VALIDATION,
            f"The posting of {number} was rejected: {refused}",
            number=number,
            why=refused,
        )
    money = spoken_money(total, posting.currency_code)
    raise Awaits(
        wait_key(txn.id),
        f"approval of {money} before posting",
        patience_seconds=30 * 86400,
        asks={
            "kind": POSTING,
            "title": f"Post {number}, {money}, in {book.code}",
            "content": {
                "transaction": str(txn.id),
                "attempt": txn.attempt,
                "posting_hash": content,
                "posting": schema.to_builtins(posting),
            },
        },
    )


def in_book_currency(total: Decimal, rate: RateUse, book: Book, calendar: Any) -> Decimal:
    """An amount in the book's currency, by the manual rate or the newest of the ERP's table: near enough to compare
    with a limit."""
    if rate.source == "none":
        return total
    if rate.rate is not None:
        return total * rate.rate
    return total * Decimal(calendar.reference(book.connection, "rates")[rate.pair]["attributes"]["rate"])


APPROVAL = (Read("await_approval", "Wait for approval where policy asks for it", await_approval, gives="approval"),)
