"""Money that went and came back is booked twice or not at all: whatever holds the first movement, whoever gives it up,
and whichever release began it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from unittest import mock

import pytest
from django.db.transaction import atomic

from exceptions import cases, resolutions, tasks
from exceptions.kind_words import BOOKED_BY_HAND
from exceptions.models import ExceptionCase, Waiver
from exceptions.resolving import waivers
from mappings.models import MappingRule
from q2c.core.models import AuditEntry
from q2c.flows.steps import first as first_step
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import CLEARING, DISPUTES, FEES, RECEIVABLES, Ledger
from tests.journeys.test_half_way import REFUSED
from tests.journeys.test_holds import person
from tests.mappings.rules import next_number

pytestmark = pytest.mark.django_db(transaction=True)
# Of each flow: the account that isn't mapped (its kind and role), and how its object ends.
ROLES = {"dispute_to_erp": ("account", "disputes"), "refund_to_erp": ("account", "clearing:stripe"),
         "payout_to_erp": ("gateway_bank", "stripe")}  # fmt: skip
BACK = {"dispute_to_erp": "won", "refund_to_erp": "failed", "payout_to_erp": "failed"}
PREFIXES = {"dispute_to_erp": "dsp", "refund_to_erp": "ref", "payout_to_erp": "po"}


def forget(flow: str) -> list[MappingRule]:
    """From now on the role isn't mapped. Returns the rules."""
    kind, role = ROLES[flow]
    rules = MappingRule.objects.filter(kind=kind, key=role, currency__in=("", "GBP"), known_to=None)
    found = list(rules)
    assert found
    rules.update(known_to=next_number())
    return found


def map_again(rules: list[MappingRule]) -> None:
    number = next_number()
    for rule in rules:
        rule.pk, rule.known_from, rule.known_to = None, number, None
        rule.save(force_insert=True)


def begin(house, flow: str, *, is_refused: bool = False) -> tuple[str, Callable[[], None]]:
    """A payment that is posted, and the first movement of what takes it back, or pays it out: held for a mapping, or
    refused by the ERP. Returns its id, and what mends that."""
    payment = house.pay(house.invoice(house.customer(), amount=30_000))
    house.carry(seconds=40)
    rules = [] if is_refused else forget(flow)
    source = go(house, flow, payment)
    if is_refused:
        when = {"method": "POST", "external_id": f"{PREFIXES[flow]}-stripe-{source}"}
        fault = house.fault("netsuite", "status", status=400, body=REFUSED, when=when)
    house.carry(seconds=40)
    assert (house.states(flow), len(house.held())) == ({"held": 1}, 1)

    def mend() -> None:
        if is_refused:
            house.sandboxes.control("DELETE", f"netsuite/faults/{fault}")
        map_again(rules)

    return source, mend


def go(house, flow: str, payment: str) -> str:
    if flow == "dispute_to_erp":
        return house.dispute(payment)
    return house.refund(payment, 2_000) if flow == "refund_to_erp" else house.payout()


def come_back(house, flow: str, source: str) -> None:
    house.make("stripe", flow.removesuffix("_to_erp"), [{"id": source, "status": BACK[flow]}])


def sweep(house) -> None:
    """What beat does, then the work that comes of it."""
    tasks.sweep_cases()
    tasks.tell_sources()
    house.carry(seconds=40)


def posted(house, flow: str) -> list[str]:
    """Our names of what the flow posted, as the ERP logged it."""
    made = [e["external_id"] or "" for e in house.made("netsuite")]
    return [name for name in made if name.startswith(f"{PREFIXES[flow]}-")]


def why(flow: str) -> list[str]:
    rows = BusinessTransaction.objects.filter(flow=flow, state="cancelled").order_by("lane_sequence")
    return list(rows.values_list("waits_for", flat=True))


def held_case() -> ExceptionCase:
    return ExceptionCase.objects.get(closed_at__isnull=True)


def cash(house) -> dict[str, D]:
    found = Ledger(house.sandboxes).balances()
    return {account: found[account] for account in (CLEARING, DISPUTES, FEES, RECEIVABLES) if account in found}


