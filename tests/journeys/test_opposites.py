"""Money that comes back is booked where what it takes back stands, whatever the rules say by then."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from connectors.models import ReferenceEntry
from mappings.models import CrossReference
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import BANK, CLEARING, CLEARING_EUR, DISPUTES, FEES, Ledger
from tests.journeys.scenes import reverse
from tests.journeys.test_exchange_rates import agree_on
from tests.journeys.test_reversals import make_dispute, make_payout

pytestmark = pytest.mark.django_db(transaction=True)
OTHER, THIRD = "1050", "1060"
# Of each flow: how it's made, how its money comes back, the role and account of what the first keeps, and how much.
FLOWS = {
    "payout_to_erp": (make_payout, "failed", ("stripe", "gateway_bank"), BANK, D("96.80")),
    "dispute_to_erp": (make_dispute, "won", ("disputes", "account"), DISPUTES, D("300.00")),
}


def renumber(house, flow: str, number: str) -> None:
    role, kind = FLOWS[flow][2]
    house.map_account(role, number, kind)


def come_back(house, flow: str, source: str) -> dict[str, D]:
    """Its money comes back. Returns the ledger."""
    house.make("stripe", flow.removesuffix("_to_erp"), [{"id": source, "status": FLOWS[flow][1]}])
    house.carry(seconds=40)
    assert (house.states(flow), house.held()) == ({"completed": 2}, [])
    return Ledger(house.sandboxes).balances()


@pytest.mark.parametrize("flow", FLOWS)
def test_it_takes_the_account_on_which_the_first_stands(house, flow):
    make, _, _, account, amount = FLOWS[flow]
    source = make(house)
    before = Ledger(house.sandboxes).balances()
    assert before[account] == amount
    renumber(house, flow, OTHER)
    after = come_back(house, flow, source)
    assert not {account, OTHER} & after.keys()
    assert after[CLEARING] == before.get(CLEARING, D(0)) + amount
    assert after[FEES] == before[FEES]


@pytest.mark.parametrize("flow", FLOWS)
def test_it_takes_the_account_of_the_journal_that_a_plan_posted_in_its_place(house, flow):
    make, _, _, account, amount = FLOWS[flow]
    source = make(house)
    renumber(house, flow, OTHER)
    reverse(flow)
    house.carry()
    before = Ledger(house.sandboxes).balances()
    assert (before.get(account), before[OTHER]) == (None, amount)
    renumber(house, flow, THIRD)
    after = come_back(house, flow, source)
    assert not {account, OTHER, THIRD} & after.keys()
    assert after[CLEARING] == before.get(CLEARING, D(0)) + amount


@pytest.mark.parametrize("flow", FLOWS)
def test_where_another_journal_than_ours_stands_the_rules_of_its_own_date_decide(house, flow):
    make, _, _, account, amount = FLOWS[flow]
    source = make(house)
    reference = CrossReference.objects.filter(record_type=flow.removesuffix("_to_erp"), external_type="journal")
    assert reference.update(external_id="987654") == 1
    renumber(house, flow, OTHER)
    after = come_back(house, flow, source)
    assert (after[account], after[OTHER]) == (amount, -amount)


def test_what_the_erp_booked_for_a_converted_refund_and_for_its_failure_leaves_clearing_by_its_own_rate(house):
    ReferenceEntry.objects.filter(list_name="rates").delete()
    agree_on(D("0.85"))
    customer = house.customer()
    house.carry(seconds=40)
    settled = {"currency": "gbp", "exchange_rate": "0.80"}
    given = {"customer": customer, "amount": 10_000, "currency": "eur", "settled": settled}
    payment, _ = house.make("stripe", "payment_intent", [given, given])
    refund = house.refund(payment, 5_000)
    house.carry(seconds=40)
    books = Ledger(house.sandboxes)
    assert books.balances()[CLEARING_EUR] == D("127.50")  # 150 euro at 0.85
    agree_on(D("0.95"))
    house.make("stripe", "refund", [{"id": refund, "status": "failed"}])
    house.carry(without="refund_to_erp", seconds=40)
    house.payout()
    waiting = BusinessTransaction.objects.filter(flow="payout_to_erp", state="waiting")
    house.carry(without="refund_to_erp", until=waiting.exists)
    assert waiting.get().waits_for.endswith(f"the failure of refund {refund} in the ERP")
    house.carry(seconds=40)
    assert (house.held(), house.states("payout_to_erp")) == ([], {"completed": 1})
    ended = books.balances()
    assert not {CLEARING, CLEARING_EUR} & ended.keys()


def test_clearing_is_that_of_its_own_date_since_the_next_payout_takes_it_from_there(house):
    house.pay(house.invoice(house.customer(), amount=20_000))
    source = make_dispute(house)
    house.payout()
    house.carry(seconds=40)
    assert CLEARING not in Ledger(house.sandboxes).balances()
    house.map_account("clearing:stripe", OTHER)
    won = come_back(house, "dispute_to_erp", source)
    assert (won[OTHER], won.get(CLEARING), won.get(DISPUTES)) == (D("300.00"), None, None)
    house.payout()
    house.carry(seconds=40)
    assert house.states("payout_to_erp") == {"completed": 2}
    ended = Ledger(house.sandboxes).balances()
    assert not {CLEARING, OTHER, DISPUTES} & ended.keys()
    assert ended[BANK] + ended[FEES] == D("500.00")
