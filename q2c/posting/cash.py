"""Receipts on account, refunds, disputes and payouts: gross to clearing, each fee its own line, payout to bank.

What comes back (a failed refund or payout, a dispute won) is a document of its own with the opposite lines. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from q2c.canonical.billing import BalanceTransaction, Dispute, Payment, Payout, Refund
from q2c.canonical.posting import AppliedTo, CashReceipt, CashRefund, Journal, JournalLine
from q2c.core.ids import external_id
from q2c.core.money import ZERO, spoken_money
from q2c.core.problems import Category, Problem
from q2c.posting.checks import check_posting
from q2c.posting.facts import Accounts, Book, Period, RateUse

# Movements on a gateway's balance that other documents carry; their fees alone belong to the payout.
CARRIED = frozenset({"payment", "refund", "refund_failed", "payout"})
_PAYOUT, _DISPUTE, _DISPUTE_FEE = "Payout", "Dispute", "Dispute fee"  # memos of the lines that an opposite takes back
_KEEPS = {_PAYOUT: "bank", _DISPUTE: "disputes", _DISPUTE_FEE: "fees"}


def build_receipt(
    payment: Payment,
    *,
    book: Book,
    customer: str,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> CashReceipt:
    """A receipt on account, gross, on its own date: its application waits for the invoice, the cash doesn't."""
    receipt = CashReceipt(
        external_id=external_id("pay", source=payment.source.connection, object_id=payment.source.object_id),
        number=payment.reference or payment.source.object_id,
        customer=customer,
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=payment.currency,
        amount=payment.amount,
        posting_date=posting_date,
        period=period.erp_id,
        account=accounts.clearing,
        receivables_account=accounts.receivables,
        memo=f"{payment.source.connection} {payment.source.object_id}",
        reference=payment.reference,
        exchange_rate=rate.rate if rate.source == "manual" else None,
        journal=(
            JournalLine(account=accounts.clearing, debit=payment.amount),
            JournalLine(account=accounts.receivables, credit=payment.amount, customer=customer),
        ),
    )
    check_posting(receipt, book.code)
    return receipt


def build_refund(
    refund: Refund,
    *,
    book: Book,
    customer: str,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    apply_to: tuple[AppliedTo, ...] = (),
) -> CashRefund:
    """Cash given back: what the customer is owed falls, and so does the gateway's clearing. Of a refund that failed
    the opposite: the money came back, and is owed again. `apply_to` are the credit memos that it pays out."""
    sign = -1 if refund.failed_at else 1
    word = "Refund failed" if refund.failed_at else "Refund"
    posting = CashRefund(
        external_id=_external_id("ref", refund),
        customer=customer,
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=refund.currency,
        amount=refund.amount,
        posting_date=posting_date,
        period=period.erp_id,
        account=accounts.clearing,
        receivables_account=accounts.receivables,
        memo=f"{word} {refund.source.object_id} of {refund.payment_id}",
        exchange_rate=rate.sent,
        apply_to=apply_to,
        journal=(
            _line(accounts.receivables, sign * refund.amount, word, customer=customer),
            _line(accounts.clearing, -sign * refund.amount, word),
        ),
    )
    check_posting(posting, book.code)
    return posting


