"""What each flow needs on stage before something goes wrong in it. A new flow gets a line in STAGES."""

from __future__ import annotations

from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from connectors.families import Family
from exceptions import cases
from exceptions.kind_words import ACCRUE
from exceptions.models import ExceptionCase
from exceptions.resolving import adjustments, deciding, order_unwinding, periods, reversing, unwinding
from exceptions.writeback import fact_of
from q2c.canonical.base import Source
from q2c.canonical.contract import HoldNote
from q2c.core.models import Person, Proposal
from q2c.core.problems import Category, Problem
from q2c.flows.dispatch import dispatch_facts
from q2c.flows.summaries import start_summaries_now
from q2c.transactions.contributions import open_days
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.house import House
from tests.journeys.scene import EVERY_FLOW, Scene
from tests.journeys.vendors import casts, usual

EARNED_AT_ONCE = "POST"  # an item that defers nothing
WRONG_ITEM = "85123A"


class Customers(Scene):
    def act(self, house, prepared, point):
        house.customer(name=f"Customer of {point}")


class CustomerChanges(Scene):
    """Billing changes customers that the ERP has: each act another one."""

    def prepare(self, house):
        return [house.customer(name=f"Customer {n}") for n in range(8)]

    def act(self, house, prepared, point):
        house.rename(prepared.pop(), f"Changed at {point}")


class CustomerUses(Scene):
    """An entity that hasn't sold to the customer yet bills it in its own currency."""

    def act(self, house, prepared, point):
        customer = house.customer(name=f"Customer of {point}")
        house.invoice(customer, amount=5_000, currency="jpy", entity="JP01")


class Invoices(Scene):
    def act(self, house, prepared, point):
        house.invoice(prepared)


class CreditNotes(Scene):
    def act(self, house, prepared, point):
        house.credit(house.invoice(prepared), amount=1_000, entity="GB01")


class InvoiceVoids(Scene):
    """Where each flow is tried, the invoice took what its customer had to their credit: the void gives it back."""

    prefix = "void-"

    def act(self, house, prepared, point):
        customer = prepared
        if EVERY_FLOW:  # takes seconds
            customer = house.customer()
            house.pay(paid := house.invoice(customer))
            house.credit(paid, amount=1_000)
        invoice = house.invoice(customer)
        house.poll()  # where its webhook is lost too
        house.carry(without="invoice_void_to_erp")
        house.void(invoice)


class CreditVoids(Scene):
    """Posts an invoice in the credit note's place, and moves the credit memo to it."""

    prefix = "void-"

    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        credit = house.credit(invoice, amount=1_000, entity="GB01")
        house.poll()
        house.carry(without="credit_void_to_erp")
        house.void_credit(credit)


class WriteOffs(Scene):
    """Two people give an unpaid invoice up."""

    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        house.poll()
        house.carry(without="write_off_to_erp")
        write_off(house, invoice)


class Unwindings(Scene):
    """Two people take a paid invoice back and post it again: every write of the plan has something to do."""

    prefix = "unw-"
    begins_at = (Family.BILLING, Family.PAYMENTS)

    def act(self, house, prepared, point):
        sku = f"8{BusinessTransaction.objects.filter(flow='invoice_to_erp').count():05}"
        invoice = house.invoice(prepared, sku=sku)
        house.pay(invoice)
        house.poll()
        house.carry(without="unwinding_to_erp")
        house.map_item(sku, "POST")
        unwind(house, invoice)


class Accruals(Scene):
    """Receivables of the month are closed and the ledger isn't: two people accrue an invoice that comes late."""

    prefix = "acc-"

    def prepare(self, house):
        house.lock_receivables()
        return house.customer()

    def act(self, house, prepared, point):
        accrue(house, house.invoice(prepared, sku=EARNED_AT_ONCE))


