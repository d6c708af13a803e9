"""A write that had nothing to write is none that was made: what is refused behind it is read again whole by a repost,
and goes as people have decided since (docs/decisions/0081)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from django.db.transaction import atomic

from exceptions import releases, resolutions
from exceptions.kind_words import CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import ExceptionCase
from exceptions.resolving import deciding, periods
from mappings.drafts import retirement_of
from mappings.identities import Change, change_of, propose_change
from mappings.models import CrossReference
from mappings.resolve import Snapshot
from q2c.core.models import AccountingPeriod
from q2c.flows import trial
from q2c.flows.reference import refresh_reference
from q2c.portal.decisions import decide
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.steps import Flow, Write
from tests.flows.skippable import skippable
from tests.journeys.scenes import reverse, unwind
from tests.journeys.test_holds import person, this_month
from tests.journeys.vendors.stripe import PLAYER as STRIPE
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)
SKU = "QB-API"


class Refused:
    """A document that is refused after a write of its flow had nothing to write; then people decide otherwise."""

    flow: ClassVar[str]
    skipped: ClassVar[str]  # the write that had nothing to write
    vendor, record = "netsuite", ""  # where what was refused is made at last

    def __init__(self, house: Any) -> None:
        self.house = house

    def begin(self) -> None:
        """Until it's held."""
        raise NotImplementedError

    def decide(self) -> None:
        """People decide otherwise, and it goes on."""
        raise NotImplementedError

    def is_as_decided(self, made: dict[str, Any]) -> bool:
        """Whether what the vendor holds now is as people decided."""
        raise NotImplementedError

    @property
    def held(self) -> BusinessTransaction:
        return BusinessTransaction.objects.get(flow=self.flow, state="held")

    @property
    def case(self) -> ExceptionCase:
        return ExceptionCase.objects.get(occurrences__transaction_id=self.held.pk, occurrences__closed_at=None)

    def made(self) -> list[dict[str, Any]]:
        """What the vendor's own log says that was made of that kind."""
        return self.house.made(self.vendor, self.record)

    def read(self, key: str) -> dict[str, Any]:
        """A document as the vendor holds it."""
        items = self.house.sandboxes.control("GET", f"{self.vendor}/documents/{self.record}?limit=50")["items"]
        return next(each for each in items if str(each["id"]) == key)


class SecondOrder(Refused):
    """The buyer is billed already, so no customer is made; billing refuses the product."""

    flow, skipped, vendor, record = "order_to_subscription", "save_customer", "stripe", "subscription"

    def begin(self):
        house = self.house
        self.account = house.account()
        house.win(self.account)
        house.carry(until=lambda: house.states(self.flow) == {"completed": 1})
        self.gone, self.other = (house.ask_stripe("products", name=name)["id"] for name in ("Gone", "Other"))
        self.rule = make_rule("billing_product", SKU, self.gone, connection="stripe")
        house.ask_stripe(f"products/{self.gone}", active="false")
        house.win(self.account)
        house.carry(until=lambda: house.held() == ["vendor_reference_refused"])

    def decide(self):
        self.remap()
        resolutions.repost(self.case, by=person("controller"), reason="it's sold as another product now")

    def remap(self) -> None:
        """Two people say which product it is from now on."""
        line = replace(retirement_of(self.rule, self.rule.effective_from), act="change", value=self.other)
        change_set = releases.remap_and_repost(self.case, by=person("mapping_admin"), reason="sold anew", line=line)
        (tried,) = trial.try_held([self.held.pk], Snapshot.load([]))
        assert self.rule.pk in dict(tried.rules)  # what would become of it is asked by the rules anew too
        releases.decide_change_set(change_set, by=person("controller"), approve=True)

    def is_as_decided(self, made):
        return {item["price"]["product"] for item in made["items"]["data"]} == {self.other}


def agree(change: Change) -> None:
    """One person proposes what a record is in a system, another agrees."""
    with atomic():
        proposal = propose_change(change, by=person("billing_ops"), why="deleted in billing")
    assert decide(proposal, by=person("controller"), approve=True, why="", seen_hash=proposal.content_hash)


