"""Receipts, refunds, disputes and payouts: clearing is explained to zero."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Dispute, Payment, Payout, Refund
from q2c.posting.cash import build_dispute, build_payout, build_receipt, build_refund
from q2c.posting.facts import Accounts, RateUse
from tests.posting.test_invoice import BOOK, DAY, NOW, PERIOD

ACCOUNTS = Accounts(receivables="110", clearing="117", bank="101", fees="570", disputes="810")
COMMON = {"book": BOOK, "currency": "1", "accounts": ACCOUNTS, "rate": RateUse(), "posting_date": DAY, "period": PERIOD}


def source(kind: str, object_id: str) -> Source:
    return Source(connection="stripe", object_type=kind, object_id=object_id)


def clearing(posting) -> D:
    lines = posting.journal if hasattr(posting, "journal") else posting.lines
    return sum((j.debit - j.credit for j in lines if j.account == "117"), D(0))


def test_a_charge_a_refund_a_dispute_and_the_payout_leave_clearing_at_zero():
    receipt = build_receipt(
        Payment(
            source=source("payment", "pi_1"),
            customer_id="c",
            currency="GBP",
            amount=D("100.00"),
            received_at=NOW,
            gateway="stripe",
        ),
        customer="1501",
        **COMMON,
    )
    refund = build_refund(
        Refund(
            source=source("refund", "re_1"),
            payment_id="pi_1",
            customer_id="c",
            currency="GBP",
            amount=D("20.00"),
            refunded_at=NOW,
            gateway="stripe",
        ),
        customer="1501",
        **COMMON,
    )
    dispute = build_dispute(
        Dispute(
            source=source("dispute", "dp_1"),
            payment_id="pi_1",
            currency="GBP",
            amount=D("30.00"),
            at=NOW,
            status="needs_response",
            gateway="stripe",
            fee=D("15.00"),
        ),
        **COMMON,
    )
    payout = build_payout(
        Payout(
            source=source("payout", "po_1"),
            currency="GBP",
            amount=D("33.20"),
            arrival_date=DAY,
            gateway="stripe",
            movements=(
                BalanceTransaction(
                    source=source("txn", "t1"),
                    kind="charge",
                    currency="GBP",
                    amount=D("100.00"),
                    fee=D("1.80"),
                    at=NOW,
                    about_id="pi_1",
                ),
                BalanceTransaction(
                    source=source("txn", "t2"), kind="refund", currency="GBP", amount=D("-20.00"), fee=D(0), at=NOW
                ),
                BalanceTransaction(
                    source=source("txn", "t3"), kind="dispute", currency="GBP", amount=D("-45.00"), fee=D(0), at=NOW
                ),
            ),
        ),
        **COMMON,
    )
    assert [clearing(p) for p in (receipt, refund, dispute, payout)] == [
        D("100.00"),
        D("-20.00"),
        D("-45.00"),
        D("-35.00"),
    ]
    assert sum(map(clearing, (receipt, refund, dispute, payout))) == 0
    assert {j.account: j.debit for j in payout.lines if j.debit} == {"101": D("33.20"), "570": D("1.80")}


def test_a_won_dispute_comes_back_without_its_fee():
    won = build_dispute(
        Dispute(
            source=source("dispute", "dp_1"),
            payment_id="pi_1",
            currency="GBP",
            amount=D("30.00"),
            at=dt.datetime.now(dt.UTC),
            status="won",
            gateway="stripe",
            fee=D("15.00"),
        ),
        **COMMON,
    )
    assert {j.account: j.debit - j.credit for j in won.lines} == {"117": D("30.00"), "810": D("-30.00")}


def test_a_payout_below_zero_is_taken_from_the_bank():
    payout = build_payout(
        Payout(
            source=source("payout", "po_2"),
            currency="GBP",
            amount=D("-10.00"),
            arrival_date=DAY,
            gateway="stripe",
            movements=(),
        ),
        **COMMON,
    )
    assert {j.account: j.debit - j.credit for j in payout.lines} == {"101": D("-10.00"), "117": D("10.00")}
