"""Payout to ERP: the gateway's balance goes to the bank; fees and disputes are lines of their own.

Starts on   PayoutPaid, DisputeChanged (payments)
Ends with   a journal from clearing to bank on the arrival date; a journal for money that a bank took back
Posts       clearing explained to zero: gross in, fees and disputes apart, payout out
Owners      billing operations; the controller for accounts
Never       nets a fee against a charge
"""

from __future__ import annotations

import datetime as dt

from q2c.canonical.billing import Dispute, Payout
from q2c.canonical.posting import Journal, PostedDocument
from q2c.flows.payment_to_erp import find_journal, post_journal
from q2c.flows.steps import codes, dates, post
from q2c.flows.told import Link, became
from q2c.posting.cash import build_dispute, build_payout
from q2c.posting.facts import Accounts, Book, Period, RateUse
from q2c.transactions.steps import Flow, Read, Write


def build_payout_posting(
    document: Payout,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """Clearing to bank, with each fee."""
    return build_payout(
        document, book=book, currency=currency, accounts=accounts, rate=rate, posting_date=posting_date, period=period
    )


def build_dispute_posting(
    document: Dispute,
    book: Book,
    currency: str,
    accounts: Accounts,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """Disputes against clearing, with the fee."""
    return build_dispute(
        document, book=book, currency=currency, accounts=accounts, rate=rate, posting_date=posting_date, period=period
    )


def tell_payout(document: Payout, journal: PostedDocument, book: Book) -> list:
    """Lineage from each payment, refund and dispute to the payout that carries it, and from the payout to its
    journal."""
    told = became(
        document.source,
        "payout",
        journal,
        book.connection,
        amount=document.amount,
        currency=document.currency,
        step="post_payout",
    )
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


def tell_dispute(document: Dispute, journal: PostedDocument, book: Book) -> list:
    """Lineage from the payment to the dispute, and from the dispute to its journal."""
    told = became(
        document.source,
        "dispute",
        journal,
        book.connection,
        amount=-document.amount,
        currency=document.currency,
        step="post_dispute",
    )
    connection = document.source.connection
    told.append(
        Link(
            connection,
            "payment",
            document.payment_id,
            connection,
            document.source.object_type,
            document.source.object_id,
            -document.amount,
            document.currency,
            "disputed by",
            "post_dispute",
        )
    )
    return told


PAYOUT_TO_ERP = Flow(
    code="payout_to_erp",
    title="Payout to ERP",
    starts_with=("document",),
    fact_type=Payout,
    owner="billing_ops",
    lane_type="payout",
    steps=(
        *dates.WHOSE,
        *codes.accounts_step(codes.find_payout_accounts),
        *dates.IN_LEDGER,
        Read("build_posting", "Build the payout's journal; it must balance", build_payout_posting, gives="posting"),
        *dates.WINDOW,
        Write(
            "post_payout",
            "Post the payout",
            find=find_journal,
            create=post_journal,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="journal",
        ),
    ),
    links=tell_payout,
)

DISPUTE_TO_ERP = Flow(
    code="dispute_to_erp",
    title="Dispute to ERP",
    starts_with=("document",),
    fact_type=Dispute,
    owner="billing_ops",
    lane_type="dispute",
    steps=(
        *dates.WHOSE,
        *codes.accounts_step(codes.find_dispute_accounts),
        *dates.IN_LEDGER,
        Read("build_posting", "Build the dispute's journal; it must balance", build_dispute_posting, gives="posting"),
        *dates.WINDOW,
        Write(
            "post_dispute",
            "Post the dispute",
            find=find_journal,
            create=post_journal,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="journal",
        ),
    ),
    links=tell_dispute,
)
