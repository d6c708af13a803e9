"""A posted invoice is taken back by two people, and posted again as today's mappings say, once, whatever happens."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from connectors.models import ReferenceEntry
from exceptions import resolutions
from exceptions.models import ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import order_unwinding, unwinding
from mappings.models import CrossReference
from q2c.core.models import AccountingPeriod, Person
from q2c.flows.order_unwinding import ORDER_UNWINDING
from q2c.flows.tasks import carry
from q2c.flows.unwinding_to_erp import UNWINDING_TO_ERP
from q2c.reconciliation.control_totals import compute_totals
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun
from tests.journeys.deaths import carry_through_deaths, write_points
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.scenes import unwind, unwind_order, write_off
from tests.journeys.test_half_way import REFUSED
from tests.journeys.test_open_amounts import apply_by_hand
from tests.journeys.test_voids import held_by_erp

pytestmark = pytest.mark.django_db(transaction=True)
WRONG, RIGHT = "85123A", "POST"


def people():
    return {person.username: person for person in Person.objects.all()}


def stands_as(source_id):
    return CrossReference.objects.get(record_type="invoice", record_key=f"stripe:invoice:{source_id}").external_id


def made_of(made, document_type):
    return next(external_id for kind, external_id in made if kind == document_type)


def invoice_of(source_id):
    return BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=source_id)


def test_a_wrong_mapping_found_late_is_unwound_and_reposted_in_an_open_and_in_a_closed_period(house):
    customer = house.customer()
    unpaid, paid, late = (house.invoice(customer, sku=WRONG, amount=amount) for amount in (10_000, 20_000, 30_000))
    house.carry()
    house.pay(paid)
    house.pay(late)
    house.carry()
    books = Ledger(house.sandboxes)
    before = books.balances()
    house.map_item(WRONG, RIGHT)
    for invoice in (unpaid, paid):
        unwind(house, invoice)
    house.carry()
    house.lock_receivables()
    unwind(house, late)
    house.carry()
    assert (house.held(), house.states("unwinding_to_erp")) == ([], {"completed": 3})
    after = books.balances()
    moved = {a: after.get(a, 0) - before.get(a, 0) for a in before.keys() | after.keys()}
    wrong, right = (next(a for a, amount in moved.items() if amount == sum_) for sum_ in (600, -600))
    assert {a: amount for a, amount in moved.items() if amount} == {wrong: 600, right: -600}
    assert (wrong[0], right[0]) == ("4", "4")
    assert after[RECEIVABLES] == Decimal(100)
    assert sum(books.open_items().values()) == Decimal(100)
    again = {f"re-stripe-{i}-1": amount for i, amount in ((unpaid, 100), (paid, 0), (late, 0))}
    assert {name: rest for name, _, rest in held_by_erp(house, "invoice") if name in again} == again
    assert all(rest == 0 for name, _, rest in held_by_erp(house, "invoice") if name not in again)
    assert [(n, r) for n, _, r in held_by_erp(house, "creditMemo")] == sorted(
        (f"unw-stripe-{i}-1", Decimal(0)) for i in (unpaid, paid, late)
    )
    made = [e["external_id"] for e in house.made("netsuite", "invoice")]
    assert sorted(made) == sorted([*(f"inv-stripe-{i}" for i in (unpaid, paid, late)), *again])
    assert compute_totals(["stripe"]).agrees
    told = LineageLink.objects.filter(source_id=late).values_list("target_type", "relation")
    assert {("ar_invoice", "became"), ("unwinding", "unwound by"), ("ar_invoice", "reposted as")} <= set(told)
    assert stands_as(late) == LineageLink.objects.get(source_id=late, relation="reposted as").target_id
    assert stands_as(late) != invoice_of(late).target_id


@pytest.mark.crash
@pytest.mark.scenario(4, 5)
def test_a_plan_killed_between_and_within_each_of_its_steps_carries_each_out_once(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.pay(invoice)
    house.carry()
    house.map_item(WRONG, RIGHT)
    unwind(house, invoice)
    carry_through_deaths(house.carry, write_points(UNWINDING_TO_ERP))
    assert (house.held(), house.states("unwinding_to_erp")) == ([], {"completed": 1})
    made = [(e["document_type"], e["external_id"]) for e in house.made("netsuite") if e["document_type"] != "customer"]
    assert sorted(made) == sorted([
        ("invoice", f"inv-stripe-{invoice}"), ("customerPayment", made_of(made, "customerPayment")),
        ("creditMemo", f"unw-stripe-{invoice}-1"), ("invoice", f"re-stripe-{invoice}-1"),
    ])  # fmt: skip
    assert len(house.made("netsuite", "customerPayment", "updated")) == 3  # applied, taken off, applied to the new one
    assert house.arrived_twice() == []
    assert Ledger(house.sandboxes).open_items() == {}
    assert compute_totals(["stripe"]).agrees
    done = StepRun.objects.filter(state="done", kind="write", transaction_id__in=BusinessTransaction.objects.filter(
        flow="unwinding_to_erp").values("pk"))  # fmt: skip
    assert sorted(done.values_list("step", flat=True)) == [
        "post_credit_memo", "post_invoice", "release_settlements", "settle",
    ]  # fmt: skip
    (told,) = LineageLink.objects.filter(relation="settles", target_id=stands_as(invoice))
    assert told.amount == Decimal(100)


def test_a_paid_invoice_isnt_taken_back_for_good_here_but_by_a_credit_note(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.pay(invoice)
    house.carry()
    with pytest.raises(ResolutionRefused, match=r"is paid in billing\. Give a credit note there"):
        unwind(house, invoice, reposts=False, reason="sold by mistake")


def test_billings_void_of_an_invoice_that_was_taken_back_credits_nothing_again(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    unwind(house, invoice, reposts=False, reason="sold by mistake")
    house.carry()
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    with pytest.raises(ResolutionRefused, match="was taken back for good by"):
        unwind(house, invoice)
    house.void(invoice)
    house.carry()
    assert house.states("invoice_void_to_erp") == {"cancelled": 1}
    assert [row[0] for row in held_by_erp(house, "creditMemo")] == [f"unw-stripe-{invoice}-1"]


@pytest.mark.scenario(48, of="unwinding an invoice")
def test_an_invoice_is_credited_and_rebilled_twice_and_stands_once(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.pay(invoice)
    house.carry()
    for like in (RIGHT, "DOT"):
        house.map_item(WRONG, like)
        unwind(house, invoice)
        house.carry()
    assert (house.held(), house.states("unwinding_to_erp")) == ([], {"completed": 2})
    made = [e["external_id"] for e in house.made("netsuite", "invoice")]
    assert made == [f"inv-stripe-{invoice}", f"re-stripe-{invoice}-1", f"re-stripe-{invoice}-2"]
    assert Ledger(house.sandboxes).open_items() == {}
    assert compute_totals(["stripe"]).agrees


def test_a_credit_of_a_reposted_invoice_goes_by_what_it_was_reposted_with(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    before = Ledger(house.sandboxes).balances()
    house.map_item(WRONG, RIGHT)
    unwind(house, invoice)
    house.carry()
    house.credit(invoice, amount=10_000, metadata={"legal_entity": "GB01"})
    house.carry()
    assert house.held() == []
    assert Ledger(house.sandboxes).balances() == {}, before
    assert {rest for _, _, rest in held_by_erp(house, "invoice")} == {Decimal(0)}


def test_a_payment_between_the_proposal_and_the_signature_voids_it_by_name(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.map_item(WRONG, RIGHT)
    who = people()
    proposal = unwinding.propose(invoice_of(invoice), by=who["billing_ops"], reason="wrong item", reposts=True)
    with pytest.raises(ResolutionRefused, match="proposed a plan about it already"):
        unwinding.propose(invoice_of(invoice), by=who["controller"], reason="wrong item", reposts=True)
    house.pay(invoice)
    house.carry()
    assert unwinding.decide(proposal, by=who["controller"], approve=True) == "void"
    assert proposal.void_reason.endswith("moved: what is open of it.")
    assert house.states("unwinding_to_erp") == {}


def refuse_in_erp(house, name):
    """The ERP refuses what is posted under this name, until the fault that it returns is taken away."""
    return house.fault("netsuite", "status", status=400, body=REFUSED, when={"method": "POST", "external_id": name})


def finish(house, *faults):
    """The ERP takes it now, and what is held is reposted."""
    for fault in faults:
        house.sandboxes.control("DELETE", f"netsuite/faults/{fault}")
    for case in ExceptionCase.objects.filter(kind="vendor_refused", closed_at=None):
        resolutions.repost(case, by=people()["controller"], reason="the ERP takes it now")
    house.hasten()
    house.carry(seconds=40)


def test_what_settles_it_in_the_erp_between_the_signature_and_the_work_holds_it_before_anything_is_sent(house):
    """By somebody's hand: our own payment waits for the plan."""
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.map_item(WRONG, RIGHT)
    unwind(house, invoice)
    house.pay(invoice)
    waiting = BusinessTransaction.objects.filter(flow="application_to_erp", state="waiting")
    house.carry(without="unwinding_to_erp", until=waiting.exists)
    assert waiting.get().waits_for.endswith("to be taken back by its plan")
    apply_by_hand(Ledger(house.sandboxes), "100.00")
    carry("unwinding_to_erp", seconds=5)
    assert house.held() == ["plan_moved"]
    assert house.made("netsuite", "creditMemo") == []


