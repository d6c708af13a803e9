"""A state machine that does what a company, its people and bad luck do, in any order; and a model of the money.

The model counts from what the rules did alone: what billing says is open, paid and given back. Whenever all is at rest
the ERP's own books must say the same, per document and per account (scenario 64).
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from connectors import http
from connectors.models import SyncCursor
from exceptions import releases, resolutions
from exceptions.models import ExceptionCase
from mappings.drafts import Line
from mappings.models import MappingRule
from q2c.core import audit
from q2c.core.models import Person
from q2c.flows import catalog, tasks
from q2c.flows.summaries import start_summaries_now
from q2c.inbox import replay
from q2c.inbox.models import InboundKey
from q2c.transactions import workers
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.emptying import empty_tables
from tests.journeys.billed import Billed, judge_books, judge_documents
from tests.journeys.deaths import bury, carry_and_die, read_points, write_points
from tests.journeys.house import House, forget_everything
from tests.journeys.ledger import Ledger
from tests.journeys.scenes import lineage, unwind, write_off
from tests.journeys.test_holds import this_month
from tests.mappings.rules import START

ROUNDS_MAX = 15
MOVING = ("running", "waiting", "unknown")
PICK = st.integers(min_value=0, max_value=10**6)
POSTABLE, UNMAPPED = "QB-API", "NOT-MAPPED"
WRITES = {"netsuite": "*/record/v1/*", "stripe": "/v1/subscriptions"}  # of the portal alone
CRASHES_IN = ("customer_to_erp", "invoice_to_erp", "credit_memo_to_erp", "payment_to_erp", "application_to_erp",
              "refund_to_erp", "invoice_void_to_erp", "dispute_to_erp", "write_off_to_erp", "unwinding_to_erp",
              "summary_to_erp")  # fmt: skip
DECIDED = ("write_off_to_erp", "unwinding_to_erp")
LIKE = ("POST", "DOT")  # items of other accounts
GERMAN = {"address": {"country": "DE"}, "metadata": {"legal_entity": "DE01"}}
IN_EURO = {"currency": "eur", "metadata": {"legal_entity": "DE01"}}


class Shuffled(RuleBasedStateMachine):
    """One company, from an empty house on."""

    def __init__(self, house: House, lived: Counter[str]) -> None:
        super().__init__()
        self.house, self.lived = house, lived
        self.customers: list[str] = []
        self.german = ""
        self.invoices: list[Billed] = []
        self.accounts: list[str] = []
        self.deals: list[str] = []
        self.is_mapped: set[str] = {POSTABLE}
        self.deaths = self.like = self.amended = 0

    @initialize()
    def open(self) -> None:
        """An empty house with one customer; its German entity posts in summary."""
        self.house.close()
        workers.run_now(http.close_sessions)
        workers.stop_worker()  # whose beat would come between
        empty_tables()
        self.house.open()
        self.open_period()  # one in which nothing was sold ends without
        self.people = {person.username: person for person in Person.objects.all()}
        self.house.post_in_summary("DE01")
        self.customers.append(self.house.customer())

    def teardown(self) -> None:
        """However it ends: at rest the books agree, and doing it all again changes nothing."""
        if self.invoices or self.deals:
            self.settle()
            self.judge()
            self.read_all_again()
            self.lived.update(
                companies=1, invoices=len(self.invoices), paid=sum(bool(i.payment) for i in self.invoices),
                void=sum(i.is_void for i in self.invoices), deals=len(self.deals), deaths=self.deaths,
                disputed=sum(bool(i.dispute) for i in self.invoices), plans=sum(i.plans for i in self.invoices),
                written_off=sum(i.is_given_up for i in self.invoices), amended=self.amended,
                summed_up=sum(i.entity == "DE01" for i in self.invoices),
            )  # fmt: skip

    # What the company does.

    @rule(pick=PICK)
    def create_customer(self, pick: int) -> None:
        self.customers.append(self.house.customer(name=f"Customer {len(self.customers)} {pick} Ltd"))

    @rule(pick=PICK, amount=st.integers(min_value=1_000, max_value=90_000), is_known=st.integers(0, 4))
    def create_invoice(self, pick: int, amount: int, is_known: int) -> None:
        sku = POSTABLE if is_known else f"{UNMAPPED}-{pick % 2}"
        customer = self.customers[pick % len(self.customers)]
        self.invoices.append(Billed(self.house.invoice(customer, sku=sku, amount=amount), sku, amount))

    @rule(amount=st.integers(min_value=1_000, max_value=90_000))
    def create_summed_invoice(self, amount: int) -> None:
        """Of the entity that posts in summary."""
        self.german = self.german or self.house.customer(name="Kunde GmbH", **GERMAN)
        made = self.house.invoice(self.german, amount=amount, **IN_EURO)
        self.invoices.append(Billed(made, POSTABLE, amount, entity="DE01"))

    @rule()
    def sum_up(self) -> None:
        """What waits for its day's summary is summed up; what comes later is a delta."""
        start_summaries_now(lambda day: True)

    @rule(pick=PICK)
    def amend_customer(self, pick: int) -> None:
        self.house.ask_stripe(f"customers/{self.customers[pick % len(self.customers)]}", name=f"Renamed {pick} Ltd")

    def unpaid(self) -> list[Billed]:
        """Invoices that can be posted, and still be paid or credited."""
        return [i for i in self.invoices if i.open > 0 and i.sku in self.is_mapped and not self.is_decided(i)]

    def paid_ones(self) -> list[Billed]:
        """Payments of which something can be given back."""
        return [i for i in self.invoices if i.paid - i.refunded > 100 and not i.is_lost and not self.is_decided(i)]

    def is_decided(self, invoice: Billed) -> bool:
        """Whether what people decided of it is on its way: what is done to it meanwhile would be theirs to decide."""
        on_its_way = BusinessTransaction.objects.filter(flow__in=DECIDED, source_id=invoice.id)
        return on_its_way.exclude(state__in=("completed", "cancelled")).exists()

    @precondition(lambda self: self.unpaid())
    @rule(pick=PICK)
    def pay(self, pick: int) -> None:
        invoice = self.unpaid()[pick % len(self.unpaid())]
        invoice.payment = self.house.pay(invoice.id)

    @precondition(lambda self: self.unpaid())
    @rule(pick=PICK)
    def credit(self, pick: int) -> None:
        invoice = self.unpaid()[pick % len(self.unpaid())]
        amount = min(invoice.open, 100 + pick % 400)
        self.house.credit(invoice.id, amount=amount)
        invoice.credited += amount

    @precondition(lambda self: self.paid_ones())
    @rule(pick=PICK)
    def refund(self, pick: int) -> None:
        invoice = self.paid_ones()[pick % len(self.paid_ones())]
        self.house.refund(invoice.payment, 50 + pick % 50)
        invoice.refunded += 50 + pick % 50

    def voidable(self) -> list[Billed]:
        """Invoices that billing may void: also what people took back for good."""
        return [
            i for i in self.invoices if not i.is_void and (i.open > 0 or i.is_taken_back) and not self.is_decided(i)
        ]

    @precondition(lambda self: self.voidable())
    @rule(pick=PICK, is_posted=st.booleans())
    def void(self, pick: int, is_posted: bool) -> None:
        """Billing voids an invoice, whether or not it was posted; then rather one that was."""
        if is_posted:
            self.carry_what_can()
        found = [i for i in self.voidable() if self.is_quiet(i)] if is_posted else []
        found = found or self.voidable()
        invoice = found[pick % len(found)]
        self.house.void(invoice.id)
        invoice.is_void = True

    @precondition(lambda self: any(i.payment and not i.dispute for i in self.invoices))
    @rule(pick=PICK)
    def dispute(self, pick: int) -> None:
        """The cardholder's bank takes a payment back."""
        paid = [i for i in self.invoices if i.payment and not i.dispute]
        invoice = paid[pick % len(paid)]
        invoice.dispute, invoice.is_lost = self.house.dispute(invoice.payment), True

    @precondition(lambda self: any(i.is_lost for i in self.invoices))
    @rule(pick=PICK, is_won=st.booleans())
    def end_dispute(self, pick: int, is_won: bool) -> None:
        """The bank decides; of one that is lost nobody hears again."""
        argued = [i for i in self.invoices if i.is_lost]
        invoice = argued[pick % len(argued)]
        if is_won:
            self.house.make("stripe", "dispute", [{"id": invoice.dispute, "status": "won"}])
            invoice.is_lost = False

    @rule(pick=PICK)
    def sell(self, pick: int) -> None:
        if not self.accounts or pick % 2:
            number = f"AC-{len(self.deals)}"  # also after a merger no two have one name
            self.accounts.append(self.house.account(Name=f"Account {number}", AccountNumber=number))
        self.deals.append(self.house.win(self.accounts[pick % len(self.accounts)]))

    @precondition(lambda self: self.deals)
    @rule(pick=PICK, quantity=st.integers(min_value=1, max_value=5), price=st.integers(0, 300_000))
    def amend_subscription(self, pick: int, quantity: int, price: int) -> None:
        """What was sold is changed within its period: more or less of it, or at another price, the rest of the period
        charged or given back at once. A price below a pound leaves it as it is."""
        self.carry_what_can()
        found = [d for d in self.subscriptions() if d["status"] == "active"]
        if not found:
            return
        sold = found[pick % len(found)]
        (item,) = sold["items"]["data"]
        changed = {"items[0][id]": item["id"], "items[0][quantity]": quantity}
        if price >= 100:
            fields = {"recurring[interval]": item["price"]["recurring"]["interval"], "unit_amount": price}
            product, currency = item["price"]["product"], item["price"]["currency"]
            new = self.house.ask_stripe("prices", product=product, currency=currency, **fields)
            changed["items[0][price]"] = new["id"]
        self.house.ask_stripe(f"subscriptions/{sold['id']}", proration_behavior="always_invoice", **changed)
        self.amended += 1

    def subscriptions(self) -> list[dict[str, Any]]:
        """What our sales became in billing."""
        found = self.house.sandboxes.control("GET", "stripe/documents/subscription?limit=500")["items"]
        return [d for d in found if d["metadata"].get("order_id") in self.deals]

    @precondition(lambda self: len(self.accounts) > 1)
    @rule(pick=PICK)
    def merge_accounts(self, pick: int) -> None:
        loser = self.accounts.pop(pick % len(self.accounts))
        self.house.make("salesforce", "Account", [{"Id": self.accounts[0], "MergeIds": [loser]}])

    # What people do.

    @rule()
    def close_period(self) -> None:
        self.house.sandboxes.control("POST", "netsuite/account", {"close_period": this_month()})

    @rule()
    def open_period(self) -> None:
        self.house.sandboxes.control("POST", "netsuite/account", {"open_period": this_month()})

    @rule()
    def map(self) -> None:
        """Two people map whatever is held for lack of a mapping."""
        for case in ExceptionCase.objects.filter(kind="missing_item_mapping", state="open"):
            sku = BusinessTransaction.objects.filter(
                pk__in=case.occurrences.filter(closed_at=None).values("transaction_id")
            ).values_list("source_id", flat=True).first()  # fmt: skip
            known = next((i.sku for i in self.invoices if i.id == sku), "")
            if not known:
                continue
            value = MappingRule.objects.filter(kind="item", known_to=None).first()
            assert value is not None
            line = Line(
                kind="item", key=known, value=value.value, effective_from=START, legal_entity="GB01",
                connection="netsuite",
            )  # fmt: skip
            changes = releases.remap_and_repost(case, by=self.people["billing_ops"], reason="a new SKU", line=line)
            releases.decide_change_set(changes, by=self.people["controller"], approve=True)
            self.is_mapped.add(known)

    def quiet_ones(self) -> list[Billed]:
        """Invoices that stand in the ERP by themselves, of which nothing is on its way."""
        self.carry_what_can()
        return [i for i in self.invoices if i.entity == "GB01" and not i.is_void and self.is_quiet(i)]

    def is_quiet(self, invoice: Billed) -> bool:
        """Whether it's posted and nothing that concerns it is on its way."""
        is_posted = BusinessTransaction.objects.filter(
            flow="invoice_to_erp", source_id=invoice.id, state="completed").exists()  # fmt: skip
        left = BusinessTransaction.objects.exclude(state__in=("completed", "cancelled"))
        about = [invoice.id, *filter(None, (invoice.payment, invoice.dispute))]
        return is_posted and not any(each in bytes(t.fact).decode() for t in left for each in about)

    @precondition(lambda self: self.unpaid())
    @rule(pick=PICK)
    def write_off(self, pick: int) -> None:
        """Billing gives an invoice up, and two people agree that it's written off."""
        found = [i for i in self.quiet_ones() if i.open > 0]
        if found:
            invoice = found[pick % len(found)]
            self.house.ask_stripe(f"invoices/{invoice.id}/mark_uncollectible")
            write_off(self.house, invoice.id)
            invoice.is_given_up = True

    @precondition(lambda self: self.invoices)
    @rule(pick=PICK, is_for_good=st.booleans())
    def take_back(self, pick: int, is_for_good: bool) -> None:
        """Two people take an invoice back: for good what is neither paid nor credited, else to post it as today's
        mappings say."""
        found = [
            i for i in self.quiet_ones() if not i.is_given_up and not i.is_taken_back
            and (i.open == i.amount if is_for_good else i.sku == POSTABLE)
        ]  # fmt: skip
        if not found:
            return
        invoice = found[pick % len(found)]
        if not is_for_good:
            self.like += 1
            self.house.map_item(POSTABLE, LIKE[self.like % len(LIKE)])
        unwind(self.house, invoice.id, reposts=not is_for_good)
        invoice.plans, invoice.is_taken_back = invoice.plans + 1, is_for_good

    @rule()
    def repost(self) -> None:
        """Somebody reposts every case that can be."""
        for case in ExceptionCase.objects.filter(closed_at=None):
            try:
                resolutions.repost(case, by=self.people["controller"], reason="tried again")
            except resolutions.ResolutionRefused:
                pass  # one that needs something else

    @rule(pick=PICK)
    def replay(self, pick: int) -> None:
        """A message is read again."""
        keys = list(InboundKey.objects.order_by("pk").values_list("event_id", flat=True))
        if keys:
            replay.replay_event(keys[pick % len(keys)], by=self.people["platform"], reason="again")

    # What happens to the portal.

    @rule()
    def carry(self) -> None:
        """Everything that is due is carried."""
        self.carry_what_can()

    @rule(flow=st.sampled_from(CRASHES_IN), pick=PICK)
    def crash(self, flow: str, pick: int) -> None:
        """A worker dies somewhere in a flow, if there is something for it to carry."""
        points = read_points(catalog.BY_CODE[flow]) + write_points(catalog.BY_CODE[flow])
        self.house.poll()
        self.carry_what_can(without=flow)
        if WorkItem.objects.filter(flow=flow).exists():
            self.deaths += carry_and_die(lambda: tasks.carry(flow, seconds=5), points[pick % len(points)])
            bury()

    @rule(vendor=st.sampled_from(sorted(WRITES)), do=st.sampled_from(["lose_answer", "truncate", "html_200"]))
    def lose_an_answer(self, vendor: str, do: str) -> None:
        self.house.fault(vendor, do, when={"method": "POST", "path": WRITES[vendor], "times": 1})

    @rule()
    def rewind(self) -> None:
        """Every feed is read from its beginning."""
        SyncCursor.objects.all().delete()
        self.house.poll()

    # What must hold.

    def carry_what_can(self, without: str = "") -> None:
        """As `House.carry`, but what can't go on now (a closed period, an answer that was lost) isn't waited for."""
        self.house.carry(without=without, until=lambda: not self.is_moving(without), seconds=20)

    def is_moving(self, without: str) -> bool:
        """Whether anything is due right now."""
        if InboundKey.objects.filter(verdict="received").exists() or self.house.is_sending():
            return True
        due = WorkItem.objects.filter(available_at__lte=timezone.now(), transaction__state__in=MOVING)
        return due.exclude(flow=without).exists()

    def settle(self) -> None:
        """Lift what was closed and planted, and go on until all is done that can be."""
        for vendor in ("netsuite", "stripe"):
            self.house.sandboxes.control("DELETE", f"{vendor}/faults")
        self.open_period()
        for _ in range(ROUNDS_MAX):
            forget_everything()
            self.house.poll()
            self.house.hasten()
            start_summaries_now(lambda day: True)
            self.carry_what_can()
            if self.is_settled():
                return
            self.repost()
        raise AssertionError(f"not at rest after {ROUNDS_MAX} rounds: {self.house.standing()}")

    def is_settled(self) -> bool:
        """Only what lacks a mapping is held, and nothing else is open."""
        left = BusinessTransaction.objects.exclude(state__in=("completed", "cancelled"))
        unmapped = {i.id for i in self.invoices if i.sku not in self.is_mapped}
        waits = [t for t in left if t.problem_code != "missing_item_mapping" and not self.is_behind(t, unmapped)]
        return not waits and not self.house.is_sending()

    def is_behind(self, txn: BusinessTransaction, unmapped: set[str]) -> bool:
        """Whether it waits for an invoice that lacks its mapping, as it should."""
        return txn.state == "waiting" and any(each in bytes(txn.fact).decode() for each in unmapped)

    def judge(self) -> None:
        """Posted is billed, per document and per account, once, and each with its lineage."""
        posted = [i for i in self.invoices if i.sku in self.is_mapped]
        judge_documents(self.house, self.invoices, posted)
        judge_books(self.house, posted, self.billed_by_subscriptions())
        sold = Counter(d["metadata"]["order_id"] for d in self.subscriptions())
        assert {deal: sold[deal] for deal in self.deals} == dict.fromkeys(self.deals, 1)
        assert audit.verify().holds

    def billed_by_subscriptions(self) -> list[dict[str, Any]]:
        """What billing made of sales and their amendments by itself, which nobody pays: an invoice below zero, whose
        sum the customer has in credit, counts as paid there."""
        found = self.house.sandboxes.control("GET", "stripe/documents/invoice?limit=500")["items"]
        known = {i.id for i in self.invoices}
        return [d for d in found if d["id"] not in known and d["status"] in ("open", "paid")]

    def read_all_again(self) -> None:
        """A replay of everything is no-op at the vendors."""
        before = self.what_there_is()
        self.rewind()
        events = list(InboundKey.objects.order_by("pk").values_list("event_id", flat=True))
        for event_id in random.Random(len(events)).sample(events, min(6, len(events))):
            replay.replay_event(event_id, by=self.people["platform"], reason="all again")
        self.settle()
        assert self.what_there_is() == before

    def what_there_is(self) -> dict[str, Any]:
        """Everything that the vendors made, every write that came to them, the books' balances and all lineage."""
        made = {v: sorted((e["document_type"], e["id"]) for e in self.house.made(v)) for v in ("netsuite", "stripe")}
        books = [Ledger(self.house.sandboxes, country).balances() for country in ("GB", "DE")]
        return {**made, "arrived": self.house.count_arrivals(), "books": books, "lineage": lineage()}
