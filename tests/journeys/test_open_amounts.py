"""What is open of an invoice in the ERP: less than billing applies waits for what opens more, or is a case."""

from __future__ import annotations

import re
from decimal import Decimal as D

import pytest
from django.test import Client

from exceptions import resolutions
from exceptions.models import Choice, ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import applying, deciding
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person, Proposal
from q2c.reconciliation.documents import month_of
from q2c.reconciliation.flash import flash_of
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.ledger import Ledger
from tests.journeys.scenes import write_off
from tests.journeys.test_voids import held_by_erp

REFUSED = {
    "title": "Bad Request",
    "status": 400,
    "o:errorDetails": [{"detail": "No.", "o:errorCode": "INVALID_CONTENT"}],
}
pytestmark = pytest.mark.django_db(transaction=True)


def people() -> dict[str, Person]:
    return {person.username: person for person in Person.objects.all()}


def credited_voided_and_paid(house) -> str:
    """An invoice of 825.77, lowered by a posted credit note of 2.64 that billing then voids; paid in full."""
    invoice = house.invoice(house.customer(), amount=82_577)
    house.carry()
    credit = house.credit(invoice, amount=264, metadata={"legal_entity": "GB01"})
    house.carry()
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", D("825.77"), D("823.13"))]
    house.void_credit(credit)
    house.pay(invoice)
    return invoice


def applied_by_log(house) -> list[str]:
    """The payments that the ERP's own log says were changed."""
    return [entry["external_id"] for entry in house.made("netsuite", "customerPayment", "updated")]


def on_account(house) -> list[tuple[D, D]]:
    """The ERP's receipts, each with what of it isn't applied."""
    items = house.sandboxes.control("GET", "netsuite/documents/customerPayment?limit=50")["items"]
    return [(D(str(row["total"])), D(str(row["unapplied"]))) for row in items]


def agree_to_what_is_open(invoice: str) -> ExceptionCase:
    """One person proposes to apply what is open, another agrees."""
    case = ExceptionCase.objects.get(kind="open_amount_exceeded")
    (txn,) = applying.applications_of(case, people()["billing_ops"])
    proposal, _ = applying.wish_to_apply(
        case, by=people()["billing_ops"], reason="the rest is refunded", transaction_id=txn.pk
    )
    assert proposal is not None
    with pytest.raises(ApprovalRefused, match="somebody else has to approve"):
        deciding.decide(proposal, by=people()["billing_ops"], approve=True)
    state, (result,) = deciding.decide(proposal, by=people()["controller"], approve=True)
    assert (state, result.is_restarted) == ("approved", True)
    return case


def test_a_payment_that_overtakes_the_void_of_a_credit_note_waits_for_it(house):
    invoice = credited_voided_and_paid(house)
    house.carry(without="credit_void_to_erp")
    assert house.states("application_to_erp") == {"waiting": 1}
    waits_for = BusinessTransaction.objects.get(flow="application_to_erp").waits_for
    assert re.fullmatch(r"the void of \S+ in the ERP, which opens \S+ again", waits_for)
    assert applied_by_log(house) == []
    house.carry()
    assert (house.held(), ExceptionCase.objects.count()) == ([], 0)
    assert house.states("application_to_erp") == {"completed": 1}
    assert (f"inv-stripe-{invoice}", D("825.77"), D(0)) in held_by_erp(house, "invoice")
    assert Ledger(house.sandboxes).open_items() == {}
    assert len(applied_by_log(house)) == 1


@pytest.mark.parametrize("is_by_hand", [False, True], ids=["as it is", "applied by hand already"])
def test_what_exceeds_the_open_amount_is_a_case_and_two_people_apply_what_is_open(house, is_by_hand):
    invoice = credited_voided_and_paid(house)
    house.fault("netsuite", "status", when={"method": "POST", "path": "*/invoice"}, status=400, body=REFUSED)
    house.carry()
    assert house.states("credit_void_to_erp") == {"held": 1}  # and the payment waits for it
    assert house.states("application_to_erp") == {"waiting": 1}
    void = BusinessTransaction.objects.get(flow="credit_void_to_erp")
    resolutions.give_up([void.pk], by=people()["controller"], reason="settled otherwise")
    house.hasten()
    house.carry()
    assert house.held() == ["open_amount_exceeded"]
    txn = BusinessTransaction.objects.get(flow="application_to_erp")
    number = BusinessTransaction.objects.get(flow="invoice_to_erp").number
    said = f"GBP 825.77 is to be applied to {number}, of which 823.13 is open in the ERP"
    assert (txn.problem["summary"], txn.open_intent) == (said, None)
    case = ExceptionCase.objects.get(kind="open_amount_exceeded")
    assert (case.queue, case.subject["document"]) == ("billing_ops", number)
    assert applied_by_log(house) == []
    books = Ledger(house.sandboxes)
    if is_by_hand:
        apply_by_hand(books, "823.13")
    case = agree_to_what_is_open(invoice)
    assert case.notes.filter(text__contains="Apply GBP 823.13 of 825.77 to").exists()
    house.carry()
    assert (house.held(), house.states("application_to_erp")) == ([], {"completed": 1})
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", D("825.77"), D(0))]
    assert on_account(house) == [(D("825.77"), D("2.64"))]
    case.refresh_from_db()
    assert case.state == "resolved"
    assert Choice.objects.get().content == {"amount": "823.13", "open": "823.13"}
    settles = LineageLink.objects.get(relation="settles", transaction_id=txn.pk)
    told = LineageLink.objects.get(relation="paid by", transaction_id=txn.pk)
    assert (settles.amount, told.amount) == (D("823.13"), D("825.77"))  # the fact stays
    assert unapplied() == (1, D("2.64"))


