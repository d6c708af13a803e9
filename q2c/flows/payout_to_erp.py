"""Payout to ERP: the gateway's balance goes to the bank; fees and disputes are lines of their own.

Starts on   PayoutPaid, DisputeChanged (payments)
Ends with   a journal from clearing to bank on the arrival date; one for money that a bank took back; their opposites
Posts       clearing explained to zero: gross in, fees and disputes apart, payout out; where what it pays out stands in
            several ERPs, each one's part there
Owners      billing operations; the controller for accounts
Never       nets a fee against a charge
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from q2c.canonical.billing import BalanceTransaction, Dispute, Payout
from q2c.canonical.posting import Journal, PostedDocument
from q2c.core.money import ZERO, allocate, round_money
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import approve, cash, codes, dates, first, opposite, payouts
from q2c.flows.steps import reversed as reversed_
from q2c.flows.told import Link
from q2c.posting.cash import build_dispute, build_payout, name_payout
from q2c.posting.facts import Accounts, Book, Period, RateUse
from q2c.transactions.contributions import PORTAL
from q2c.transactions.steps import NOTHING, Flow, Read, decode_output

# Which flow carried what a movement is about, and what its write gave.
CARRIED_BY = {"payment": ("payment_to_erp", "receipt"), "refund": ("refund_to_erp", "ar_refund")}
SUMMARY_FLOW = "summary_to_erp"


def want_summaries(document: Payout) -> list[tuple[str, Any]]:
    """The summary in which each movement that the gateway converted went to the ledger, if it did."""
    return [_want(document, movement, "summary") for movement in _converted(document)]


def find_summaries(document: Payout, links: Any) -> dict[str, str] | None:
    """The number of that summary, by movement; None where each was posted by itself."""
    given = {m.source.object_id: _gave(document, m, "summary", links) for m in _converted(document)}
    found = {
        movement: decode_output(body, PostedDocument).external_id
        for movement, body in given.items()
        if body not in NOTHING
    }
    return found or None


def want_booked(document: Payout, summaries: dict[str, str] | None) -> list[tuple[str, Any]]:
    """What the ERP booked for each movement that the gateway converted, by itself or in a summary."""
    wants = [_want(document, movement, _written(movement)) for movement in _converted(document)]
    return [*wants, *(("given", _summed(number)) for number in sorted(set((summaries or {}).values())))]


def find_booked(document: Payout, book: Book, summaries: dict[str, str] | None, links: Any) -> dict[str, Decimal]:
    """What the ERP booked, in the book's currency and by movement, for what the gateway converted; waits for it. Of a
    summary that is each document's share, at the summary's own rate.

    Raises Problem `payout_unexplained` where the gateway converted into another currency than the book's, and where
    the ERP doesn't say what it booked.
    """
    booked: dict[str, Decimal] = {}
    summed: dict[tuple[str, bool], list[BalanceTransaction]] = {}
    for movement in _converted(document):
        if document.currency != book.currency:
            holds = f"holds {movement.original_currency} converted into {document.currency}"
            raise _unexplained(document, f"{holds}, and {book.code} keeps its book in {book.currency}")
        given = _gave(document, movement, _written(movement), links)
        if given is None:
            raise _awaited(document, movement)
        number = (summaries or {}).get(movement.source.object_id, "")
        if given in NOTHING and number:
            summed.setdefault((number, movement.amount > 0), []).append(movement)
            continue
        base = None if given in NOTHING else decode_output(given, PostedDocument).base_amount
        if base is None:
            raise _without_rate(document, movement, "")
        booked[movement.source.object_id] = _signed(round_money(base, book.currency), movement)
    for (number, _), movements in summed.items():
        booked |= _shares(document, movements, book, number, links)
    return booked


def _shares(
    document: Payout, movements: list[BalanceTransaction], book: Book, number: str, links: Any
) -> dict[str, Decimal]:
    """What these movements, which stand in one line of a summary, were booked at: rounded together as its line is, so
    that no cent is left of it once all of it is paid out."""
    given = links.step_gave(*_summed(number))
    rate = None if given in NOTHING else decode_output(given, PostedDocument).exchange_rate
    if rate is None:
        raise _without_rate(document, movements[0], f" in the summary {number}")
    amounts = [abs(movement.original_amount) for movement in movements]
    shares = allocate(round_money(sum(amounts, ZERO) * rate, book.currency), amounts, book.currency)
    return {m.source.object_id: _signed(share, m) for m, share in zip(movements, shares, strict=True)}


def _signed(amount: Decimal, movement: BalanceTransaction) -> Decimal:
    return amount if movement.amount > 0 else -amount


def _without_rate(document: Payout, movement: BalanceTransaction, where: str) -> Problem:
    what = f"a {movement.record_type} of {movement.original_currency} {abs(movement.original_amount):,}"
    return _unexplained(
        document,
        f"holds {what} that the gateway converted, and the ERP doesn't say at what rate it booked that{where}: post the"
        " payout by a journal",
    )


def _unexplained(document: Payout, why: str) -> Problem:
    return Problem(
        "payout_unexplained",
        Category.VALIDATION,
        f"{name_payout(document)} {why}",
        connection=document.source.connection,
        document=document.source.object_id,
    )


def _converted(document: Payout) -> list[BalanceTransaction]:
    return [m for m in document.movements if m.original_currency and m.record_type in CARRIED_BY]


def _written(movement: BalanceTransaction) -> str:
    return CARRIED_BY[movement.record_type][1]


def _given(document: Payout, movement: BalanceTransaction, gave: str) -> tuple[str, str, str, str]:
    return CARRIED_BY[movement.record_type][0], document.source.connection, movement.record_id, gave


def _came_back(movement: BalanceTransaction) -> bool:
    """Whether it's the money of a refund that failed: its refund, of the same id, is another movement."""
    return movement.record_type == "refund" and movement.amount > 0


