"""Every document that billing and payments send becomes its AR document, once, to the cent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from q2c.transactions.models import BusinessTransaction, LineageLink, PreparedPosting

pytestmark = pytest.mark.django_db(transaction=True)


def why(house) -> list[tuple]:
    rows = BusinessTransaction.objects.exclude(state="completed")
    return list(rows.values_list("flow", "state", "held_step", "waits_for", "problem"))


def test_invoice_payment_credit_refund_dispute_and_payout(house):
    customer = house.customer()
    paid, credited, disputed = (house.invoice(customer, amount=a) for a in (10_000, 20_000, 30_000))
    house.make("stripe", "credit_note", [{"invoice": credited, "amount": 5_000}])
    house.refund(house.pay(paid), 2_000)
    house.dispute(house.pay(disputed))
    house.carry(seconds=40)
    house.payout()
    house.carry(seconds=40, until=lambda: bool(house.states("payout_to_erp")))
    house.carry(seconds=40)
    assert why(house) == []
    made = {
        t: len(house.made("netsuite", t))
        for t in ("customer", "invoice", "creditMemo", "customerPayment", "journalEntry")
    }
    assert made == {"customer": 1, "invoice": 3, "creditMemo": 1, "customerPayment": 2, "journalEntry": 3}
    by_flow = {
        f: s
        for f in ("application_to_erp", "refund_to_erp", "dispute_to_erp", "payout_to_erp")
        if (s := house.states(f))
    }
    assert by_flow == {
        "application_to_erp": {"completed": 2}, "refund_to_erp": {"completed": 1}, "dispute_to_erp": {"completed": 1},
        "payout_to_erp": {"completed": 1},
    }  # fmt: skip
    clearing = Decimal(0)
    for posting in PreparedPosting.objects.all():
        for account, debit, credit in zip(posting.accounts, posting.debits, posting.credits, strict=True):
            if (
                account
                == PreparedPosting.objects.get(
                    external_id__startswith="pay-", legal_entity_code="GB01", debits__0=100
                ).accounts[0]
            ):
                clearing += debit - credit
    assert clearing == 0
    assert LineageLink.objects.filter(relation="settles").count() == 2
    payments = set(LineageLink.objects.filter(source_type="payment", relation="became").values_list("source_id"))
    assert set(LineageLink.objects.filter(relation="paid out by").values_list("source_id")) > payments
