"""What each flow needs on stage before something goes wrong in it, and what the vendor's log must then hold once."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases
from exceptions.kind_words import ACCRUE
from exceptions.models import ExceptionCase
from exceptions.resolving import adjustments, deciding, order_unwinding, periods, reversing, unwinding
from exceptions.writeback import fact_of
from q2c.canonical.base import Source
from q2c.canonical.contract import HoldNote
from q2c.core.models import Person, Proposal
from q2c.core.problems import Category, Problem
from q2c.flows import catalog
from q2c.flows.dispatch import dispatch_facts
from q2c.flows.summaries import start_summaries_now
from q2c.transactions.contributions import open_days
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.house import House

NETSUITE_RECORDS = "*/record/v1/*"
EVERY_FLOW = os.environ.get("Q2C_EVERY_FLOW") == "1"
EARNED_AT_ONCE = "POST"  # an item that defers nothing
WRONG_ITEM = "85123A"


@dataclass(frozen=True)
class Scene:
    """One flow's stage: prepare once, act per mishap, the vendor's documents to count, and the request of its last
    write."""

    vendor: str
    document_type: str
    effect: str = "created"
    method: str = "POST"
    path: str = NETSUITE_RECORDS
    look: str = NETSUITE_RECORDS  # the path by which a look-up asks; empty where there's nothing to look up
    again: str = ""  # there it's sent again after an answer that nobody heard, and this becomes of it
    refusal: Any = None  # the body of a refusal that isn't the vendor's first guess
    side_by_side: bool = True  # whether several facts can be on their way at once: not those of one lane
    each: int = 1  # how many such writes one fact makes when nothing goes wrong
    prefix: ClassVar[str] = ""  # of the external ids, where another flow writes documents of the same type

    def prepare(self, house: House) -> Any:
        """What every act needs."""
        return house.customer()

    def act(self, house: House, prepared: Any, point: str) -> None:
        """Make one fact of this flow."""
        raise NotImplementedError

    def made(self, house: House) -> list[dict[str, Any]]:
        """What the vendor's own log says that we made, changed or deleted: an entry for each time."""
        found = house.made(self.vendor, self.document_type, self.effect)
        return [e for e in found if self.is_own(e) and not e["path"].startswith("/_control/")]

    def records(self, house: House) -> set[str]:
        """Which records those are."""
        return {e["id"] for e in self.made(house)}

    def arrived(self, house: House) -> Counter[str]:
        """How many such writes came to the vendor's door, by what became of them. One whose sign-in was refused wasn't
        looked at, and comes again."""
        path = self.path
        if path == NETSUITE_RECORDS:
            path = f"*/record/v1/{self.document_type}" + ("" if self.method == "POST" else "/*")
        found = house.arrived(self.vendor, self.method, path)
        return Counter(e["verdict"] for e in found if self.is_own(e) and e["status"] != 401)

    def wanted(self, facts: int = 1, *, unheard: int = 0, refused: int = 0) -> Counter[str]:
        """What arrives of so many facts: each write once, and again where it wasn't carried out (`refused`), or where
        nobody heard that it was and nothing can be looked up (`unheard`)."""
        return Counter(done=self.each * facts, refused=refused) + Counter({self.again: unheard if self.again else 0})

    def logged(self, wanted: Counter[str], facts: int = 1) -> int:
        """How many entries of the vendor's log that makes, of so many facts: what is sent again to a record that was
        made meanwhile changes it, and makes none."""
        return self.each * facts if self.effect == "created" else wanted["done"]

    def is_own(self, entry: dict[str, Any]) -> bool:
        """Whether it's of this flow."""
        return (entry["external_id"] or "").startswith(self.prefix)


class Customers(Scene):
    def act(self, house, prepared, point):
        house.customer(name=f"Customer of {point}")


class CustomerChanges(Scene):
    """Billing changes customers that the ERP has: each act another one."""

    def prepare(self, house):
        return [house.customer(name=f"Customer {n}") for n in range(8)]

    def act(self, house, prepared, point):
        house.ask_stripe(f"customers/{prepared.pop()}", name=f"Changed at {point}")


class CustomerUses(Scene):
    """An entity that hasn't sold to the customer yet bills it in its own currency."""

    def act(self, house, prepared, point):
        customer = house.customer(name=f"Customer of {point}")
        house.invoice(customer, amount=5_000, currency="jpy", metadata={"legal_entity": "JP01"})


class Invoices(Scene):
    def act(self, house, prepared, point):
        house.invoice(prepared)


class CreditNotes(Scene):
    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        house.make(
            "stripe", "credit_note", [{"invoice": invoice, "amount": 1_000, "metadata": {"legal_entity": "GB01"}}]
        )


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
        credit = house.make(
            "stripe", "credit_note", [{"invoice": invoice, "amount": 1_000, "metadata": {"legal_entity": "GB01"}}]
        )[0]
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


class Payments(Scene):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))


class Refunds(Scene):
    def act(self, house, prepared, point):
        house.refund(house.pay(house.invoice(prepared)))


class CreditRefunds(Scene):
    """Money given back by a credit note: the refund pays out the credit memo."""

    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        house.pay(invoice)
        house.credit(invoice, amount=1_000, refund_amount=1_000)


class Disputes(Scene):
    def act(self, house, prepared, point):
        house.dispute(house.pay(house.invoice(prepared)))


class Payouts(Scene):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))
        house.payout()