class OrderOfDeletedCustomer(SecondOrder):
    """Billing has deleted its customer; people unlink it, as the case's runbook says, and it's made anew."""

    def begin(self):
        house = self.house
        self.account = house.account()
        house.win(self.account)
        house.carry(until=lambda: house.states(self.flow) == {"completed": 1})
        (self.gone,) = self.made_customers()
        STRIPE.delete(house, f"customers/{self.gone}")
        house.win(self.account)
        house.carry(until=lambda: house.held() == ["vendor_reference_refused"])

    def decide(self):
        agree(change_of(CrossReference.objects.get(external_id=self.gone, connection__code="stripe")))
        resolutions.repost(self.case, by=person("controller"), reason="it's made anew")
        self.house.carry(until=lambda: self.house.held() == ["document_exists"])  # the ERP has it under the old one
        in_erp = CrossReference.objects.get(record_key=f"stripe:customer:{self.gone}", connection__code="netsuite")
        _, anew = self.made_customers()
        agree(Change(record_type="customer", record_key=f"stripe:customer:{anew}", connection="netsuite",
                     external_type=in_erp.external_type, external_id=in_erp.external_id, is_shared=True))  # fmt: skip
        case = ExceptionCase.objects.get(kind="document_exists", closed_at=None)
        resolutions.look_again(case, by=person("controller"), reason="it's that customer of the ERP")

    def made_customers(self) -> list[str]:
        return [entry["id"] for entry in self.house.made("stripe", "customer")]

    def is_as_decided(self, made):
        return [self.gone, made["customer"]] == self.made_customers()


class InAnotherPeriod(Refused):
    """The period closes between the check and the post; people choose the next one that is open."""

    def close_period(self) -> None:
        house = self.house
        house.fault("netsuite", "close_period", when={"method": "POST", "path": f"*/{self.record}", "times": 1},
                    body=this_month())  # fmt: skip
        house.locked.append(this_month())  # opened again whatever comes
        house.carry(until=lambda: house.held() == ["period_closed"])
        refresh_reference("netsuite", ("periods",))
        self.following = AccountingPeriod.objects.filter(
            subsidiary__legal_entity__code="GB01", code__gt=this_month()["period"], is_receivables_open=True
        ).first()

    def decide(self):
        (late,) = periods.late_documents(self.case, person("billing_ops"))
        open_ways = {row.code for row in periods.options_of([late]) if not row.why_not}
        assert {CHOOSE_PERIOD, REOPEN_PERIOD} <= open_ways
        proposal, _ = periods.choose_period(self.case, by=person("billing_ops"), reason="late", option=CHOOSE_PERIOD)
        assert deciding.decide(proposal, by=person("controller"), approve=True)[0] == "approved"

    def is_as_decided(self, made):
        return made["postingPeriod"]["id"] == self.following.external_id


class Void(InAnotherPeriod):
    flow, skipped, record = "invoice_void_to_erp", "release_settlements", "creditMemo"

    def begin(self):
        invoice = self.house.invoice(self.house.customer())
        self.house.carry()
        self.house.void(invoice)
        self.close_period()


class UnwindingOfUnpaid(InAnotherPeriod):
    flow, skipped, record = "unwinding_to_erp", "release_settlements", "creditMemo"

    def begin(self):
        invoice = self.house.invoice(self.house.customer())
        self.house.carry()
        unwind(self.house, invoice, reposts=False, reason="sold by mistake")
        self.close_period()