@pytest.mark.parametrize("half_way", [False, True], ids=["before its first write", "while it isn't posted again yet"])
def test_a_payment_waits_for_the_plan_and_settles_what_it_posted_again(house, half_way):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.map_item(WRONG, RIGHT)
    fault = refuse_in_erp(house, f"{'re' if half_way else 'unw'}-stripe-{invoice}-1")
    unwind(house, invoice)
    house.carry()
    assert house.held() == ["vendor_refused"]
    assert len(house.made("netsuite", "creditMemo")) == half_way
    house.pay(invoice)
    behind = BusinessTransaction.objects.filter(state="waiting", waits_for__endswith="to be taken back by its plan")
    house.carry(until=behind.exists)
    assert (house.states("application_to_erp"), house.states("payment_to_erp")) == ({"waiting": 1}, {"completed": 1})
    assert house.held() == ["vendor_refused"]
    finish(house, fault)
    assert (house.held(), house.states("application_to_erp")) == ([], {"completed": 1})
    assert Ledger(house.sandboxes).open_items() == {}
    assert RECEIVABLES not in Ledger(house.sandboxes).balances()
    assert {name: rest for name, _, rest in held_by_erp(house, "invoice")} == {
        f"inv-stripe-{invoice}": 0, f"re-stripe-{invoice}-1": 0,
    }  # fmt: skip


