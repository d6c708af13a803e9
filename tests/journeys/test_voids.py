"""What billing voids: taken back in the ERP when it was posted, never posted when it wasn't (scenario 42)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.models import ReferenceEntry
from connectors.sandbox.remote import ControlDoor
from exceptions.models import ExceptionCase
from q2c.demo.taxes import make_tax_rates
from q2c.reconciliation.documents import month_of
from q2c.reconciliation.flash import flash_of
from q2c.reconciliation.ignored import ignored_of
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.scenes import write_off
from tests.journeys.test_exchange_rates import RATE_AT_PAYMENT, RATE_AT_SALE, agree_on
from tests.journeys.test_taxes import used
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)


def held_by_erp(house, record):
    """NetSuite's documents of a type: external id, total and what of it is open or unapplied."""
    items = house.sandboxes.control("GET", f"netsuite/documents/{record}?limit=50")["items"]
    return sorted((d["externalId"], Decimal(str(d["total"])), Decimal(str(d["amountRemaining"]))) for d in items)


def ends(house, flow):
    return list(BusinessTransaction.objects.filter(flow=flow).order_by("id").values_list("state", "waits_for"))


@pytest.mark.scenario(42, of="voids")
def test_a_posted_invoice_that_is_voided_is_credited_in_full(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.void(invoice)
    house.carry()
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    assert held_by_erp(house, "creditMemo") == [(f"void-stripe-{invoice}", Decimal(100), Decimal(0))]
    assert house.states() == {"completed": 3}
    assert len(house.made("netsuite", "creditMemo")) == 1


@pytest.mark.parametrize("is_posted", [True, False], ids=["posted before", "not posted yet"])
@pytest.mark.parametrize("is_credit", [True, False], ids=["credit note", "invoice"])
def test_a_void_that_billings_clock_dates_before_its_document_is_a_void_all_the_same(house, is_credit, is_posted):
    customer = house.customer()
    invoice = house.invoice(customer, amount=10_000)
    if is_credit or is_posted:
        house.carry()
    credit = house.make("stripe", "credit_note", [{"invoice": invoice, "amount": 3_000}])[0] if is_credit else ""
    if is_posted:
        house.carry()
    house.sandboxes.control("POST", "clock", {"offset_seconds": -120})
    house.void_credit(credit) if is_credit else house.void(invoice)
    house.carry()
    assert house.held() == []
    original, opposite, voided = ("creditMemo", "invoice", credit) if is_credit else ("invoice", "creditMemo", invoice)
    posted = [row for row in held_by_erp(house, original) if row[0].endswith(voided)]
    taken_back = [row for row in held_by_erp(house, opposite) if row[0] == f"void-stripe-{voided}"]
    assert len(taken_back) == len(posted) >= is_posted
    assert BilledDocument.objects.get(external_id=voided, document_type__in=("invoice", "credit_memo")).status == "void"


def test_only_what_is_left_of_an_invoice_is_taken_back_line_by_line(house):
    line = {"quantity": 1, "description": "x"}
    lines = [{**line, "amount": 10_000, "metadata": {"sku": "QB-API"}},
             {**line, "amount": 5_000, "metadata": {"sku": "85123A"}}]  # fmt: skip
    invoice = house.invoice(house.customer(), lines=lines)
    house.make("stripe", "credit_note", [{"invoice": invoice, "amount": 3_000}])
    house.carry()
    house.void(invoice)
    house.carry()
    assert house.held() == []
    assert [row[1:] for row in held_by_erp(house, "creditMemo")] == [
        (Decimal(30), Decimal(0)),
        (Decimal(120), Decimal(0)),
    ]
    assert [row[1:] for row in held_by_erp(house, "invoice")] == [(Decimal(150), Decimal(0))]


@pytest.mark.scenario(42)
def test_an_invoice_voided_while_it_is_held_is_cancelled_and_its_case_closes(house):
    invoice = house.invoice(house.customer(), sku="NO-SUCH-SKU")
    house.carry()
    assert house.held() == ["missing_item_mapping"]
    house.void(invoice)
    house.carry()
    assert ends(house, "invoice_to_erp") == [("cancelled", "billing voided it before it was posted")]
    (void,) = ends(house, "invoice_void_to_erp")
    assert void[0] == "cancelled"
    assert void[1].endswith("was never posted, so there's nothing to take back")
    assert ExceptionCase.objects.filter(closed_at__isnull=True).count() == 0
    assert house.made("netsuite", "invoice") == house.made("netsuite", "creditMemo") == []


@pytest.mark.scenario(42)
def test_an_invoice_voided_before_it_was_looked_at_is_never_posted_nor_its_credit(house):
    customer = house.customer()
    house.carry()
    invoice = house.invoice(customer)
    house.make("stripe", "credit_note", [{"invoice": invoice, "amount": 3_000}])
    house.carry(without="invoice_to_erp",
                until=lambda: house.states("credit_memo_to_erp") == {"waiting": 1})  # fmt: skip
    house.void(invoice)
    house.carry(without="invoice_to_erp",
                until=lambda: house.states("invoice_void_to_erp") == {"waiting": 1})  # fmt: skip
    house.carry()
    assert [state for state, _ in ends(house, "invoice_to_erp")] == ["cancelled"]
    assert [state for state, _ in ends(house, "credit_memo_to_erp")] == ["cancelled"]
    assert [state for state, _ in ends(house, "invoice_void_to_erp")] == ["cancelled"]
    assert house.made("netsuite", "invoice") == house.made("netsuite", "creditMemo") == []


@pytest.mark.scenario(42)
def test_an_invoice_voided_while_its_outcome_is_unknown_is_taken_back_once_it_is_found(house):
    customer = house.customer()
    house.carry()
    house.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice", "times": 1})
    invoice = house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"unknown": 1})
    house.void(invoice)
    house.carry(without="invoice_to_erp", until=lambda: house.states("invoice_void_to_erp") == {"waiting": 1})
    house.hasten()
    house.carry()
    assert house.states() == {"completed": 3}
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    assert held_by_erp(house, "creditMemo") == [(f"void-stripe-{invoice}", Decimal(100), Decimal(0))]


