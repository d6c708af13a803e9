"""Documents of 0 that say something reach the ledger; what defers there has dates, and its item's dimensions."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from django.test import Client

from exceptions.models import ExceptionCase
from q2c.core.models import Person
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


FREE = {"amount": 0, "quantity": 1, "description": "QB-API", "metadata": {"sku": "QB-API"}}
PRICED = {**FREE, "amount": 5_000, "discount_amounts": [{"amount": 5_000}]}  # wholly discounted
PAID = line("QB-CPU-HEATSINK", 10_000)
SKIPS = {"zero_amount": "skip", "revenue_owner": "billing"}
# Policy, lines, and the amounts of the lines that NetSuite must hold; None where nothing is sent.
DOCUMENTS = {
    "a line of 0 beside another": ({}, [PAID, FREE], [100.0, 0.0]),
    "a line of 0 beside another, skipping": (SKIPS, [PAID, FREE], [100.0, 0.0]),
    "all lines 0": ({}, [FREE, FREE], [0.0, 0.0]),
    "all lines 0, skipping": (SKIPS, [FREE, FREE], None),
    "all lines discounted to 0": ({}, [PRICED], [0.0]),
    "all lines discounted to 0, skipping": (SKIPS, [PRICED], [0.0]),
    "one of them discounted, skipping": (SKIPS, [FREE, PRICED], [0.0, 0.0]),
}


def bill(house, lines, **policy):
    house.set_policy("GB01", **policy)
    given = {"customer": house.customer(), "currency": "gbp", "lines": lines, "metadata": {"legal_entity": "GB01"}}
    house.make("stripe", "invoice", [given])
    house.carry(seconds=40)
    return BusinessTransaction.objects.get(flow="invoice_to_erp")


def page(path):
    client = Client()
    client.force_login(Person.objects.get(username="controller"))
    answer = client.get(path)
    return b"".join(answer).decode("utf-8-sig")


@pytest.mark.scenario(44)
@pytest.mark.parametrize("what", DOCUMENTS)
def test_lines_and_documents_of_0_are_sent_or_skipped_as_the_entitys_policy_says(house, what):
    policy, lines, amounts = DOCUMENTS[what]
    txn = bill(house, lines, **policy)
    made = house.made("netsuite", "invoice")
    if amounts is None:
        assert (txn.state, made, ExceptionCase.objects.count()) == ("cancelled", [], 0)
        return
    assert (txn.state, len(made)) == ("completed", 1), house.standing()
    held = Ledger(house.sandboxes).client.read("invoice", made[0]["id"])
    items = held["item"]["items"]
    assert ([x["amount"] for x in items], held["total"]) == (amounts, sum(amounts))
    today = held["tranDate"]
    deferring = [x for x in items if x["item"]["refName"] == "QB-API"]
    assert [(x["revRecStartDate"], x["revRecEndDate"]) for x in deferring] == [(today, today)] * len(deferring)


@pytest.mark.scenario(44)
def test_what_policy_skips_stands_in_the_report_with_its_amount_its_reason_and_who_answers_for_it(house):
    txn = bill(house, [FREE, FREE], **SKIPS)
    said = f"{txn.number} is a document of 0, which the posting policy of GB01 skips"
    assert (txn.state, txn.amount, txn.waits_for) == ("cancelled", 0, said)
    assert (house.made("netsuite", "invoice"), house.arrived("netsuite", "POST", "*/record/v1/invoice")) == ([], [])
    assert said in page(f"/transactions/{txn.pk}/")
    file = page(f"/reports/ignored/?entity=GB01&period={txn.document_date:%Y-%m}&format=csv")
    (row,) = (row for row in file.splitlines() if txn.number in row)
    assert (said in row, "GBP,0" in row, row.endswith("Controllership")) == (True, True, True), row


@pytest.mark.scenario(44)
@pytest.mark.parametrize("owner", ["erp", "engine"])
def test_skipping_is_refused_where_the_owner_of_revenue_allocates_to_what_is_given_away(house, owner):
    txn = bill(house, [FREE], zero_amount="skip", revenue_owner=owner)
    assert (txn.state, house.held(), house.made("netsuite", "invoice")) == ("held", ["missing_posting_policy"], [])
    (case,) = ExceptionCase.objects.all()
    assert "allocates to documents of 0 too, so they can't be skipped" in case.summary
    assert case.queue == "controllership"
