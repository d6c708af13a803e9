"""A plan that people gave up half way: what would take the same back once more is held and names what stands, until
they finish the plan, or post what was missing and say so."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from django.db.transaction import atomic

from exceptions import resolutions
from exceptions.models import ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import waivers
from mappings.identities import change_of, propose_change
from mappings.models import CrossReference
from q2c.portal.decisions import decide
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.scenes import reverse, unwind
from tests.journeys.test_holds import person
from tests.journeys.test_reversals import MAKES, ROLES, held, journals
from tests.journeys.test_voids import held_by_erp
from tests.sandboxes.netsuite_client import Client

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = {
    "title": "Bad Request", "status": 400,
    "o:errorDetails": [{"detail": "No.", "o:errorCode": "INVALID_CONTENT"}],
}  # fmt: skip
WRONG, RIGHT, GB = "85123A", "POST", {"legal_entity": "GB01"}


def give_up(house, flow: str, begin, name: str) -> ExceptionCase:
    """A plan whose posting again (`name`) the ERP refuses, and a controller who gives it up. Returns its case."""
    fault = house.fault("netsuite", "status", status=400, body=REFUSED, when={"method": "POST", "external_id": name})
    begin()
    house.carry()
    assert house.held() == ["vendor_refused"]
    house.sandboxes.control("DELETE", f"netsuite/faults/{fault}")
    case = ExceptionCase.objects.get(kind="vendor_refused")
    done = resolutions.waive(case, by=person("controller"), reason="nobody can mend it today")
    assert [row.is_restarted for row in done] == [True]
    assert house.states(flow) == {"cancelled": 1}
    return case


def half_done(says: str) -> ExceptionCase:
    case = ExceptionCase.objects.get(kind="plan_half_done", closed_at=None)
    assert says in case.summary or says in BusinessTransaction.objects.get(problem_code=case.kind).problem["summary"]
    return case


def finish(house, given_up: ExceptionCase, held_back: ExceptionCase) -> None:
    """The plan is taken up again and finishes; what it held back is reposted."""
    waivers.take_up(given_up, by=person("controller"), reason="the ERP takes it now")
    house.carry()
    resolutions.repost(held_back, by=person("controller"), reason="the plan is done")
    house.carry(seconds=40)
    assert house.held() == []


@pytest.mark.parametrize(("flow", "back"), [("payout_to_erp", "failed"), ("dispute_to_erp", "won")])
def test_money_that_comes_back_is_held_until_the_plan_is_done_and_booked_once(house, flow, back):
    source = MAKES[flow](house)
    house.map_account(*ROLES[flow])
    case = give_up(house, "reversal_to_erp", lambda: reverse(flow), f"re-stripe-{source}-1")
    before, opposite = journals(house), held(house)[f"rev-stripe-{source}-1"]
    house.make("stripe", flow.removesuffix("_to_erp"), [{"id": source, "status": back}])
    house.carry(seconds=40)
    assert house.held() == ["plan_half_done"]
    assert journals(house) == before
    finish(house, case, half_done(f"was given up after it posted journal {opposite['tranId']}, which stands"))
    assert house.states(flow) == {"completed": 2}
    made = journals(house)[len(before) :]
    assert (made[0], len(made)) == (f"re-stripe-{source}-1", 2)
    booked = Ledger(house.sandboxes).balances()
    assert not {"1050"} & booked.keys()


@pytest.mark.parametrize(("flow", "back"), [("payout_to_erp", "failed"), ("dispute_to_erp", "won")])
def test_a_journal_that_people_posted_by_hand_and_pointed_at_is_taken_back_as_usual(house, flow, back):
    source, kind = MAKES[flow](house), flow.removesuffix("_to_erp")
    house.map_account(*ROLES[flow])
    give_up(house, "reversal_to_erp", lambda: reverse(flow), f"re-stripe-{source}-1")
    house.make("stripe", kind, [{"id": source, "status": back}])
    house.carry(seconds=40)
    first = CrossReference.objects.get(record_type=kind)
    entry = next(e for e in held(house).values() if e["id"] == first.external_id)
    sent = {name: entry[name] for name in ("subsidiary", "currency", "tranDate", "postingPeriod", "line")}
    answer = Client(house.sandboxes).send("POST", "journalEntry", {**sent, "externalId": "by-hand"})
    assert answer.status_code == 204, answer.text
    by_hand = next(i for i in journals_with_ids(house) if i["externalId"] == "by-hand")
    change = change_of(first, external_id=by_hand["id"], number=by_hand["tranId"])
    with atomic():
        proposal = propose_change(change, by=person("billing_ops"), why="posted by hand")
    decide(proposal, by=person("controller"), approve=True, why="", seen_hash=proposal.content_hash)
    before = journals(house)
    resolutions.repost(half_done("given up"), by=person("controller"), reason="posted by hand")
    house.carry(seconds=40)
    assert (house.held(), house.states(flow)) == ([], {"completed": 2})
    assert len(journals(house)) == len(before) + 1


def journals_with_ids(house) -> list[dict]:
    return house.sandboxes.control("GET", "netsuite/documents/journalEntry?limit=50")["items"]


@pytest.mark.parametrize("is_void", [False, True])
def test_an_invoice_is_credited_once_whose_plan_was_given_up_half_way(house, is_void):
    """Of a paid one the credit note goes to the customer's balance, and the ERP isn't asked what is open."""
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry()
    if not is_void:
        house.pay(invoice)
        house.carry()
    house.map_item(WRONG, RIGHT)
    case = give_up(house, "unwinding_to_erp", lambda: unwind(house, invoice), f"re-stripe-{invoice}-1")
    memo = next(e for e in house.sandboxes.control("GET", "netsuite/documents/creditMemo?limit=5")["items"])
    if is_void:
        house.void(invoice)
    else:
        house.credit(invoice, amount=10_000, metadata=GB)
    house.carry()
    assert house.held() == ["plan_half_done"]
    assert [row[0] for row in held_by_erp(house, "creditMemo")] == [f"unw-stripe-{invoice}-1"]
    with pytest.raises(ResolutionRefused, match=f"given up after it posted credit memo {memo['tranId']}, which stands"):
        unwind(house, invoice)
    finish(house, case, half_done(f"was given up after it posted credit memo {memo['tranId']}, which stands"))
    assert len(house.made("netsuite", "creditMemo")) == 2
    books = Ledger(house.sandboxes)
    left = 0 if is_void else 100  # the customer's to use
    assert (books.balances().get(RECEIVABLES, D(0)), sum(books.open_items().values())) == (-left, left)