def test_a_voided_credit_note_leaves_its_invoice_open_and_nothing_else(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    credit = house.make("stripe", "credit_note", [{"invoice": invoice, "amount": 3_000}])[0]
    house.carry()
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(70))]
    house.void_credit(credit)
    house.carry()
    assert house.held() == []
    assert held_by_erp(house, "invoice") == [
        (f"inv-stripe-{invoice}", Decimal(100), Decimal(100)),
        (f"void-stripe-{credit}", Decimal(30), Decimal(0)),
    ]
    assert held_by_erp(house, "creditMemo") == [(f"cm-stripe-{credit}", Decimal(30), Decimal(0))]
    assert len(house.made("netsuite", "creditMemo", "updated")) == 1


def test_a_voided_credit_note_is_charged_again_with_its_own_item_tax_code_and_rate(house):
    door = ControlDoor(house.sandboxes.port)
    rates = make_tax_rates(door)
    agree_on(RATE_AT_SALE)
    line = {"amount": 10_000, "quantity": 1, "metadata": {"sku": "QB-API"}, "tax_rates": [rates["gb-vat"]]}
    invoice = house.invoice(house.customer(), lines=[line], currency="eur")
    house.carry()
    books = Ledger(house.sandboxes)
    sold = books.balances()
    assert sold[RECEIVABLES] == Decimal("60.00")
    billed = door.call_stripe("GET", f"/v1/invoices/{invoice}")["lines"]["data"][0]["id"]
    part = {"type": "invoice_line_item", "invoice_line_item": billed, "amount": 5_000}
    credit = house.credit(invoice, lines=[part])
    house.carry()
    assert books.balances() == {account: amount / 2 for account, amount in sold.items()}

    agree_on(RATE_AT_PAYMENT)
    entries = ReferenceEntry.objects.filter(connection__code="netsuite")
    lists = {(row.list_name, row.code): row.external_id for row in entries}
    make_rule("item", "QB-API", lists["items", "ROUNDING"], legal_entity="GB01")
    make_rule("tax_code", rates["gb-vat"], lists["tax_codes", "GB VAT exempt"], legal_entity="GB01")
    house.void_credit(credit)
    house.carry()
    assert house.held() == []
    assert books.balances() == sold  # no gain or loss, and no other account
    assert books.open_items() == {f"inv-stripe-{invoice}": Decimal("120.00")}
    original, again = (
        next(e for e in door.documents("netsuite", "invoice") if e["externalId"] == name)
        for name in (f"inv-stripe-{invoice}", f"void-stripe-{credit}")
    )
    assert used(again) == used(original) == ("QB-API", "GB VAT standard", float(RATE_AT_SALE))
    house.void(invoice)
    house.carry()
    assert (house.held(), books.balances(), books.open_items()) == ([], {}, {})


