"""Cash from the gateway to the bank: exact amounts, whose book, and a clearing account that ends at nothing."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from q2c.core.money import round_money
from q2c.flows.summaries import start_summaries_now
from q2c.reconciliation.documents import month_of
from q2c.reconciliation.flash import flash_of
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.ledger import BANK, CLEARING, CLEARING_CHF, CLEARING_EUR, DISPUTES, FEES, RECEIVABLES, Ledger

ACCOUNT = "SELECT id FROM account WHERE acctnumber = ?"
pytestmark = pytest.mark.django_db(transaction=True)


def why(house) -> list[tuple]:
    rows = BusinessTransaction.objects.exclude(state="completed")
    return list(rows.values_list("flow", "state", "held_step", "waits_for", "problem"))


def journals(house) -> list[str]:
    return [e["external_id"] for e in house.made("netsuite", "journalEntry")]


def test_a_payout_that_the_bank_sends_back_is_a_document_of_its_own(house):
    payment = house.pay(house.invoice(house.customer()))
    payout = house.payout()
    house.carry(seconds=40)
    books = Ledger(house.sandboxes)
    arrived = books.balances()
    assert arrived[BANK] == D("96.80")
    assert CLEARING not in arrived
    house.make("stripe", "payout", [{"id": payout, "status": "failed"}])
    house.carry(seconds=40)
    assert why(house) == []
    assert journals(house) == [f"po-stripe-{payout}", f"po-stripe-{payout}-failed"]
    returned = books.balances()
    assert BANK not in returned
    assert returned[CLEARING] == D("96.80")
    assert returned[FEES] == D("3.20")  # the fee stays
    house.payout()
    house.carry(seconds=40)
    again = books.balances()
    assert (again[BANK], CLEARING in again) == (D("96.80"), False), payment


def test_a_payout_that_never_arrived_is_ignored_with_its_amount(house):
    house.pay(house.invoice(house.customer()))
    house.carry(seconds=40)
    payout = house.make("stripe", "payout", [{"currency": "gbp"}])[0]
    house.make("stripe", "payout", [{"id": payout, "status": "failed"}])
    house.carry(seconds=40)
    assert journals(house) == []


def test_a_payout_asked_for_by_hand_is_held_since_nobody_says_which_fees_it_took(house):
    house.pay(house.invoice(house.customer()))
    house.carry(seconds=40)
    given = {"currency": "gbp", "amount": 9_680, "automatic": False}
    (payout,) = house.make("stripe", "payout", [given])
    house.pass_days(5)
    house.carry(seconds=40)
    (held,) = why(house)
    assert held[:3] == ("payout_to_erp", "held", "build_posting")
    assert (held[4]["code"], held[4]["subject"]["document"]) == ("payout_unexplained", payout)
    assert "was asked for by hand" in held[4]["summary"]
    assert journals(house) == []
    assert BANK not in Ledger(house.sandboxes).balances()


def test_a_lost_dispute_and_a_won_one_leave_clearing_explained(house):
    customer = house.customer()
    lost, won = (house.pay(house.invoice(customer, amount=a)) for a in (30_000, 20_000))
    house.carry(seconds=40)
    house.dispute(lost)
    dispute = house.dispute(won)
    house.carry(seconds=40)
    books = Ledger(house.sandboxes)
    assert books.balances()[DISPUTES] == D("500.00")
    house.make("stripe", "dispute", [{"id": dispute, "status": "won"}])
    house.carry(seconds=40)
    house.payout()
    house.carry(seconds=40)
    assert why(house) == []
    ended = books.balances()
    assert ended[DISPUTES] == D("300.00")
    assert CLEARING not in ended
    # 2.9 % + 0.30 of each charge, and a fee per dispute that the gateway keeps
    assert ended[FEES] == D("9.00") + D("6.10") + 2 * D("15.00")
    assert ended[BANK] == D("200.00") - ended[FEES]


def test_a_refund_that_fails_is_taken_back_by_a_document_of_its_own(house):
    payment = house.pay(house.invoice(house.customer()))
    refund = house.refund(payment, 2_000)
    house.carry(seconds=40)
    house.make("stripe", "refund", [{"id": refund, "status": "failed"}])
    house.carry(seconds=40)
    assert why(house) == []
    assert journals(house) == [f"ref-stripe-{refund}", f"ref-stripe-{refund}-failed"]
    house.payout()
    house.carry(seconds=40)
    ended = Ledger(house.sandboxes).balances()
    assert (ended[BANK], CLEARING in ended) == (D("96.80"), False)
    assert RECEIVABLES not in ended


def test_a_failure_that_overtakes_its_refund_follows_it(house):
    payment = house.pay(house.invoice(house.customer()))
    house.carry(seconds=40)
    house.fault("stripe", "webhook_delay", when={"external_id": '"type": "refund.created"'}, seconds=4)
    refund = house.refund(payment, 2_000)
    house.make("stripe", "refund", [{"id": refund, "status": "failed"}])
    house.carry(seconds=40)
    assert why(house) == []
    assert journals(house) == [f"ref-stripe-{refund}", f"ref-stripe-{refund}-failed"]
    assert BilledDocument.objects.get(external_id=refund).status == "failed"  # also told within one second


def test_cash_stands_in_the_book_of_its_customer_whatever_its_currency(house):
    customer = house.customer()
    invoice = house.invoice(customer, currency="usd")
    payment = house.pay(invoice)
    house.dispute(payment)
    house.carry(seconds=40)
    flows = ("invoice_to_erp", "payment_to_erp", "application_to_erp", "dispute_to_erp")
    found = dict(BusinessTransaction.objects.filter(flow__in=flows).values_list("flow", "legal_entity_code"))
    assert found == dict.fromkeys(flows, "GB01")


def test_cash_in_another_entitys_currency_stays_with_its_seller_through_the_payout(house):
    customer = house.customer(name="Berner AG", address={"country": "DE"}, metadata={"legal_entity": "DE01"})
    payment = house.pay(house.invoice(customer, currency="chf", metadata={"legal_entity": "DE01"}))
    house.carry(seconds=40, without="payment_to_erp")
    house.refund(payment, 2_000)
    house.payout("chf")
    payouts = BusinessTransaction.objects.filter(flow="payout_to_erp", state="waiting")
    house.carry(without="payment_to_erp", until=payouts.exists)  # CHF alone would say CH01
    house.carry(seconds=40)
    assert why(house) == []
    flows = ("payment_to_erp", "application_to_erp", "refund_to_erp", "payout_to_erp")
    found = dict(BusinessTransaction.objects.filter(flow__in=flows).values_list("flow", "legal_entity_code"))
    assert found == dict.fromkeys(flows, "DE01")
    in_francs = Ledger(house.sandboxes, "DE").foreign
    assert (sum(in_francs(CLEARING_CHF).values()), in_francs(CLEARING)) == (D(0), {})


def test_credit_of_the_customers_balance_leaves_nothing_open(house):
    customer = house.customer()
    first = house.invoice(customer, amount=10_000)
    house.pay(first)
    house.carry(seconds=40)
    house.make("stripe", "credit_note", [{"invoice": first, "amount": 4_000}])
    house.pay(house.invoice(customer, amount=9_000))
    house.carry(seconds=40)
    assert why(house) == []
    books = Ledger(house.sandboxes)
    assert books.open_items() == {}
    assert RECEIVABLES not in books.balances()
    assert house.states("application_to_erp") == {"completed": 3}


def test_a_balance_given_by_hand_is_held_until_somebody_settles_it(house):
    customer = house.customer()
    stripe = house.sandboxes.vendor("stripe")
    given = house.sandboxes.session.post(
        f"{stripe['url']}/v1/customers/{customer}/balance_transactions",
        data={"amount": -1_500, "currency": "gbp"},
        headers={"Authorization": f"Bearer {stripe['credentials']['api_key']}"},
        timeout=30,
    )
    assert given.status_code == 200
    house.invoice(customer, amount=9_000)
    house.carry(seconds=40)
    assert house.held() == ["balance_without_document"]


def test_a_journal_of_another_amount_under_our_id_is_not_taken_for_ours(house):
    payment = house.pay(house.invoice(house.customer()))
    house.carry(seconds=40)
    books = Ledger(house.sandboxes)
    house.carry(without="refund_to_erp")
    refund = house.refund(payment, 2_000)
    ids = {number: row["id"] for number in (CLEARING, BANK) for row in books.client.query(ACCOUNT, number)}
    made = house.made("netsuite", "customerPayment")[0]["id"]
    book = books.client.read("customerPayment", made)["subsidiary"]["id"]
    lines = [{"account": {"id": ids[CLEARING]}, "credit": 1.0}, {"account": {"id": ids[BANK]}, "debit": 1.0}]
    stranger = {"externalId": f"ref-stripe-{refund}", "subsidiary": {"id": book}, "line": {"items": lines}}
    books.client.create("journalEntry", stranger)
    house.carry(seconds=40)
    assert house.held() == ["document_exists_differs"]


def test_what_the_gateway_takes_for_converting_is_a_fee_and_clearing_ends_at_nothing(house):
    customer = house.customer()
    house.carry(seconds=40)
    payment = house.make(
        "stripe",
        "payment_intent",
        [
            {
                "customer": customer,
                "amount": 10_000,
                "currency": "eur",
                "settled": {"currency": "gbp", "exchange_rate": "0.80"},
            }
        ],
    )[0]
    house.refund(payment, 2_000)
    house.carry(seconds=40)
    books = Ledger(house.sandboxes)
    booked = books.balances()[CLEARING_EUR]  # 80.00 euro at the ERP's own rate
    assert CLEARING not in books.balances()
    house.payout()
    house.carry(seconds=40)
    assert why(house) == []
    ended = books.balances()
    assert not {CLEARING, CLEARING_EUR} & set(ended)
    assert ended[BANK] == D("80.00") - D("16.00") - D("2.56")
    assert ended[FEES] == D("2.56") + booked - D("64.00")


@pytest.mark.parametrize("status", ["withdrawn", "won"])
def test_a_converted_receipt_that_the_bank_took_back_is_no_unapplied_cash_until_it_comes_back(house, status):
    settled = {"currency": "gbp", "exchange_rate": "0.80"}
    given = {"customer": house.customer(), "amount": 10_000, "currency": "eur", "settled": settled}
    (payment,) = house.make("stripe", "payment_intent", [given])
    house.carry(seconds=40)
    dispute = house.dispute(payment)
    if status == "won":
        house.carry(seconds=40)
        house.make("stripe", "dispute", [{"id": dispute, "status": "won"}])
    house.carry(seconds=40)
    assert why(house) == []
    ours = BusinessTransaction.objects.filter(flow="dispute_to_erp").order_by("lane_sequence")
    assert list(ours.values_list("currency", "amount")) == [("GBP", D(80))] * (2 if status == "won" else 1)
    hops = LineageLink.objects.filter(source_id=payment, target_type="dispute", transaction_id=ours.last().pk)
    sign = 1 if status == "won" else -1
    relation = "dispute won" if status == "won" else "disputed by"
    # the payout isn't there yet: only the dispute's own hop
    assert list(hops.values_list("relation", "currency", "amount")) == [(relation, "EUR", sign * D(100))]
    receipt = BusinessTransaction.objects.get(flow="payment_to_erp")
    found = flash_of(month_of("GB01", receipt.period_code)).lines
    (line,) = (row for row in found if (row.flow, row.currency) == ("payment_to_erp", "EUR"))
    assert line.unapplied.gross == (D(100) if status == "won" else 0)


def test_a_payout_of_converted_cash_takes_its_share_of_the_summary_in_which_the_receipts_stand(house):
    house.post_in_summary("GB01")
    customer = house.customer()
    house.carry(seconds=40)
    settled = {"customer": customer, "amount": 10_000, "currency": "eur"}
    settled["settled"] = {"currency": "gbp", "exchange_rate": "0.80"}
    payment, *_ = house.make("stripe", "payment_intent", [settled, *({**settled, "amount": 1_010},) * 5])
    house.refund(payment, 2_000)
    house.carry(seconds=40)
    payout = house.payout()
    house.carry(seconds=40, until=lambda: house.states("payout_to_erp") == {"waiting": 1})
    start_summaries_now(lambda day: True)
    house.carry(seconds=40)
    assert why(house) == []
    assert [len(house.made("netsuite", kind)) for kind in ("customerPayment", "customerRefund")] == [0, 0]
    assert sorted(journals(house))[0] == f"po-stripe-{payout}"
    books = Ledger(house.sandboxes)
    (summed,) = (e for e in house.made("netsuite", "journalEntry") if e["external_id"].startswith("sum-"))
    rate = D(str(books.client.read("journalEntry", summed["id"])["exchangeRate"]))
    ended = books.balances()
    assert not {CLEARING, CLEARING_EUR} & set(ended)
    fees = D("2.56") + 5 * D("0.47")
    paid_out = D("80.00") + 5 * D("8.08") - D("16.00")
    assert ended[BANK] == paid_out - fees
    in_ledger = round_money(D("150.50") * rate, "GBP") - round_money(20 * rate, "GBP")  # not the sum of rounded cash
    assert ended[FEES] == fees + in_ledger - paid_out
