"""Receipts, refunds, disputes and payouts: clearing is explained to zero."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from msgspec import structs

from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Dispute, Payment, Payout, Refund
from q2c.canonical.posting import AppliedTo
from q2c.core.problems import Problem
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


def test_a_refund_pays_out_credit_memos_and_its_failure_is_the_opposite():
    went = Refund(
        source=source("refund", "re_1"), payment_id="pi_1", customer_id="c", currency="GBP", amount=D("20.00"),
        refunded_at=NOW, gateway="stripe",
    )  # fmt: skip
    applied = (AppliedTo(document="9002", amount=D("20.00")),)
    posting = build_refund(went, customer="1501", apply_to=applied, **COMMON)
    assert (posting.external_id, posting.amount, posting.apply_to) == ("ref-stripe-re_1", D("20.00"), applied)
    assert [(j.account, j.customer, j.debit, j.credit) for j in posting.journal] == [
        ("110", "1501", D("20.00"), D(0)), ("117", "", D(0), D("20.00")),
    ]  # fmt: skip
    failed = build_refund(structs.replace(went, failed_at=NOW), customer="1501", **COMMON)
    assert (failed.external_id, failed.apply_to) == ("ref-stripe-re_1-failed", ())
    assert clearing(failed) == D("20.00")


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
                    kind="payment",
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


def dispute(status: str, fee: str) -> Dispute:
    return Dispute(
        source=source("dispute", "dp_1"), payment_id="pi_1", currency="GBP", amount=D("30.00"), at=NOW, status=status,
        gateway="stripe", fee=D(fee),
    )  # fmt: skip


def sides(journal) -> dict[str, D]:
    found: dict[str, D] = {}
    for line in journal.lines:
        found[line.account] = found.get(line.account, D(0)) + line.debit - line.credit
    return found


@pytest.mark.parametrize(("fee", "expected"), [
    ("0", {"117": D("30.00"), "810": D("-30.00")}),
    ("-15.00", {"117": D("45.00"), "810": D("-30.00"), "570": D("-15.00")}),
])  # fmt: skip
def test_a_won_dispute_gives_back_its_amount_and_the_fee_that_the_gateway_returns(fee, expected):
    won = build_dispute(dispute("won", fee), **COMMON)
    assert sides(won) == expected
    assert all((line.debit > 0) != (line.credit > 0) for line in won.lines)
    assert won.external_id == "dsp-stripe-dp_1-won"


def payout(amount: str, *movements: BalanceTransaction, **changes) -> Payout:
    return Payout(
        source=source("payout", "po_1"), currency="GBP", amount=D(amount), arrival_date=DAY, gateway="stripe",
        movements=movements, **changes,
    )  # fmt: skip


def movement(kind: str, amount: str, fee: str = "0", **more) -> BalanceTransaction:
    return BalanceTransaction(
        source=source("txn", f"t{kind}"), kind=kind, currency="GBP", amount=D(amount), fee=D(fee), at=NOW, **more
    )


def test_a_payout_that_failed_is_the_opposite_under_its_own_id_and_keeps_the_fees():
    charge = movement("payment", "100.00", "1.80")
    paid = build_payout(payout("98.20", charge), **COMMON)
    failed = build_payout(payout("98.20", status="failed", failed_at=NOW), **COMMON)
    assert sides(paid) == {"101": D("98.20"), "570": D("1.80"), "117": D("-100.00")}
    assert sides(failed) == {"101": D("-98.20"), "117": D("98.20")}
    assert (paid.external_id, failed.external_id) == ("po-stripe-po_1", "po-stripe-po_1-failed")


def test_fees_and_reserves_that_stand_alone_leave_clearing_too():
    whole = payout("80.00", movement("payment", "100.00"), movement("fee", "-5.00"), movement("reserve", "-15.00"))
    accounts = Accounts(**{**structs.asdict(ACCOUNTS), "reserves": "106"})
    journal = build_payout(whole, **{**COMMON, "accounts": accounts})
    assert sides(journal) == {"101": D("80.00"), "570": D("5.00"), "106": D("15.00"), "117": D("-100.00")}


@pytest.mark.parametrize(("is_automatic", "says"), [
    (False, "was asked for by hand, and the gateway ties no movements to such a payout: its fees aren’t known"),
    (True, "names no movements"),
])  # fmt: skip
def test_a_payout_that_names_no_movements_is_held_unless_it_came_back(is_automatic, says):
    with pytest.raises(Problem) as held:
        build_payout(payout("100.00", is_automatic=is_automatic), **COMMON)
    assert (held.value.code, held.value.summary.partition(f"{DAY:%Y} ")[2]) == ("payout_unexplained", says)
    failed = payout("100.00", is_automatic=is_automatic, status="failed", failed_at=NOW)
    assert sides(build_payout(failed, **COMMON)) == {"101": D("-100.00"), "117": D("100.00")}


@pytest.mark.parametrize(("moved", "says"), [
    (movement("payment", "99.00"), "has movements of 99.00 in all"),
    (movement("payout_minimum_hold", "100.00"), "has movements that nobody carries: payout minimum hold"),
])  # fmt: skip
def test_a_payout_that_its_movements_dont_explain_is_held(moved, says):
    with pytest.raises(Problem) as held:
        build_payout(payout("100.00", moved), **COMMON)
    assert held.value.summary == f"The payout of GBP 100.00 of {DAY:%-d %B %Y} {says}"
    assert (held.value.code, held.value.subject["document"]) == ("payout_unexplained", "po_1")


def test_what_converting_cost_is_a_fee_and_the_clearing_of_both_currencies_is_left():
    accounts = Accounts(**{**structs.asdict(ACCOUNTS), "clearings": {"EUR": "118"}})
    charge = movement(
        "payment", "84.50", "2.75", original_currency="EUR", original_amount=D("100.00"), record_id="pi_1"
    )
    journal = build_payout(payout("81.75", charge), **{**COMMON, "accounts": accounts}, booked={"tpayment": D("86.12")})
    assert sides(journal) == {"101": D("81.75"), "570": D("2.75") + D("1.62"), "118": D("-86.12")}


def test_a_payout_below_zero_is_taken_from_the_bank():
    payout = build_payout(
        Payout(
            source=source("payout", "po_2"),
            currency="GBP",
            amount=D("-10.00"),
            arrival_date=DAY,
            gateway="stripe",
            movements=(movement("refund", "-10.00"),),
        ),
        **COMMON,
    )
    assert {j.account: j.debit - j.credit for j in payout.lines} == {"101": D("-10.00"), "117": D("10.00")}