def _want(document: Payout, movement: BalanceTransaction, gave: str) -> tuple[str, Any]:
    return "given_back" if _came_back(movement) else "given", _given(document, movement, gave)


def _gave(document: Payout, movement: BalanceTransaction, gave: str, links: Any) -> bytes | None:
    key = _given(document, movement, gave)
    found: bytes | None = links.step_gave_back(*key) if _came_back(movement) else links.step_gave(*key)
    return found


def _awaited(document: Payout, movement: BalanceTransaction) -> Awaits:
    key, what = f"{movement.record_type}:{document.source.connection}:{movement.record_id}", movement.record_type
    if _came_back(movement):
        return Awaits(f"{key}:failed", f"the failure of {what} {movement.record_id} in the ERP")
    return Awaits(key, f"{what} {movement.record_id} in the ERP")


def _summed(number: str) -> tuple[str, str, str, str]:
    return SUMMARY_FLOW, PORTAL, number, "journal"


def want_first(document: Payout) -> list[tuple[str, Any]]:
    """The document that a payout's failure undoes, and whether people took it back."""
    return [*cash.want_first(document), *reversed_.want_reversal(document)]


def find_first(document: Payout, book: Book, by_hand: str | None, links: Any) -> str:
    """As for all cash; not needed where people took the payout back for good."""
    reversed_.check_first(document, book, links)
    return cash.find_first(document, book, by_hand, links)


def want_dispute_book(document: Dispute, calendar: Any) -> list[tuple[str, Any]]:
    """What names its payment's book, and whether people took the dispute back."""
    return [*cash.want_payment_book(document, calendar), *reversed_.want_reversal(document)]


def find_dispute_book(document: Dispute, txn: Any, links: Any, mappings: Any, calendar: Any) -> Book:
    """The payment's book; a dispute that is won isn't needed there where people took the dispute back for good."""
    book = cash.find_payment_book(document, txn, links, mappings, calendar)
    reversed_.check_first(document, book, links)
    return book


