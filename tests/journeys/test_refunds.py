"""Money given back: a refund with a credit note pays it out, one without stays a debit, and nothing is left open."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.ledger import BANK, CLEARING, RECEIVABLES, Ledger

pytestmark = pytest.mark.django_db(transaction=True)


def standing(house) -> list[tuple]:
    rows = BusinessTransaction.objects.exclude(state="completed")
    return list(rows.values_list("flow", "state", "held_step", "waits_for", "problem"))


def test_a_refund_pays_out_the_credit_memo_that_it_was_made_for(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.pay(invoice)
    house.carry(seconds=40)
    note = house.credit(invoice, amount=6_000, refund_amount=4_000, credit_amount=2_000)
    house.carry(seconds=40)
    assert standing(house) == []
    assert house.states("application_to_erp") == {"completed": 2}  # the invoice's, and the credit that was given back
    (refund,) = house.made("netsuite", "customerRefund")
    assert house.made("netsuite", "journalEntry") == []
    books = Ledger(house.sandboxes)
    assert books.open_items() == {f"cm-stripe-{note}": D("20.00")}  # what went to the customer's balance
    assert (books.balances()[RECEIVABLES], books.balances()[CLEARING]) == (D("-20.00"), D("60.00"))
    held = books.client.read("customerRefund", refund["id"])
    assert (held["total"], [line["amount"] for line in held["apply"]["items"]]) == (40.0, [40.0])
    hops = LineageLink.objects.filter(relation="given back by").values_list("source_type", "target_type", "amount")
    assert set(hops) == {("credit_note", "refund", D("-40.00")), ("ar_credit_memo", "ar_refund", D("-40.00"))}
    house.payout()
    house.carry(seconds=40)
    ended = books.balances()
    assert (ended[BANK], CLEARING in ended) == (D("56.80"), False)


def test_the_credit_memo_of_a_later_credit_note_settles_the_refund_that_it_names_by_itself(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    refund = house.refund(house.pay(invoice), 4_000)
    house.carry(seconds=40)
    named = [{"refund": refund, "amount_refunded": 4_000}]
    house.credit(invoice, amount=4_000, refunds=named)
    house.carry(seconds=40)
    assert standing(house) == []
    assert [e["external_id"] for e in house.made("netsuite", "journalEntry")] == [f"ref-stripe-{refund}"]
    assert house.made("netsuite", "customerRefund") == []
    books = Ledger(house.sandboxes)
    assert (books.open_items(), RECEIVABLES in books.balances()) == ({}, False)
    hops = LineageLink.objects.filter(relation="given back by").values_list("source_type", "target_type", "amount")
    assert set(hops) == {("credit_note", "refund", D("-40.00")), ("ar_credit_memo", "journal", D("-40.00"))}


def test_a_refund_waits_for_its_credit_memo_and_a_failure_owes_it_again(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.pay(invoice)
    house.carry(seconds=40)
    house.credit(invoice, amount=4_000, refund_amount=4_000)
    refunds = BusinessTransaction.objects.filter(flow="refund_to_erp")
    house.carry(
        without="credit_memo_to_erp", until=lambda: refunds.filter(waits_for__startswith="credit note").exists()
    )
    assert house.made("netsuite", "customerRefund") == []
    house.carry(seconds=40)
    assert standing(house) == []
    books = Ledger(house.sandboxes)
    assert (books.open_items(), RECEIVABLES in books.balances()) == ({}, False)
    house.make("stripe", "refund", [{"id": refunds.get().source_id, "status": "failed"}])
    house.carry(seconds=40)
    assert standing(house) == []
    assert books.balances()[RECEIVABLES] == D("-40.00")
