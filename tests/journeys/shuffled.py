"""A state machine that does what a company, its people and bad luck do, in any order; and a model of the money.

The model counts from what the rules did alone: what billing says is open, paid and given back. Whenever all is at rest
the ERP's own books must say the same, per document and per account (scenario 64).
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
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
from q2c.inbox import replay
from q2c.inbox.models import InboundKey
from q2c.transactions import workers
from q2c.transactions.models import BusinessTransaction, LineageLink, WorkItem
from tests.emptying import empty_tables
from tests.journeys.deaths import bury, carry_and_die, read_points, write_points
from tests.journeys.house import House, forget_everything
from tests.journeys.ledger import CLEARING, RECEIVABLES, Ledger
from tests.journeys.test_holds import this_month
from tests.mappings.rules import START

CENT = Decimal("0.01")
ROUNDS_MAX = 15
MOVING = ("running", "waiting", "unknown")
PICK = st.integers(min_value=0, max_value=10**6)
POSTABLE, UNMAPPED = "QB-API", "NOT-MAPPED"
WRITES = {"netsuite": "*/record/v1/*", "stripe": "/v1/subscriptions"}  # of the portal alone
CRASHES_IN = ("customer_to_erp", "invoice_to_erp", "credit_memo_to_erp", "payment_to_erp", "application_to_erp",
              "refund_to_erp", "invoice_void_to_erp")  # fmt: skip


@dataclass
class Billed:
    """An invoice as billing has it; cents."""

    id: str
    sku: str
    amount: int
    credited: int = 0
    payment: str = ""
    refunded: int = 0
    is_void: bool = False

    @property
    def open(self) -> int:
        """What the customer still owes of it."""
        return 0 if self.is_void or self.payment else self.amount - self.credited

    @property
    def paid(self) -> int:
        """What was paid."""
        return self.amount - self.credited if self.payment else 0


class Shuffled(RuleBasedStateMachine):
    """One company, from an empty house on."""

    def __init__(self, house: House, lived: Counter[str]) -> None:
        super().__init__()
        self.house, self.lived = house, lived
        self.customers: list[str] = []
        self.invoices: list[Billed] = []
        self.accounts: list[str] = []
        self.deals: list[str] = []
        self.is_mapped: set[str] = {POSTABLE}
        self.deaths = 0

    @initialize()
    def open(self) -> None:
        """An empty house with one customer."""
        self.house.close()
        workers.run_now(http.close_sessions)
        workers.stop_worker()  # whose beat would come between
        empty_tables()
        self.house.open()
        self.people = {person.username: person for person in Person.objects.all()}
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

    @rule(pick=PICK)
    def amend_customer(self, pick: int) -> None:
        self.house.ask_stripe(f"customers/{self.customers[pick % len(self.customers)]}", name=f"Renamed {pick} Ltd")

    def unpaid(self) -> list[Billed]:
        """Invoices that can be posted, and still be paid or credited."""
        return [i for i in self.invoices if i.open > 0 and i.sku in self.is_mapped]

    def paid_ones(self) -> list[Billed]:
        """Payments of which something can be given back."""
        return [i for i in self.invoices if i.paid - i.refunded > 100]

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

    @precondition(lambda self: any(i.open > 0 for i in self.invoices))
    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        open_ones = [i for i in self.invoices if i.open > 0]
        invoice = open_ones[pick % len(open_ones)]
        self.house.void(invoice.id)
        invoice.is_void = True

    @rule(pick=PICK)
    def sell(self, pick: int) -> None:
        if not self.accounts or pick % 2:
            number = f"AC-{len(self.accounts)}"
            self.accounts.append(self.house.account(Name=f"Account {number}", AccountNumber=number))
        self.deals.append(self.house.win(self.accounts[pick % len(self.accounts)]))

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
        made = Counter((e["document_type"], e["external_id"]) for e in self.house.made("netsuite"))
        assert {name: n for name, n in made.items() if n > 1} == {}
        erp = {
            d["externalId"]: d
            for d in self.house.sandboxes.control("GET", "netsuite/documents/invoice?limit=500")["items"]
        }
        assert {
            i.id: Decimal(str(erp[f"inv-stripe-{i.id}"]["total"])).quantize(CENT)
            for i in self.invoices if f"inv-stripe-{i.id}" in erp
        } == {
            i.id: Decimal(i.amount).scaleb(-2) for i in self.invoices
            if i in posted and (not i.is_void or f"inv-stripe-{i.id}" in erp)
        }  # fmt: skip
        books = Ledger(self.house.sandboxes)
        items = books.open_items()
        assert {i.id: items.get(f"inv-stripe-{i.id}", Decimal(0)) for i in posted} == {
            i.id: Decimal(i.open).scaleb(-2) for i in posted
        }
        balances = books.balances()
        given_back = sum(i.refunded for i in posted)
        owed = sum(i.open for i in posted) + given_back + self.billed_by_subscriptions()
        assert balances.get(RECEIVABLES, Decimal(0)) == Decimal(owed).scaleb(-2)
        assert balances.get(CLEARING, Decimal(0)) == Decimal(sum(i.paid for i in posted) - given_back).scaleb(-2)
        assert sum(balances.values()) == 0
        known = set(LineageLink.objects.filter(target_system="netsuite").values_list("target_id", flat=True))
        documents = {e["id"] for e in self.house.made("netsuite") if "-stripe-" in (e["external_id"] or "")}
        assert documents - known == set()
        ids = {e["id"] for e in self.house.sandboxes.log("netsuite")}
        assert known - ids == set()
        sold = Counter(
            d["metadata"].get("order_id")
            for d in self.house.sandboxes.control("GET", "stripe/documents/subscription?limit=500")["items"]
        )
        assert {deal: sold[deal] for deal in self.deals} == dict.fromkeys(self.deals, 1)
        assert audit.verify().holds

    def billed_by_subscriptions(self) -> int:
        """What billing made of sales by itself, in cents: as its own invoices say."""
        found = self.house.sandboxes.control("GET", "stripe/documents/invoice?limit=500")["items"]
        known = {i.id for i in self.invoices}
        return sum(d["amount_remaining"] for d in found if d["id"] not in known and d["status"] == "open")

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
        """Everything that the vendors made, and the books' balances."""
        made = {v: sorted((e["document_type"], e["id"]) for e in self.house.made(v)) for v in ("netsuite", "stripe")}
        return {**made, "books": Ledger(self.house.sandboxes).balances()}