class Reversals(Accruals):
    """Two people take an accrual back and post it again: every write of the plan has something to do."""

    prefix = "rev-"

    def act(self, house, prepared, point):
        super().act(house, prepared, point)
        house.poll()
        house.carry(without="reversal_to_erp")
        count = BusinessTransaction.objects.filter(flow="accrual_to_erp").count()
        house.map_account("accrued_revenue", ("1050", "1060")[count % 2])
        reverse("accrual_to_erp")


class Paid(Scene):
    begins_at = (Family.BILLING, Family.PAYMENTS)


class Payments(Paid):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))


class Refunds(Paid):
    def act(self, house, prepared, point):
        house.refund(house.pay(house.invoice(prepared)))


class CreditRefunds(Paid):
    """Money given back by a credit note: the refund pays out the credit memo."""

    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        house.pay(invoice)
        house.credit(invoice, amount=1_000, refund_amount=1_000)


class Disputes(Paid):
    def act(self, house, prepared, point):
        house.dispute(house.pay(house.invoice(prepared)))


class Payouts(Paid):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))
        house.payout()


class Summaries(Scene):
    """The UK entity posts in summary: a document waits, and its day is summed up at once."""

    side_by_side = False

    def prepare(self, house):
        house.post_in_summary("GB01")
        return house.customer()

    def act(self, house, prepared, point):
        house.invoice(prepared)
        house.poll()  # where its webhook is lost too
        house.carry(until=lambda: bool(open_days()))
        start_summaries_now(lambda day: True)


class Orders(Scene):
    begins_at = (Family.CRM, Family.BILLING)

    def prepare(self, house):
        account = house.account()
        house.win(account)  # the account's customer is there before anything goes wrong
        house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 1})
        return account

    def act(self, house, prepared, point):
        is_new = "save_customer" in point or "answers" in point
        house.win(house.account(name=f"Account of {point}", number=point[-9:]) if is_new else prepared)


class Statuses(Orders):
    each = 2  # sold and billed


class OrderUnwindings(Orders):
    """Two people take an order back that became a subscription."""

    def act(self, house, prepared, point):
        order = house.win(prepared)
        house.poll()
        house.carry(without="order_unwinding", until=lambda: BusinessTransaction.objects.filter(
            flow="order_to_subscription", source_id=order, state="completed").exists())  # fmt: skip
        unwind_order(order)


class SignedOrders(Scene):
    """An order in which a sale of the CRM was written down."""

    begins_at = (Family.CRM, Family.BILLING)

    def prepare(self, house):
        account = house.account()
        sold = house.win(account)
        house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 1})
        return account, sold

    def act(self, house, prepared, point):
        account, sold = prepared
        house.sign(account, sale=sold)


class HoldNotes(Scene):
    """What is said on an invoice's record, as of one that is held."""

    def act(self, house, prepared, point):
        source = Source(connection=house.cast.billing.code, object_type="invoice", object_id=house.invoice(prepared))
        note = HoldNote(source=source, at=timezone.now(), status="held", message="Held.", link="https://q2c.test/1/")
        with atomic():
            dispatch_facts([fact_of(note)])


def enter(house: House, scene: Scene, prepared: Any, name: str, count: int = 1) -> None:
    """Make facts of the scene's flow and carry everything else, so that they alone are due."""
    lanes = BusinessTransaction.objects.filter(flow=scene.code, state="running").values("lane").distinct()
    for n in range(count):
        scene.act(house, prepared, f"{name} {n}" if count > 1 else name)
    house.carry(without=scene.code, until=lambda: lanes.count() == count)
    house.carry(without=scene.code)


def write_off(house: House, invoice: str, resolution: str = "write_off") -> Proposal:
    """Billing gives an invoice up; one person proposes what to do about it, another agrees."""
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    problem = Problem(
        "uncollectible_proposed", Category.CONFLICT, f"Billing gave up {txn.number}", connection=txn.source_connection,
        document=txn.number, invoice=invoice,
    )  # fmt: skip
    opened = cases.open_case(problem, connection_code=txn.source_connection, number=txn.number)
    case = ExceptionCase.objects.get(pk=opened)
    people = {person.username: person for person in Person.objects.all()}
    proposal, _ = adjustments.adjust(case, by=people["billing_ops"], reason="gone bankrupt", resolution=resolution)
    assert proposal is not None
    deciding.decide(proposal, by=people["controller"], approve=True)
    return proposal