@pytest.mark.scenario(42)
def test_a_credit_note_voided_before_it_was_posted_is_never_posted(house):
    customer = house.customer()
    house.carry()
    invoice = house.invoice(customer)
    credit = house.make("stripe", "credit_note", [{"invoice": invoice, "amount": 3_000}])[0]
    house.carry(without="credit_memo_to_erp", until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    house.void_credit(credit)
    house.carry(without="credit_memo_to_erp", until=lambda: house.states("credit_void_to_erp") == {"waiting": 1})
    house.carry()
    assert [state for state, _ in ends(house, "credit_memo_to_erp")] == ["cancelled"]
    assert [state for state, _ in ends(house, "credit_void_to_erp")] == ["cancelled"]
    assert house.made("netsuite", "creditMemo") == []
    posted = BusinessTransaction.objects.get(flow="invoice_to_erp")
    left_out = ignored_of(month_of("GB01", posted.period_code))
    assert sorted((row.document_type, row.amount, row.reason) for row in left_out) == [
        ("credit_memo", Decimal(30), "not_needed"), ("credit_void", Decimal(30), "not_needed"),
    ]  # fmt: skip
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(100))]


def test_uncollectible_is_only_a_proposal(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.ask_stripe(f"invoices/{invoice}/mark_uncollectible")
    house.carry()
    (case,) = ExceptionCase.objects.all()
    assert (case.kind, case.queue) == ("uncollectible_proposed", "controllership")
    assert case.legal_entity_code == "GB01"
    assert house.made("netsuite", "creditMemo") == []
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(100))]


def with_credit(house):
    """A customer whose balance holds 40.00 of a posted credit note."""
    customer = house.customer()
    first = house.invoice(customer, amount=10_000)
    house.pay(first)
    house.carry()
    credit = house.make("stripe", "credit_note", [{"invoice": first, "amount": 4_000}])[0]
    house.carry()
    return customer, credit


def unapplied_credit():
    memo = BusinessTransaction.objects.get(flow="credit_memo_to_erp")
    (line,) = (row for row in flash_of(month_of("GB01", memo.period_code)).lines if row.flow == memo.flow)
    return line.unapplied.gross


@pytest.mark.parametrize("left_out", ["", "invoice_void_to_erp", "application_to_erp"])
def test_a_voided_invoice_gives_back_the_balance_that_it_used_and_the_next_one_uses_it(house, left_out):
    customer, credit = with_credit(house)
    voided = house.invoice(customer, amount=10_000)
    house.carry(without=left_out if left_out == "application_to_erp" else "")
    house.void(voided)
    house.carry(without=left_out)
    if not left_out:
        assert unapplied_credit() == Decimal(40)  # the ERP's credit memo settles nothing any more
    following = house.invoice(customer, amount=9_000)
    house.carry(without=left_out)
    if left_out == "invoice_void_to_erp":
        assert house.states("application_to_erp") == {"completed": 2, "waiting": 1}  # until the ERP has released it
    house.carry()
    assert house.held() == []
    open_items = Ledger(house.sandboxes).open_items()
    assert open_items == {f"inv-stripe-{following}": Decimal("50.00")}
    assert (f"void-stripe-{voided}", Decimal(100), Decimal(0)) in held_by_erp(house, "creditMemo")
    assert (f"cm-stripe-{credit}", Decimal(40), Decimal(0)) in held_by_erp(house, "creditMemo")
    changed = [entry["external_id"] for entry in house.made("netsuite", "creditMemo", "updated")]
    assert unapplied_credit() == 0
    released = LineageLink.objects.filter(relation="released from", amount=-40).count()
    if left_out == "application_to_erp":
        assert (changed, released) == ([f"cm-stripe-{credit}"], 0)  # it never came to the voided one
        assert house.states("application_to_erp") == {"completed": 2, "cancelled": 1}
    else:
        assert (changed, released) == ([f"cm-stripe-{credit}"] * 3, 1)  # applied, released, applied
    assert [state for state, _ in ends(house, "invoice_void_to_erp")] == ["completed"]


def test_a_voided_invoice_on_which_a_write_off_stands_is_a_case_that_says_what_is_open(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    write_off(house, invoice)
    house.carry()
    house.void(invoice)
    house.carry()
    assert house.held() == ["open_amount_exceeded"]
    (void,) = BusinessTransaction.objects.filter(flow="invoice_void_to_erp")
    assert void.problem["summary"].startswith("GBP 100.00 is to be taken back of ")
    assert void.problem["summary"].endswith(", of which nothing is open in the ERP")
    assert [row[0] for row in held_by_erp(house, "creditMemo")] == [f"wo-stripe-{invoice}-1"]


def test_an_invoice_voided_before_the_void_of_its_credit_note_was_carried_waits_for_that(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    credit = house.credit(invoice, amount=3_000)
    house.carry()
    house.void_credit(credit)
    house.void(invoice)
    house.carry(without="credit_void_to_erp")
    assert house.states("invoice_void_to_erp") == {"waiting": 1}
    house.carry()
    assert house.held() == []
    assert Ledger(house.sandboxes).open_items() == {}