@pytest.mark.parametrize("flow", ROLES)
def test_money_that_came_back_while_its_going_was_held_is_booked_after_it(house, flow):
    source, mend = begin(house, flow)
    before = cash(house)
    come_back(house, flow, source)
    house.carry(seconds=40)
    sweep(house)
    assert (house.states(flow), posted(house, flow)) == ({"held": 1, "running": 1}, [])
    mend()
    resolutions.repost(held_case(), by=person("controller"), reason="mapped")
    house.carry(seconds=40)
    assert (house.states(flow), house.held(), len(posted(house, flow))) == ({"completed": 2}, [], 2)
    assert cash(house) == with_fees(before, fees_of(flow))


def give_up(code: str = "looked_into") -> ExceptionCase:
    case = held_case()
    (done,) = resolutions.waive(case, by=person("controller"), reason="nothing of it is to be booked", code=code)
    assert done.is_restarted
    return case


def fees_of(flow: str) -> D:
    """What the first movement costs beside the money."""
    return {"dispute_to_erp": D(15), "refund_to_erp": D(0), "payout_to_erp": D("9.00")}[flow]


def with_fees(before: dict[str, D], fees: D) -> dict[str, D]:
    return before | ({FEES: fees, CLEARING: before[CLEARING] - fees} if fees else {})


@pytest.mark.parametrize("is_first_in_time", [True, False], ids=["given up before", "given up while it waits"])
@pytest.mark.parametrize("flow", ROLES)
def test_money_that_comes_back_of_what_was_given_up_is_not_needed_until_that_is_taken_up(house, flow, is_first_in_time):
    source, mend = begin(house, flow, is_refused=True)
    before = cash(house)
    if not is_first_in_time:
        come_back(house, flow, source)
        house.poll()
    case = give_up()
    if is_first_in_time:
        house.carry(seconds=40)
        come_back(house, flow, source)
    house.carry(seconds=40)
    sweep(house)
    assert (house.states(flow), posted(house, flow), house.held()) == ({"cancelled": 2}, [], [])
    assert cash(house) == before
    assert "was given up, so nothing of it comes back in the ERP" in why(flow)[-1]
    mend()
    (taken,) = waivers.take_up(case, by=person("controller"), reason="it is to be booked after all")
    assert taken.is_restarted
    house.carry(seconds=40)
    assert (house.states(flow), house.held(), len(posted(house, flow))) == ({"completed": 2}, [], 2)
    assert cash(house) == with_fees(before, fees_of(flow))


@pytest.mark.parametrize("flow", ROLES)
def test_money_that_comes_back_of_what_people_booked_by_hand_is_booked(house, flow):
    source, mend = begin(house, flow, is_refused=True)
    before = cash(house)
    give_up(BOOKED_BY_HAND)
    mend()
    come_back(house, flow, source)
    house.carry(seconds=40)
    assert (house.states(flow), house.held(), len(posted(house, flow))) == ({"cancelled": 1, "completed": 1}, [], 1)
    assert cash(house)[CLEARING] != before[CLEARING]


@pytest.mark.parametrize("is_back_held", [True, False], ids=["its coming back is held", "and waits"])
@pytest.mark.parametrize("flow", ["dispute_to_erp", "refund_to_erp"])
def test_what_an_older_release_took_for_replaced_by_its_coming_back_is_booked_with_it(house, flow, is_back_held):
    source, mend = begin(house, flow)
    before = cash(house)
    (first,) = BusinessTransaction.objects.filter(flow=flow)
    with atomic():
        restart.cancel([first.pk], why="superseded: a later version came")
        cases.close_for_transactions([first.pk], "later_version")
    come_back(house, flow, source)
    house.carry(without=flow, seconds=40)
    if is_back_held:  # the older release read it so far
        with mock.patch.object(first_step, "_check", return_value=None):
            house.carry(seconds=40)
        expected = {"cancelled": 1, "held": 1} if flow == "dispute_to_erp" else {"cancelled": 1, "waiting": 1}
        assert house.states(flow) == expected
    mend()
    for case in ExceptionCase.objects.filter(closed_at__isnull=True):
        resolutions.repost(case, by=person("controller"), reason="mapped")
    house.carry(seconds=40, until=lambda: house.states(flow) == {"cancelled": 1, "waiting": 1})
    assert posted(house, flow) == []
    sweep(house)
    house.carry(seconds=40)
    assert (house.states(flow), house.held(), len(posted(house, flow))) == ({"completed": 2}, [], 2)
    assert cash(house) == with_fees(before, fees_of(flow))
    told = AuditEntry.objects.get(verb="bring_back")
    assert told.data["transactions"] == [str(first.pk)]
    assert Waiver.objects.count() == 0