def test_what_is_open_while_a_plan_has_taken_its_settlements_off_is_not_written_off(house):
    """Of 100, 40 is credited: 60 may be written off, also once the plan has taken the credit off for a while."""
    invoice, late = (house.invoice(house.customer(), sku=WRONG, amount=10_000) for _ in range(2))
    house.carry()
    for each in (invoice, late):
        house.credit(each, amount=4_000, metadata={"legal_entity": "GB01"})
    house.carry()
    write_off(house, invoice)  # signed before the plan, and carried while that is half-way
    house.map_item(WRONG, RIGHT)
    faults = [refuse_in_erp(house, f"unw-stripe-{each}-1") for each in (invoice, late)]
    for each in (invoice, late):
        unwind(house, each)
    house.carry(without="write_off_to_erp")
    assert house.held() == ["vendor_refused"] * 2
    opened = {name: rest for name, _, rest in held_by_erp(house, "invoice")}
    assert opened == {f"inv-stripe-{each}": Decimal(100) for each in (invoice, late)}
    house.carry(until=lambda: house.states("write_off_to_erp") == {"waiting": 1})
    assert house.states("write_off_to_erp") == {"waiting": 1}
    with pytest.raises(ResolutionRefused, match="is being taken back by a plan"):
        write_off(house, late)
    finish(house, *faults)
    assert (house.held(), house.states("write_off_to_erp")) == ([], {"completed": 1})
    write_off(house, late)
    house.carry()
    written_off = {n: total for n, total, _ in held_by_erp(house, "creditMemo") if n.startswith("wo-")}
    assert written_off == {f"wo-stripe-{each}-1": Decimal(60) for each in (invoice, late)}
    assert Ledger(house.sandboxes).open_items() == {}
    assert RECEIVABLES not in Ledger(house.sandboxes).balances()