def build_dispute(
    dispute: Dispute,
    *,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """Money that the bank took back while it's argued: neither refund nor credit memo. A dispute won gives it back,
    with the fee if the gateway returns that too (a negative fee)."""
    taken = -dispute.amount if dispute.is_returned else dispute.amount
    return _journal(
        "dsp",
        dispute,
        book,
        currency,
        rate,
        posting_date,
        period,
        [
            _line(accounts.disputes, taken, _DISPUTE),
            _line(accounts.clearing, -taken, _DISPUTE),
            _line(accounts.fees, dispute.fee, _DISPUTE_FEE),
            _line(accounts.clearing, -dispute.fee, _DISPUTE_FEE),
        ],
        f"Dispute {dispute.source.object_id} {dispute.status}",
    )


def build_payout(
    payout: Payout,
    *,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    booked: Mapping[str, Decimal] | None = None,
) -> Journal:
    """The gateway pays its balance to the bank on its arrival date; every fee is a line of its own.

    A movement that the gateway converted leaves the clearing of its own currency at what the ERP booked for it
    (`booked`, in the book's currency, by movement): what the settlement lacks of that is the gateway's fee for
    converting, never a gain or loss. A payout that failed is the opposite of the first, without fees.

    Raises Problem `payout_unexplained` when its movements don't sum to it, or one is of a kind that nobody carries.
    """
    if payout.failed_at:
        lines = [
            _line(accounts.bank, -payout.amount, "Payout failed"),
            _line(accounts.clearing, payout.amount, "Payout failed"),
        ]
    else:
        check_movements(payout)
        lines = [_line(accounts.bank, payout.amount, _PAYOUT), _line(accounts.clearing, -payout.amount, "Cleared")]
        for movement in payout.movements:
            lines += _movement_lines(movement, accounts, (booked or {}).get(movement.source.object_id))
    word = "Failed payout" if payout.failed_at else "Payout"
    return _journal(
        "po", payout, book, currency, rate, posting_date, period, _gathered(lines, accounts.clearing),
        f"{word} {payout.source.object_id}",
    )  # fmt: skip


def kept_on(journal: Journal) -> dict[str, str]:
    """By role, the accounts on which the journal of a payout or dispute keeps what money that comes back takes from
    them. Clearing isn't one: it's what the gateway owes, and the next payout takes that from the account of its date.
    """
    found: dict[str, str] = {}
    for line in journal.lines:  # the account that isn't clearing is the first of its memo
        if role := _KEEPS.get(line.memo):
            found.setdefault(role, line.account)
    return found


def check_movements(payout: Payout) -> None:
    """Every movement is explained, and together they are the payout. Of one that names none nothing is posted: the
    fees of what it pays out would never be.

    Raises Problem `payout_unexplained`.
    """
    odd = sorted({m.kind for m in payout.movements} - CARRIED - {"dispute", "fee", "reserve"})
    net = sum((m.amount - m.fee for m in payout.movements), ZERO)
    if not payout.movements and not payout.is_automatic:
        why = "was asked for by hand, and the gateway ties no movements to such a payout: its fees aren’t known"
    elif not payout.movements:
        why = "names no movements"
    elif odd:
        why = f"has movements that nobody carries: {', '.join(kind.replace('_', ' ') for kind in odd)}"
    elif net != payout.amount:
        why = f"has movements of {net:,} in all"
    else:
        return
    raise Problem(
        "payout_unexplained",
        Category.VALIDATION,
        f"{name_payout(payout)} {why}",
        connection=payout.source.connection,
        document=payout.source.object_id,
    )


def name_payout(payout: Payout) -> str:
    """A payout as people know it: it has no number, but an amount and the day on which the bank has it."""
    return f"The payout of {spoken_money(payout.amount, payout.currency)} of {payout.arrival_date:%-d %B %Y}"


def _movement_lines(movement: BalanceTransaction, accounts: Accounts, booked: Decimal | None) -> list[JournalLine]:
    """What a movement moves beside its own document: fees, reserves, and the cost of a conversion."""
    lines: list[JournalLine] = []
    fee = ZERO if movement.kind == "dispute" else movement.fee  # a dispute's fee stands in its own journal
    if movement.kind == "fee":
        fee -= movement.amount
    memo = movement.fee_description or f"Fee on {movement.about_id or movement.source.object_id}"
    lines += [_line(accounts.fees, fee, memo), _line(accounts.clearing, -fee, memo)]
    if movement.kind == "reserve":
        lines += [_line(accounts.reserves, -movement.amount, "Reserve")]
        lines += [_line(accounts.clearing, movement.amount, "Reserve")]
    if booked is not None:
        memo = f"{movement.original_currency} {movement.original_amount:,} of {movement.about_id} converted"
        own = accounts.clearings.get(movement.original_currency, accounts.clearing)
        lines += [
            _line(own, -booked, memo),
            _line(accounts.clearing, movement.amount, memo),
            _line(accounts.fees, booked - movement.amount, f"Cost of converting {movement.about_id}"),
        ]
    return lines


def _gathered(lines: list[JournalLine], clearing: str) -> list[JournalLine]:
    """Every line as it is, and the clearing account's as one: what the payout clears."""
    cleared = sum((line.debit - line.credit for line in lines if line.account == clearing), ZERO)
    return [*(line for line in lines if line.account != clearing), _line(clearing, cleared, "Cleared")]


def _line(account: str, debit: Decimal, memo: str, customer: str = "") -> JournalLine:
    """One side of a journal; a negative debit is a credit."""
    return JournalLine(
        account=account, debit=max(debit, ZERO), credit=max(-debit, ZERO), memo=memo[:200], customer=customer
    )


def _journal(
    prefix: str, document: Any, book: Book, currency: str, rate: RateUse, posting_date: dt.date, period: Period,
    lines: list[JournalLine], memo: str,
) -> Journal:  # fmt: skip
    journal = Journal(
        external_id=_external_id(prefix, document),
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=document.currency,
        posting_date=posting_date,
        period=period.erp_id,
        lines=tuple(line for line in lines if line.debit or line.credit),
        memo=memo,
        exchange_rate=rate.rate if rate.source == "manual" else None,
    )
    check_posting(journal, book.code)
    return journal


def _external_id(prefix: str, document: Any) -> str:
    """A second movement of an object (a refund or payout that failed, a dispute won) is a document of its own."""
    source = document.source
    object_id = f"{source.object_id}-{document.movement}" if document.movement else source.object_id
    return external_id(prefix, source=source.connection, object_id=object_id)