def unwind(house: House, invoice: str, *, reposts: bool = True, reason: str = "booked to the wrong item") -> Proposal:
    """One person proposes to take a posted invoice back, another agrees."""
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    people = {person.username: person for person in Person.objects.all()}
    proposal = unwinding.propose(txn, by=people["billing_ops"], reason=reason, reposts=reposts)
    assert unwinding.decide(proposal, by=people["controller"], approve=True) == "approved"
    return proposal


def reverse(flow: str, *, reposts: bool = True, is_first: bool = False) -> Proposal:
    """One person proposes to take the newest journal of a flow back (or its first), another agrees."""
    rows = BusinessTransaction.objects.filter(flow=flow, state="completed").order_by("pk")
    txn = rows.first() if is_first else rows.last()
    assert txn is not None
    people = {person.username: person for person in Person.objects.all()}
    proposal = reversing.propose(txn, by=people["billing_ops"], reason="booked to the wrong account", reposts=reposts)
    assert reversing.decide(proposal, by=people["controller"], approve=True) == "approved"
    return proposal


def unwind_order(order: str) -> Proposal:
    """One person proposes to take an order back, another agrees."""
    txn = BusinessTransaction.objects.get(flow="order_to_subscription", source_id=order)
    people = {person.username: person for person in Person.objects.all()}
    proposal = order_unwinding.propose(txn, by=people["sales_ops"], reason="the customer withdrew")
    assert order_unwinding.decide(proposal, by=people["controller"], approve=True) == "approved"
    return proposal


def accrue(house: House, invoice: str) -> Proposal:
    """The invoice is held as late; one person proposes to accrue it, another agrees."""
    house.poll()
    late = BusinessTransaction.objects.filter(flow="invoice_to_erp", source_id=invoice, state="held")
    house.carry(without="accrual_to_erp", until=late.exists)
    case = ExceptionCase.objects.get(occurrences__transaction_id=late.get().pk, occurrences__closed_at=None)
    people = {person.username: person for person in Person.objects.all()}
    proposal, _ = periods.choose_period(case, by=people["billing_ops"], reason="came two days late", option=ACCRUE)
    assert proposal is not None
    deciding.decide(proposal, by=people["controller"], approve=True)
    return proposal


def live_a_day(house: House, account: str, *, decides: bool = True) -> None:
    """Something for each flow that a day may bring, carried to its end: sold, billed, paid, lowered, voided, disputed
    and won, summed up (the German entity's books); and where people decide, given up, taken back and posted again."""
    house.post_in_summary("DE01")
    customer = house.customer(name=f"Customer of {account}")
    paid, credited, disputed, voided = (house.invoice(customer, amount=a) for a in (10_000, 20_000, 30_000, 40_000))
    credit = house.credit(credited, amount=5_000)
    house.refund(house.pay(paid), 2_000)
    dispute = house.dispute(house.pay(disputed))
    in_summary = {"currency": "eur", "metadata": {"legal_entity": "DE01"}}
    german = house.customer(name=f"Kunde von {account}", address={"country": "DE"}, metadata=in_summary["metadata"])
    summed, taken_back = (house.invoice(german, amount=a, **in_summary) for a in (50_000, 60_000))
    house.pay(summed)
    house.win(account)
    won = house.states("order_to_subscription").get("completed", 0)
    house.carry(until=lambda: house.states("order_to_subscription").get("completed", 0) > won)
    house.carry(seconds=40)
    for invoice in (voided, taken_back):
        house.void(invoice)
    house.void_credit(credit)
    house.make("stripe", "dispute", [{"id": dispute, "status": "won"}])
    house.carry(seconds=40)
    if decides:
        decide_a_day(house, customer)
    house.payout()
    house.carry(seconds=40)
    while start_summaries_now(lambda day: True):  # and then what waited for what was summed up
        house.carry(seconds=40)
    assert set(house.states()) == {"completed"}, (house.held(), house.standing())