class ReversalOfDispute(Refused):
    """Nothing was made of the journal by itself. Its date is signed: it's another period's no more than another
    journal's, so the month is opened again."""

    flow, skipped, record = "reversal_to_erp", "reverse_other", "journalEntry"

    def begin(self):
        house = self.house
        payment = house.pay(house.invoice(house.customer(), amount=30_000))
        house.carry(seconds=40)
        house.dispute(payment)
        house.carry(seconds=40)
        self.before = len(self.made())
        reverse("dispute_to_erp", reposts=False)
        house.fault("netsuite", "close_period", when={"method": "POST", "path": "*/journalEntry", "times": 1},
                    body=this_month())  # fmt: skip
        house.locked.append(this_month())
        house.carry(until=lambda: house.held() == ["period_closed"])

    def decide(self):
        (late,) = periods.late_documents(self.case, person("billing_ops"))
        why_not = {row.code: row.why_not for row in periods.options_of([late])}
        assert why_not[CHOOSE_PERIOD].startswith("Its posting date is that of what it’s about")
        assert why_not[REOPEN_PERIOD] == ""
        self.house.sandboxes.control("POST", "netsuite/account", {"open_period": this_month()})
        resolutions.repost(self.case, by=person("controller"), reason="opened again for one day")

    def is_as_decided(self, made):
        return made["externalId"].startswith("rev-")


PLAYED = (SecondOrder, OrderOfDeletedCustomer, Void, UnwindingOfUnpaid, ReversalOfDispute)


def goes_first(flow: Flow, write: Write) -> bool:
    """Whether it may be the last that was done when a later write of its flow is refused: behind one that is always
    made it's kept with that."""
    writes = [step for step in flow.steps if isinstance(step, Write)]
    before = writes[: writes.index(write)]
    return write is not writes[-1] and all((flow, each) in skippable() for each in before)


def test_each_write_that_may_have_nothing_to_write_before_another_is_played():
    wanted = {(flow.code, write.name) for flow, write in skippable() if goes_first(flow, write)}
    assert {(each.flow, each.skipped) for each in PLAYED} == wanted


@pytest.mark.scenario(34, of="a write that had nothing to write")
@pytest.mark.scenario(36, of="a write that had nothing to write")
@pytest.mark.scenario(45, of="a write that had nothing to write")
@pytest.mark.parametrize("played", PLAYED, ids=lambda each: each.__name__)
def test_what_is_refused_behind_a_write_that_had_nothing_to_write_goes_as_people_have_decided_since(house, played):
    play = played(house)
    play.begin()
    txn, before = play.held, len(play.made())
    steps = StepRun.objects.filter(transaction_id=txn.pk)
    assert steps.get(step=play.skipped).used.keys() == {"skipped"}
    then = dict(steps.filter(state="done").values_list("step", "sequence"))
    play.decide()
    house.carry(until=lambda: not house.states(play.flow).keys() & {"running", "waiting", "unknown"}, seconds=60)
    assert (house.held(), BusinessTransaction.objects.get(pk=txn.pk).state) == ([], "completed")
    _, *made = play.made()[before - 1 :] if before else [None, *play.made()]
    assert [play.is_as_decided(play.read(entry["id"])) for entry in made] == [True]
    anew = steps.filter(attempt=2, state="done", supersedes__isnull=False).order_by("-sequence")
    assert dict(anew.values_list("step", "supersedes")) == then  # every one, by its first row of the repost


@pytest.mark.scenario(36, of="a write that had nothing to write")
def test_by_the_mappings_of_then_an_order_of_a_known_customer_is_planned_as_it_was(house):
    play = SecondOrder(house)
    play.begin()
    play.remap()
    txn, made = play.held, len(play.made())
    resolutions.repost(play.case, by=person("controller"), reason="as it was sold", as_then=True)
    house.carry(until=lambda: BusinessTransaction.objects.filter(pk=txn.pk, state="held", attempt=2).exists())
    last = StepRun.objects.filter(transaction_id=txn.pk, step="map_products", state="done").latest("sequence")
    assert (last.attempt, play.gone in bytes(last.output).decode()) == (2, True)
    assert len(play.made()) == made
    resolutions.repost(play.case, by=person("controller"), reason="as it's sold now")
    house.carry(until=lambda: house.held() == [] and len(play.made()) == made + 1)
    assert play.is_as_decided(play.read(play.made()[-1]["id"]))