def test_a_mapping_that_changes_after_the_signature_holds_it_before_anything_is_sent(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    house.map_item(WRONG, RIGHT)
    unwind(house, invoice)
    house.map_item(WRONG, "QB-API")
    house.carry()
    assert house.held() == ["plan_moved"]
    assert house.made("netsuite", "creditMemo") == []
    client = Client()
    client.force_login(people()["controller"])
    held = BusinessTransaction.objects.get(flow="unwinding_to_erp")
    case = ExceptionCase.objects.get(kind="plan_moved").pk
    pages = (f"/transactions/{invoice_of(invoice).pk}/plans/?look=now", f"/transactions/{held.pk}/",
             f"/exceptions/cases/{case}/", f"/exceptions/cases/{case}/evidence/")  # fmt: skip
    assert {client.get(page).status_code for page in pages} == {200}
    assert "A plan about" in client.get(pages[0]).content.decode()


def test_nothing_is_posted_again_while_the_mapping_says_the_same(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    with pytest.raises(ResolutionRefused, match="nothing would change by posting it again"):
        unwinding.propose(invoice_of(invoice), by=people()["billing_ops"], reason="wrong item", reposts=True)


@pytest.mark.crash
def test_an_order_is_taken_back_after_its_invoice_was_and_its_subscription_is_ended_once(house):
    order = house.win(house.account())
    txn = BusinessTransaction.objects.filter(flow="order_to_subscription", source_id=order)
    house.carry(until=lambda: txn.filter(state="completed").exists())
    house.carry()
    billed = BusinessTransaction.objects.get(flow="invoice_to_erp", state="completed")
    with pytest.raises(ResolutionRefused, match=f"First: Take invoice {billed.number} back"):
        order_unwinding.propose(txn.get(), by=people()["sales_ops"], reason="the customer withdrew")
    shown = order_unwinding.plans_of(people()["controller"], txn.get(), asks=False)
    period = AccountingPeriod.objects.get(subsidiary__legal_entity__code="GB01", code=billed.period_code).name
    (change,) = unwinding.effects_of(shown)
    assert (change.system, change.period, change.currency, change.result) == ("netsuite", period, "GBP", 0)
    codes = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    assert {codes[account]: amount for account, amount in change.net.items()} == {"1100": -2991, "2200": 2991}
    says = f"GBP 2,991.00 (GBP 2,991.00 net, GBP 0.00 tax), in {period}, where it’s posted."
    assert shown.unwind.steps[0].effect.startswith(says)
    unwind(house, billed.source_id, reposts=False, reason="the customer withdrew")
    house.carry()
    unwind_order(order)
    carry_through_deaths(house.carry, write_points(ORDER_UNWINDING))
    assert (house.held(), house.states("order_unwinding")) == ([], {"completed": 1})
    assert len(house.made("stripe", "subscription", "deleted")) == 1
    (told,) = LineageLink.objects.filter(relation="ended")
    assert (told.target_system, told.target_type) == ("stripe", "subscription")
    again = order_unwinding.plans_of(people()["controller"], txn.get(), asks=True)
    assert again.unwind.why_not.endswith("is ended in billing, and nothing of it stands in an ERP.")
    assert unwinding.effects_of(again) == ()
    assert BusinessTransaction.objects.get(flow="order_unwinding").target_id == told.target_id


def test_an_orders_plan_says_what_a_reposted_invoice_changes_and_in_which_open_period(house):
    order = house.win(house.account())
    txn = BusinessTransaction.objects.filter(flow="order_to_subscription", source_id=order)
    house.carry(until=lambda: txn.filter(state="completed").exists())
    house.carry()
    billed = BusinessTransaction.objects.get(flow="invoice_to_erp", state="completed")
    house.map_item("QB-API", RIGHT)
    unwind(house, billed.source_id)
    house.carry()
    house.lock_receivables()
    shown = order_unwinding.plans_of(people()["controller"], txn.get(), asks=False)
    months = AccountingPeriod.objects.filter(subsidiary__legal_entity__code="GB01", code__gte=billed.period_code)
    own, following = months.order_by("start_date")[:2]
    (change,) = unwinding.effects_of(shown)
    codes = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    assert {codes[account]: amount for account, amount in change.net.items()} == {"1100": -2991, "4160": 2991}
    assert (change.period, change.result) == (following.name, -2991)
    assert f"in {following.name}: {own.name}, where it’s posted, is closed" in shown.unwind.steps[0].effect