def decide_a_day(house: House, customer: str) -> None:
    """What two people decide of posted invoices: one is given up, a paid one goes to another item, one is taken back
    for good."""
    given_up, wrong, mistaken = (house.invoice(customer, sku=WRONG_ITEM, amount=a) for a in (7_000, 8_000, 9_000))
    house.pay(wrong)
    house.carry(seconds=40)
    house.ask_stripe(f"invoices/{given_up}/mark_uncollectible")
    house.carry(seconds=40)
    write_off(house, given_up)
    house.map_item(WRONG_ITEM, "POST")
    unwind(house, wrong)
    unwind(house, mistaken, reposts=False, reason="sold by mistake")
    house.carry(seconds=40)


def lineage() -> list[tuple[str, ...]]:
    """Every link of lineage, whatever transaction and step told it."""
    fields = ("source_system", "source_type", "source_id", "target_system", "target_type", "target_id", "relation")
    return sorted(LineageLink.objects.values_list(*fields))


def made_by_vendor(house: House) -> dict[str, list[tuple[str, str]]]:
    """Type and id of everything that the vendors' own logs say was made."""
    return {vendor: [(e["document_type"], e["id"]) for e in house.made(vendor)] for vendor in house.vendors}


# Flows whose writes go as those of a flow that is tried each time: killed, paused and unanswered by `make check-all`
# only, which sets Q2C_EVERY_FLOW. A new flow isn't among them, so it's tried each time.
ALIKE = {
    "credit_memo_to_erp": "invoice_to_erp",
    "invoice_void_to_erp": "write_off_to_erp",
    "customer_use_to_erp": "customer_to_erp",
    "payment_to_erp": "invoice_to_erp",
    "refund_to_erp": "accrual_to_erp",
    "dispute_to_erp": "accrual_to_erp",
    "payout_to_erp": "accrual_to_erp",
    "order_to_sale": "status_to_crm",
    "order_unwinding": "order_to_subscription",
    "unwinding_to_erp": "credit_void_to_erp",  # its own journey kills it at each write of one plan
    "reversal_to_erp": "accrual_to_erp",  # its own journeys kill it at each write, of each kind of journal
}
STAGES: dict[str, type[Scene]] = {
    "customer_to_erp": Customers,
    "customer_use_to_erp": CustomerUses,
    "invoice_to_erp": Invoices,
    "credit_memo_to_erp": CreditNotes,
    "invoice_void_to_erp": InvoiceVoids,
    "credit_void_to_erp": CreditVoids,
    "write_off_to_erp": WriteOffs,
    "unwinding_to_erp": Unwindings,
    "accrual_to_erp": Accruals,
    "reversal_to_erp": Reversals,
    "payment_to_erp": Payments,
    "application_to_erp": Payments,
    "refund_to_erp": Refunds,
    "dispute_to_erp": Disputes,
    "payout_to_erp": Payouts,
    "summary_to_erp": Summaries,
    "order_to_subscription": Orders,
    "order_unwinding": OrderUnwindings,
    "order_to_sale": SignedOrders,
    "hold_to_source": HoldNotes,
    "status_to_crm": Statuses,
}
# A flow that writes something else on another stage.
MORE_STAGES: dict[str, type[Scene]] = {
    "customer_to_erp-changed": CustomerChanges,
    "refund_to_erp-credit": CreditRefunds,
}
SCENES = {code: stage(code, usual()) for code, stage in STAGES.items()}  # with the usual cast
MORE_SCENES = {name: stage(name, usual()) for name, stage in MORE_STAGES.items()}


def every_scene(*names: str) -> list[Scene]:
    """Each flow with each cast that fits it, or those that are named."""
    stages = {**STAGES, **MORE_STAGES}
    return [
        stages[name](name, cast)
        for name in (names or STAGES)
        for cast in casts(*stages[name](name, usual()).roles)
    ]  # fmt: skip
