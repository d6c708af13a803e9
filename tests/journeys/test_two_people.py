"""Two people agree before the books change: the rules that the company opens with, and a posting above the limit."""

from __future__ import annotations

import datetime as dt

import pytest

from exceptions.models import ExceptionCase
from exceptions.resolutions import propose_overrides, repost
from mappings.models import ChangeSet, MappingRule
from q2c.core import audit
from q2c.core.models import AuditEntry, Person, Proposal
from q2c.flows.tasks import carry
from q2c.portal import decisions
from q2c.transactions.models import BusinessTransaction, StepRun

pytestmark = pytest.mark.django_db(transaction=True)
OVER_THE_LIMIT = 30_000_000  # US$ 300,000 in cents; US01's policy asks from 250,000


def bill(house) -> BusinessTransaction:
    """A US invoice above the limit, carried as far as it goes."""
    customer = house.customer(address={"country": "US", "city": "Reno"}, metadata={"legal_entity": "US01"})
    house.invoice(customer, amount=OVER_THE_LIMIT, currency="usd", metadata={"legal_entity": "US01"})
    house.carry(until=lambda: house.held() or Proposal.objects.filter(kind="posting").exists())
    return BusinessTransaction.objects.get(flow="invoice_to_erp")


@pytest.fixture
def moving_erp(house):
    """An ERP that has closed this month, which we don't know yet, and silently takes the next one."""
    account = {"period": f"{dt.datetime.now(dt.UTC):%Y-%m}"}
    house.sandboxes.control("POST", "netsuite/account", {"move_period": True, "close_period": account})
    yield
    house.sandboxes.control("POST", "netsuite/account", {"move_period": False, "open_period": account})


def decide(by: str, *, approve: bool, why: str = "", kind: str = "posting") -> str:
    """Sign what waits."""
    proposal = Proposal.objects.get(kind=kind, state="proposed")
    person = Person.objects.get(username=by)
    return decisions.decide(proposal, by=person, approve=approve, why=why, seen_hash=proposal.content_hash)


def told(subject_type: str, subject_id: object) -> list[tuple[str, str]]:
    """Who did what to it, by the audit chain."""
    rows = AuditEntry.objects.filter(subject_type=subject_type, subject_id=str(subject_id))
    return list(rows.order_by("sequence").values_list("actor", "verb"))


def test_the_opening_rules_were_proposed_by_one_person_and_approved_by_two_others(house):
    opening = ChangeSet.objects.get()
    assert (opening.number, opening.state, opening.proposal.state) == (1, "approved", "approved")
    assert told("change_set", opening.pk) == [
        ("billing_ops", "propose"),
        ("mapping_admin", "approve"),  # where payouts go takes two, one of them of controllership
        ("controller", "approve"),
        ("controller", "activate"),
    ]
    assert len(opening.proposal.content["rows"]) == MappingRule.objects.count() > 100
    assert audit.verify().holds


def test_a_posting_above_the_limit_waits_for_a_person_who_is_bound_to_its_content(house):
    txn = bill(house)
    assert (txn.state, house.made("netsuite", "invoice")) == ("waiting", [])
    proposal = Proposal.objects.get(kind="posting")
    assert (proposal.legal_entities, proposal.content["posting"]["total"]) == (["US01"], "300000.00")
    house.hasten()
    carry("invoice_to_erp", seconds=5)
    assert house.states("invoice_to_erp") == {"waiting": 1}
    assert Proposal.objects.filter(kind="posting").count() == 1  # the same posting isn't proposed again
    assert decide("controller", approve=True) == "approved"
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    assert len(house.made("netsuite", "invoice")) == 1
    assert told("transaction", txn.pk) == [("portal", "propose"), ("controller", "approve")]
    assert audit.verify().holds


def test_a_rejected_posting_is_held_with_the_reason_and_a_repost_asks_anew(house):
    txn = bill(house)
    assert decide("controller", approve=False, why="The contract isn't signed") == "rejected"
    house.carry(until=lambda: house.held() == ["posting_rejected"])
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    assert case.summary == f"The posting of {txn.number} was rejected: The contract isn't signed"
    repost(case, by=Person.objects.get(username="controller"), reason="Signed today")
    house.carry(until=lambda: Proposal.objects.filter(kind="posting", state="proposed").exists())
    assert decide("controller", approve=True) == "approved"
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    assert len(house.made("netsuite", "invoice")) == 1


def test_another_period_than_asked_for_is_accepted_by_two_people_and_nothing_is_posted_again(house, moving_erp):
    house.invoice(house.customer())
    house.carry(until=lambda: house.held() == ["posted_in_other_period"])
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    (proposal,) = propose_overrides(case, by=Person.objects.get(username="billing_ops"), reason="Close was early")
    problem = BusinessTransaction.objects.get(flow="invoice_to_erp").problem
    assert proposal.content["subject"] == problem["subject"]
    assert {"asked", "period"} <= set(proposal.content["subject"])
    assert decide("controller", approve=True, kind="override") == "approved"
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    assert len(house.made("netsuite", "invoice")) == 1
    step = StepRun.objects.get(step="post_invoice", state="done")
    assert step.used == {"found": True, "accepted": "posted_in_other_period"}
    assert ExceptionCase.objects.get(pk=case.pk).resolution == "completed"
