"""Receipts on account, refunds, disputes and payouts: gross to clearing, each fee its own line, payout to bank.
Pure."""

from __future__ import annotations

import datetime as dt

from q2c.canonical.billing import Dispute, Payment, Payout, Refund
from q2c.canonical.posting import CashReceipt, Journal, JournalLine
from q2c.core.ids import external_id
from q2c.core.money import ZERO
from q2c.posting.checks import check_posting
from q2c.posting.facts import Accounts, Book, Period, RateUse


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
) -> Journal:
    """Cash given back: what the customer is owed falls, and so does the gateway's clearing."""
    journal = _journal(
        "ref",
        refund.source.connection,
        refund.source.object_id,
        book,
        currency,
        refund.currency,
        rate,
        posting_date,
        period,
        (
            JournalLine(account=accounts.receivables, debit=refund.amount, customer=customer, memo="Refund"),
            JournalLine(account=accounts.clearing, credit=refund.amount, memo="Refund"),
        ),
        f"Refund {refund.source.object_id} of {refund.payment_id}",
    )
    check_posting(journal, book.code)
    return journal


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
    """Money that the bank took back while it's argued: neither refund nor credit memo. Won disputes come back
    reversed."""
    is_won = dispute.status in ("won", "funds_reinstated")
    lines = [
        JournalLine(account=accounts.clearing if is_won else accounts.disputes, debit=dispute.amount, memo="Dispute"),
        JournalLine(account=accounts.disputes if is_won else accounts.clearing, credit=dispute.amount, memo="Dispute"),
    ]
    if dispute.fee and not is_won:
        lines += [
            JournalLine(account=accounts.fees, debit=dispute.fee, memo="Dispute fee"),
            JournalLine(account=accounts.clearing, credit=dispute.fee, memo="Dispute fee"),
        ]
    journal = _journal(
        "dsp",
        dispute.source.connection,
        f"{dispute.source.object_id}-{dispute.status}",
        book,
        currency,
        dispute.currency,
        rate,
        posting_date,
        period,
        tuple(lines),
        f"Dispute {dispute.source.object_id} {dispute.status}",
    )
    check_posting(journal, book.code)
    return journal


def build_payout(
    payout: Payout,
    *,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """The gateway pays its balance to the bank on its arrival date; every fee is a line of its own."""
    fees = [m for m in payout.movements if m.fee and m.kind != "dispute"]  # a dispute's fee stands in its own journal
    lines = [
        JournalLine(
            account=accounts.bank, debit=max(payout.amount, ZERO), credit=max(-payout.amount, ZERO), memo="Payout"
        )
    ]
    for movement in fees:
        lines.append(
            JournalLine(
                account=accounts.fees,
                debit=max(movement.fee, ZERO),
                credit=max(-movement.fee, ZERO),
                memo=(movement.fee_description or f"Fee on {movement.about_id}")[:200],
            )
        )
    cleared = payout.amount + sum((m.fee for m in fees), ZERO)
    lines.append(
        JournalLine(account=accounts.clearing, debit=max(-cleared, ZERO), credit=max(cleared, ZERO), memo="Cleared")
    )
    journal = _journal(
        "po",
        payout.source.connection,
        payout.source.object_id,
        book,
        currency,
        payout.currency,
        rate,
        posting_date,
        period,
        tuple(line for line in lines if line.debit or line.credit),
        f"Payout {payout.source.object_id}",
    )
    check_posting(journal, book.code)
    return journal


def _journal(
    prefix: str, connection: str, object_id: str, book: Book, currency: str, currency_code: str, rate: RateUse,
    posting_date: dt.date, period: Period, lines: tuple[JournalLine, ...], memo: str,
) -> Journal:  # fmt: skip
    return Journal(
        external_id=external_id(prefix, source=connection, object_id=object_id),
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=currency_code,
        posting_date=posting_date,
        period=period.erp_id,
        lines=lines,
        memo=memo,
        exchange_rate=rate.rate if rate.source == "manual" else None,
    )