def unapplied() -> tuple[int, D]:
    """How many receipts of the only payment's period settle less than they are, and how much less."""
    payment = BusinessTransaction.objects.get(flow="payment_to_erp")
    flash = flash_of(month_of(payment.legal_entity_code, payment.period_code))
    return next((line.unapplied.count, line.unapplied.gross) for line in flash.lines if line.flow == payment.flow)


def apply_by_hand(books: Ledger, amount: str) -> None:
    """Somebody applies the only payment to the only invoice in the ERP."""
    ids = {
        kind: books.client.query("SELECT id FROM transaction WHERE type = ?", kind)[0]["id"]
        for kind in ("CustInvc", "CustPymt")
    }
    line = {"doc": {"id": ids["CustInvc"]}, "apply": True, "amount": float(amount)}
    path = f"/services/rest/record/v1/customerPayment/{ids['CustPymt']}"
    assert books.client.send("PATCH", path, {"apply": {"items": [line]}}).status_code == 204


def test_a_payment_after_a_write_off_is_a_case_that_says_that_nothing_is_open(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    write_off(house, invoice)
    house.carry()
    house.pay(invoice)
    house.carry()
    assert house.held() == ["open_amount_exceeded"]
    case = ExceptionCase.objects.get(kind="open_amount_exceeded")
    (txn,) = applying.applications_of(case, people()["billing_ops"])
    assert txn.problem["summary"].endswith("of which nothing is open in the ERP")
    with pytest.raises(ResolutionRefused, match=r"Nothing of .* is open in the ERP"):
        applying.wish_to_apply(case, by=people()["billing_ops"], reason="x", transaction_id=txn.pk)
    assert applied_by_log(house) == []


def test_what_was_agreed_holds_only_while_as_much_is_open_as_people_saw(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    write_off(house, invoice)
    house.carry()
    house.pay(invoice)
    house.carry()
    books = Ledger(house.sandboxes)
    (memo,) = books.client.query("SELECT id FROM transaction WHERE type = 'CustCred'")
    (owed,) = books.client.query("SELECT id FROM transaction WHERE type = 'CustInvc'")
    path = f"/services/rest/record/v1/creditMemo/{memo['id']}"

    def leave(amount: float) -> None:
        line = {"doc": {"id": owed["id"]}, "apply": True, "amount": amount}
        assert books.client.send("PATCH", path, {"apply": {"items": [line]}}).status_code == 204

    leave(40.0)
    agree_to_what_is_open(invoice)
    leave(30.0)  # before it's carried, another 10.00 is opened
    house.carry()
    assert house.held() == ["open_amount_exceeded"]
    assert applied_by_log(house) == []
    agree_to_what_is_open(invoice)
    house.carry()
    assert house.held() == []
    assert on_account(house) == [(D(100), D(30))]


def test_a_debt_on_the_balance_is_paid_by_the_invoice_that_collects_it(house):
    customer = house.customer()
    small = house.invoice(customer, amount=29)  # less than can be charged
    invoice = house.invoice(customer, amount=10_000)
    house.pay(invoice)
    house.carry()
    assert (house.held(), house.states("application_to_erp")) == ([], {"completed": 1})
    assert on_account(house) == [(D("100.29"), D(0))]
    assert {row[0]: row[2] for row in held_by_erp(house, "invoice")} == {
        f"inv-stripe-{small}": D(0), f"inv-stripe-{invoice}": D(0)
    }  # fmt: skip
    settles = LineageLink.objects.filter(relation="settles").order_by("sequence").values_list("amount", flat=True)
    assert list(settles) == [D(100), D("0.29")]


def test_a_debt_that_no_invoice_left_is_a_case_and_stays_on_account(house):
    customer = house.customer()
    house.carry()
    house.ask_stripe(f"customers/{customer}/balance_transactions", amount=30, currency="gbp")
    invoice = house.invoice(customer, amount=10_000)
    house.pay(invoice)
    house.carry()
    assert house.held() == ["open_amount_exceeded"]
    case = ExceptionCase.objects.get(kind="open_amount_exceeded")
    (txn,) = applying.applications_of(case, people()["billing_ops"])
    client = Client()
    client.force_login(people()["billing_ops"])
    assert "Propose to apply what is open" in client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    form = {"apply_open-transaction": str(txn.pk), "apply_open-why": "a debt that was given by hand"}
    answer = client.post(f"/exceptions/cases/{case.pk}/apply-open/", form)
    assert (answer.status_code, answer["Location"].startswith("/decisions/")) == (302, True)
    seen = client.get(answer["Location"]).content.decode()
    assert "GBP 0.30 stays on account there" in seen
    proposal = Proposal.objects.get(subject_type="case", subject_id=str(case.pk))
    deciding.decide(proposal, by=people()["controller"], approve=True)
    assert "applies 100.00" in client.get(f"/exceptions/cases/{case.pk}/?state=all").content.decode()
    house.carry()
    assert house.held() == []
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", D(100), D(0))]
    assert on_account(house) == [(D("100.3"), D("0.3"))]