class Summaries(Scene):
    """The UK entity posts in summary: a document waits, and its day is summed up at once."""

    def prepare(self, house):
        house.post_in_summary("GB01")
        return house.customer()

    def act(self, house, prepared, point):
        house.invoice(prepared)
        house.poll()  # where its webhook is lost too
        house.carry(until=lambda: bool(open_days()))
        start_summaries_now(lambda day: True)


class Orders(Scene):
    def prepare(self, house):
        account = house.account()
        house.win(account)  # the account's customer is there before anything goes wrong
        house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 1})
        return account

    def act(self, house, prepared, point):
        is_new = "save_customer" in point or "answers" in point
        house.win(house.account(Name=f"Account of {point}", AccountNumber=point[-9:]) if is_new else prepared)


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

    def prepare(self, house):
        account = house.account()
        sold = house.win(account)
        house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 1})
        return account, sold

    def act(self, house, prepared, point):
        account, sold = prepared
        house.sign(account, OpportunityId=sold)


class HoldNotes(Scene):
    """What is said on an invoice's record, as of one that is held."""

    def act(self, house, prepared, point):
        source = Source(connection="stripe", object_type="invoice", object_id=house.invoice(prepared))
        note = HoldNote(source=source, at=timezone.now(), status="held", message="Held.", link="https://q2c.test/1/")
        with atomic():
            dispatch_facts([fact_of(note)])


def enter(house: House, code: str, prepared: Any, name: str, count: int = 1, *, scene: Scene | None = None) -> None:
    """Make facts of the flow and carry everything else, so that they alone are due."""
    lanes = BusinessTransaction.objects.filter(flow=code, state="running").values("lane").distinct()
    for n in range(count):
        (scene or SCENES[code]).act(house, prepared, f"{name} {n}" if count > 1 else name)
    house.carry(without=code, until=lambda: lanes.count() == count)
    house.carry(without=code)


def write_off(house: House, invoice: str, resolution: str = "write_off") -> Proposal:
    """Billing gives an invoice up; one person proposes what to do about it, another agrees."""
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    problem = Problem(
        "uncollectible_proposed", Category.CONFLICT, f"Billing gave up {txn.number}", connection="stripe",
        document=txn.number, invoice=invoice,
    )  # fmt: skip
    opened = cases.open_case(problem, connection_code="stripe", number=txn.number)
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
    credit = house.make("stripe", "credit_note", [{"invoice": credited, "amount": 5_000}])[0]
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
    return {v: [(e["document_type"], e["id"]) for e in house.made(v)] for v in ("salesforce", "stripe", "netsuite")}


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
TRIED = [code for code in catalog.BY_CODE if code not in ALIKE or EVERY_FLOW]
# A flow that writes something else on another stage: deaths around that write.
MORE_SCENES: dict[str, Scene] = {
    "customer_to_erp": CustomerChanges("netsuite", "customer", effect="updated", method="PUT", look="", again="done"),
    "refund_to_erp": CreditRefunds("netsuite", "customerRefund"),
}
SCENES: dict[str, Scene] = {
    "customer_to_erp": Customers("netsuite", "customer", method="PUT", look="", again="done"),
    "customer_use_to_erp": CustomerUses("netsuite", "customerSubsidiaryRelationship", method="PUT"),
    "invoice_to_erp": Invoices("netsuite", "invoice"),
    "credit_memo_to_erp": CreditNotes("netsuite", "creditMemo"),
    "invoice_void_to_erp": InvoiceVoids("netsuite", "creditMemo"),
    "credit_void_to_erp": CreditVoids("netsuite", "invoice"),
    "write_off_to_erp": WriteOffs("netsuite", "creditMemo"),
    "unwinding_to_erp": Unwindings("netsuite", "creditMemo"),
    "accrual_to_erp": Accruals("netsuite", "journalEntry"),
    "reversal_to_erp": Reversals("netsuite", "journalEntry"),
    "payment_to_erp": Payments("netsuite", "customerPayment"),
    "application_to_erp": Payments("netsuite", "customerPayment", effect="updated", method="PATCH"),
    "refund_to_erp": Refunds("netsuite", "journalEntry"),
    "dispute_to_erp": Disputes("netsuite", "journalEntry"),
    "payout_to_erp": Payouts("netsuite", "journalEntry"),
    "summary_to_erp": Summaries("netsuite", "journalEntry", side_by_side=False),
    "order_to_subscription": Orders("stripe", "subscription", path="/v1/subscriptions", look="/v1/subscriptions"),
    "order_unwinding": OrderUnwindings(
        "stripe",
        "subscription",
        effect="deleted",
        method="DELETE",
        path="/v1/subscriptions/*",
        look="/v1/subscriptions",
    ),
    "order_to_sale": SignedOrders(
        "salesforce",
        "Order",
        effect="updated",
        method="PATCH",
        path="*/sobjects/Order/*",
        look="",
        again="done",
        refusal=[{"errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Locked by sales", "fields": []}],
    ),
    "hold_to_source": HoldNotes(
        "stripe", "invoice", effect="updated", path="/v1/invoices/in_*", look="", again="replayed"
    ),
    "status_to_crm": Orders(
        "salesforce",
        "Opportunity",
        effect="updated",
        method="PATCH",
        path="*/sobjects/Opportunity/*",
        look="",
        again="done",
        each=2,  # sold and billed
        refusal=[{"errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Locked by sales", "fields": []}],
    ),
}