def build_payout_posting(
    document: Payout,
    book: Book,
    currency: str,
    accounts: Accounts,
    booked: dict[str, Decimal],
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> Journal:
    """Clearing to bank, with each fee and what converting cost."""
    posting = build_payout(
        document,
        book=book,
        currency=currency,
        accounts=accounts,
        rate=rate,
        posting_date=posting_date,
        period=period,
        booked=booked,
    )
    return dates.with_memo(posting, txn)


def build_dispute_posting(
    document: Dispute,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> Journal:
    """Disputes against clearing, with the fee."""
    posting = build_dispute(
        document, book=book, currency=currency, accounts=accounts, rate=rate, posting_date=posting_date, period=period
    )
    return dates.with_memo(posting, txn)


def tell_payout(document: Payout, journal: PostedDocument, book: Book) -> list:
    """Lineage from each payment, refund and dispute to the payout that carries it, and from the payout to its
    journal."""
    amount = -document.amount if document.movement else document.amount
    told = cash.tell_movement(document, journal, book, amount=amount, step="post_payout")
    connection = document.source.connection
    for movement in document.movements:
        if movement.record_id:
            told.append(
                Link(
                    connection,
                    movement.record_type,
                    movement.record_id,
                    connection,
                    document.source.object_type,
                    document.source.object_id,
                    movement.amount,
                    movement.currency,
                    "paid out by",
                    "post_payout",
                )
            )
    return told


def completes_payout(document: Payout) -> list[str]:
    """The payout's failure, which waits for it, goes on."""
    return cash.completes_first(document)


def tell_dispute(document: Dispute, journal: PostedDocument, book: Book) -> list:
    """Lineage from the payment to the dispute, in the payment's own currency, and from the dispute to its journal."""
    sign = 1 if document.is_returned else -1
    told = cash.tell_movement(document, journal, book, amount=sign * document.amount, step="post_dispute")
    relation = "dispute won" if document.is_returned else "disputed by"
    money = document.original_currency or document.currency
    amount = sign * (document.original_amount if document.original_currency else document.amount)
    return [
        *told,
        cash.tell_of_payment(document, amount=amount, currency=money, relation=relation, step="post_dispute"),
    ]


def completes_dispute(document: Dispute) -> list[str]:
    """The dispute's being won, which waits for it, goes on."""
    return cash.completes_first(document)


PAYOUT_TO_ERP = Flow(
    code="payout_to_erp",
    title="Payout to ERP",
    starts_with=("payout",),
    fact_type=Payout,
    owner="billing_ops",
    lane_type="payout",
    steps=(
        first.PAYOUT_STANDS,
        *payouts.WHOSE,
        Read(cash.FIRST[0].name, cash.FIRST[0].sentence, find_first, gives="undone", wants=want_first),
        Read(
            "find_summaries",
            "See which of the cash that the gateway converted went to the ledger in a summary",
            find_summaries,
            gives="summaries",
            wants=want_summaries,
            quiet=True,
        ),
        Read(
            "find_booked",
            "Find what the ERP booked for cash that the gateway converted, or wait for it",
            find_booked,
            gives="booked",
            wants=want_booked,
        ),
        *dates.IN_LEDGER,
        *codes.accounts_step(opposite.find_payout_accounts, opposite.want_accounts),
        Read("build_posting", "Build the payout's journal; it must balance", build_payout_posting, gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        cash.journal_write("post_payout", "Post the payout"),
    ),
    links=tell_payout,
    completes=completes_payout,
)

DISPUTE_TO_ERP = Flow(
    code="dispute_to_erp",
    title="Dispute to ERP",
    starts_with=("document",),
    fact_type=Dispute,
    owner="billing_ops",
    lane_type="dispute",
    steps=(
        first.STANDS,
        *dates.whose(find_dispute_book, want_dispute_book),
        *dates.IN_LEDGER,
        *codes.accounts_step(opposite.find_dispute_accounts, opposite.want_accounts),
        Read("build_posting", "Build the dispute's journal; it must balance", build_dispute_posting, gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        cash.journal_write("post_dispute", "Post the dispute"),
    ),
    links=tell_dispute,
    completes=completes_dispute,
)
