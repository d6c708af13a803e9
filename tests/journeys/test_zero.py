"""Documents of 0 that say something reach the ledger; what defers there has dates, and its item's dimensions."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from q2c.transactions.models import BusinessTransaction, PreparedPosting
from tests.journeys.ledger import Ledger

IN_LEDGER = "SELECT l.account, l.amount FROM transactionaccountingline l WHERE l.transaction = ?"
pytestmark = pytest.mark.django_db(transaction=True)


def line(sku: str, amount: int) -> dict:
    return {"amount": amount, "quantity": 1, "description": sku, "metadata": {"sku": sku}}


@pytest.mark.scenario(44, of="invoices of zero")
def test_an_upgrade_of_nothing_in_sum_moves_its_revenue_and_owes_nothing(house):
    customer = house.customer()
    upgraded = [line("QB-API", 10_000), line("QB-CPU-HEATSINK", -10_000)]
    house.make(
        "stripe",
        "invoice",
        [{"customer": customer, "currency": "gbp", "lines": upgraded, "metadata": {"legal_entity": "GB01"}}],
    )
    house.carry(seconds=40)
    assert house.states("invoice_to_erp") == {"completed": 1}, house.standing()
    (made,) = house.made("netsuite", "invoice")
    books = Ledger(house.sandboxes)
    held = books.client.read("invoice", made["id"])
    assert (held["total"], held["subtotal"], [x["amount"] for x in held["item"]["items"]]) == (
        0.0,
        0.0,
        [100.0, -100.0],
    )
    today = held["tranDate"]
    deferring = held["item"]["items"][0]
    assert (deferring["revRecStartDate"], deferring["revRecEndDate"]) == (today, today)
    assert "revRecStartDate" not in held["item"]["items"][1]
    lines = held["item"]["items"]
    named = [(x["item"]["refName"], x["department"]["refName"], x["class"]["refName"]) for x in lines]
    assert named == [("QB-API", "Software", "Software"), ("QB-CPU-HEATSINK", "Hardware", "Hardware")]
    assert books.balances() == {"2200": D("-100.00"), "4100": D("100.00")}
    assert BusinessTransaction.objects.get(flow="invoice_to_erp").amount == 0
    posting = PreparedPosting.objects.get()
    ours = {a: d - c for a, d, c in zip(posting.accounts, posting.debits, posting.credits, strict=True)}
    rows = books.client.query(IN_LEDGER, made["id"])
    assert ours == {row["account"]: D(row["amount"]) for row in rows if D(row["amount"])}
