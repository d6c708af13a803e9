"""All that can happen to one invoice at once, and documents below zero: the ERP's own books stay exact."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal as D

import pytest
import requests

from tests.journeys.ledger import BANK, CLEARING, DISPUTES, FEES, RECEIVABLES, Ledger

pytestmark = pytest.mark.django_db(transaction=True)


def standing(house):
    return house.standing() + house.held()


@pytest.mark.scenario(41, of="all that gives an invoice’s money back")
def test_a_credit_a_refund_and_a_chargeback_of_one_invoice_each_stand_once_and_no_more_is_given_back(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    payment = house.pay(invoice)
    house.carry(seconds=40)
    house.credit(invoice, amount=3_000, refund_amount=3_000)
    house.refund(payment, 2_000)
    house.carry(seconds=40)
    before = Counter(entry["document_type"] for entry in house.made("netsuite"))
    with pytest.raises(requests.HTTPError, match="400"):
        house.refund(payment, 5_001)  # 50.00 are left
    house.carry(seconds=40)
    assert Counter(entry["document_type"] for entry in house.made("netsuite")) == before
    house.dispute(payment)
    house.carry(seconds=40)
    assert standing(house) == []
    made = Counter(entry["document_type"] for entry in house.made("netsuite"))
    assert made == {
        "customer": 1, "invoice": 1, "customerPayment": 1, "creditMemo": 1, "customerRefund": 1,
        "journalEntry": 2,  # the refund without a credit note, and the chargeback
    }  # fmt: skip
    books = Ledger(house.sandboxes)
    ended = books.balances()
    assert (ended[RECEIVABLES], ended[DISPUTES]) == (D("20.00"), D("100.00"))  # what no credit note stands for
    left = D("100.00") - D("30.00") - D("20.00") - D("100.00")
    assert (ended[CLEARING], ended[FEES]) == (left - D("15.00"), D("15.00"))  # the chargeback's fee; others come later
    assert {name: rest for name, rest in books.open_items().items() if name.startswith(("inv", "cm"))} == {}
    house.pay(house.invoice(house.customer(name="Wingtip"), amount=20_000))  # there's something to pay out again
    house.carry(seconds=40)
    house.payout()
    house.carry(seconds=40)
    assert standing(house) == []
    paid = books.balances()
    assert (CLEARING in paid, paid[FEES]) == (False, D("3.20") + D("6.10") + D("15.00"))
    assert paid[BANK] == D("200.00") + left - paid[FEES]


@pytest.mark.scenario(43, of="credits below zero")
def test_what_is_below_zero_at_the_source_is_a_credit_in_the_erp_and_no_total_there_is_negative(house):
    customer = house.customer()
    first = house.invoice(customer, amount=10_000)
    below = house.invoice(customer, amount=-4_000)
    house.carry(seconds=40)
    house.credit(first, amount=2_500)
    house.pay(first)
    house.carry(seconds=40)
    house.credit(first, amount=7_500, credit_amount=7_500)  # the whole invoice, though it's paid
    house.carry(seconds=40)
    assert standing(house) == []
    books = Ledger(house.sandboxes)
    totals = {}
    for kind in ("invoice", "creditMemo"):
        for made in house.made("netsuite", kind):
            totals[made["external_id"]] = (kind, D(str(books.client.read(kind, made["id"])["total"])))
    assert all(total > 0 for _kind, total in totals.values()), totals
    assert totals[f"inv-stripe-{first}"] == ("invoice", D(100))
    credits = {name: total for name, (kind, total) in totals.items() if kind == "creditMemo"}
    assert [total for name, total in credits.items() if below in name] == [D(40)]
    assert sorted(credits.values()) == [D(25), D(40), D(75)]
    # What was paid and then credited is owed to the customer, with the 40.00 from below zero.
    assert books.balances()[RECEIVABLES] == D("-40.00") - D("75.00")
