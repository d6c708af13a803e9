"""What the ERP booked for cash that the gateway converted: by itself, in a summary, or without saying at what rate."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from msgspec import structs

from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Payout
from q2c.canonical.schema import to_json
from q2c.core.problems import Awaits, Problem
from q2c.flows.payout_to_erp import find_booked, find_summaries, want_booked
from q2c.posting.facts import Book

LONDON = Book(code="GB01", name="GB", country="GB", currency="GBP", time_zone="Europe/London", connection="netsuite",
              erp_id="1")  # fmt: skip
DAY = "GB01-2026-11-20-EUR-0"
SUMMED = {"document_type": "journal", "id": "7", "external_id": DAY}  # as the documents of a summary know it
JOURNAL = SUMMED | {"external_id": f"sum-portal-{DAY}"}
RECEIPT = {"document_type": "receipt", "id": "9", "external_id": "pay-stripe-pi_1"}


def movement(number: int, amount: str, original: str, kind: str = "payment") -> BalanceTransaction:
    return BalanceTransaction(
        source=Source(connection="stripe", object_type="balance_transaction", object_id=f"txn_{number}"), kind=kind,
        currency="GBP", amount=D(amount), fee=D(0), at=dt.datetime(2026, 11, 20, tzinfo=dt.UTC), record_type=kind,
        record_id=f"{kind}_{number}", original_currency="EUR", original_amount=D(original),
    )  # fmt: skip


def payout(*movements: BalanceTransaction) -> Payout:
    return Payout(
        source=Source(connection="stripe", object_type="payout", object_id="po_1"), currency="GBP",
        amount=sum((m.amount for m in movements), D(0)), arrival_date=dt.date(2026, 11, 25), gateway="stripe",
        movements=movements,
    )  # fmt: skip


def booked(document: Payout, given: dict[tuple[str, str, str, str], object]) -> dict[str, D]:
    """As the two steps find it, which know only what they asked for."""
    links = SimpleNamespace(step_gave=lambda *key: to_json(given[key]) if key in given else None)
    summaries = find_summaries(document, links)
    assert {key for kind, key in want_booked(document, summaries) if kind == "given"} >= {
        key for key in given if key[3] != "summary"
    }
    return find_booked(document, LONDON, summaries, links)


def of_payment(receipt: object, summary: object, journal: object = ...) -> dict[tuple[str, str, str, str], object]:
    """What the steps of the payment gave, and those of its summary."""
    given = {("payment_to_erp", "stripe", "payment_1", "receipt"): receipt,
             ("payment_to_erp", "stripe", "payment_1", "summary"): summary}  # fmt: skip
    return given if journal is ... else given | {("summary_to_erp", "portal", DAY, "journal"): journal}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (of_payment({**RECEIPT, "base_amount": "87.058"}, None), "87.06"),
        (of_payment(None, SUMMED, {**JOURNAL, "exchange_rate": "0.87058"}), "87.06"),
    ],
    ids=["by itself", "in a summary"],
)
def test_cash_that_the_gateway_converted_leaves_clearing_at_what_the_erp_booked(given, expected):
    assert booked(payout(movement(1, "80.00", "100.00")), given) == {"txn_1": D(expected)}


REFUND = ("refund_to_erp", "stripe", "refund_1", "ar_refund")
BOTH = (movement(1, "-80.00", "-100.00", "refund"), movement(2, "80.00", "100.00", "refund"))


@pytest.mark.parametrize(
    ("moved", "went", "came_back", "expected"),
    [
        (BOTH, "85.00", "86.00", {"txn_1": D("-85.00"), "txn_2": D("86.00")}),
        (BOTH[:1], "85.00", "86.00", {"txn_1": D("-85.00")}),
        (BOTH[1:], "85.00", "86.00", {"txn_2": D("86.00")}),
        (BOTH, "85.00", None, "the failure of refund refund_1 in the ERP"),
        (BOTH[:1], None, "86.00", "refund refund_1 in the ERP"),
    ],
    ids=["both", "the refund", "its failure", "a failure that isn't in the ledger yet", "nor its refund"],
)
def test_a_refund_and_its_failure_each_leave_clearing_at_what_the_erp_booked_for_it(moved, went, came_back, expected):
    both = (structs.replace(each, record_id="refund_1") for each in moved)
    document = payout(*both)
    given, given_back = (
        {} if amount is None else {REFUND: {**RECEIPT, "base_amount": amount}} for amount in (went, came_back)
    )
    links = SimpleNamespace(
        step_gave=lambda *key: to_json(given[key]) if key in given else None,
        step_gave_back=lambda *key: to_json(given_back[key]) if key in given_back else None,
    )
    assert {kind for kind, _ in want_booked(document, None)} == {
        "given" if each.amount < 0 else "given_back" for each in moved
    }
    if isinstance(expected, str):
        with pytest.raises(Awaits, match=expected):
            find_booked(document, LONDON, None, links)
    else:
        assert find_booked(document, LONDON, None, links) == expected


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (of_payment(RECEIPT, None), "booked that:"),
        (of_payment(None, None), "booked that:"),
        (of_payment(None, SUMMED, JOURNAL), f"booked that in the summary {DAY}:"),
        (of_payment(None, SUMMED, None), f"booked that in the summary {DAY}:"),
        (of_payment(None, SUMMED), f"booked that in the summary {DAY}:"),
    ],
    ids=["a receipt without a rate", "neither", "a summary without a rate", "an empty one", "an unknown one"],
)
def test_a_payout_whose_cash_has_no_known_rate_is_unexplained_and_says_what_to_do(given, where):
    with pytest.raises(Problem) as held:
        booked(payout(movement(1, "80.00", "100.00")), given)
    assert held.value.code == "payout_unexplained"
    assert held.value.summary == (
        "The payout of GBP 80.00 of 25 November 2026 holds a payment of EUR 100.00 that the gateway converted, and the"
        f" ERP doesn't say at what rate it {where} post the payout by a journal"
    )


def test_cash_that_is_not_in_the_ledger_yet_is_waited_for():
    with pytest.raises(Awaits, match="payment payment_1 in the ERP"):
        booked(payout(movement(1, "80.00", "100.00")), {})


def test_the_shares_of_a_summary_are_rounded_as_its_line_is():
    kinds = ["payment"] * 3 + ["refund"]
    moved = [movement(n, "-8" if kind == "refund" else "8", "10.10", kind) for n, kind in enumerate(kinds)]
    given: dict = {("summary_to_erp", "portal", DAY, "journal"): {**JOURNAL, "exchange_rate": "0.8706"}}
    for each in moved:
        flow, gave = {"payment": ("payment_to_erp", "receipt"), "refund": ("refund_to_erp", "ar_refund")}[each.kind]
        given |= {(flow, "stripe", each.record_id, gave): None, (flow, "stripe", each.record_id, "summary"): SUMMED}
    found = booked(payout(*moved), given)
    assert list(found.values()) == [D("8.80"), D("8.79"), D("8.79"), D("-8.79")]  # 30.30 at the rate is 26.38
