"""An order that starts later is a schedule, then a subscription, then an invoice: one journey."""

import datetime as dt

import pytest

from q2c.flows.order_unwinding import ORDER_UNWINDING
from q2c.transactions.lineage import trace
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.deaths import carry_through_deaths, write_points
from tests.journeys.scenes import unwind, unwind_order

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_journey_of_an_order_that_starts_later_leads_to_its_ar_invoice(house):
    start = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    order = house.win(house.account(), CloseDate=start.isoformat())
    house.carry()
    sold = BusinessTransaction.objects.get(flow="order_to_subscription")
    assert (sold.state, sold.target_id[:10]) == ("completed", "sub_sched_")
    house.pass_days(3)
    house.carry(until=lambda: house.made("netsuite", "invoice"))
    house.poll()  # whichever webhook was lost on the way
    house.carry()
    posted = BusinessTransaction.objects.get(flow="invoice_to_erp")
    hops = {(hop.source[1:], hop.target[1:]) for hop in trace(
        system="salesforce", document_type="Opportunity", document_id=order)}  # fmt: skip
    (begun,) = [target[1] for source, target in hops if source == ("subscription", sold.target_id)]
    assert hops >= {
        (("Opportunity", order), ("subscription", sold.target_id)),
        (("subscription", sold.target_id), ("subscription", begun)),
        (("subscription", begun), ("invoice", posted.source_id)),
        (("invoice", posted.source_id), (posted.target_type, posted.target_id)),
    }


@pytest.mark.crash
@pytest.mark.parametrize("has_begun", [False, True], ids=["before it begins", "once it has begun"])
def test_an_order_that_starts_later_is_taken_back_and_nothing_of_it_bills_on(house, has_begun):
    start = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    order = house.win(house.account(), CloseDate=start.isoformat())
    house.carry()
    planned = BusinessTransaction.objects.get(flow="order_to_subscription").target_id
    if has_begun:
        house.pass_days(3)
        house.carry(until=lambda: house.made("netsuite", "invoice"))
        house.poll()
        house.carry()
        billed = BusinessTransaction.objects.get(flow="invoice_to_erp", state="completed")
        unwind(house, billed.source_id, reposts=False, reason="the customer withdrew")
        house.carry()
    unwind_order(order)
    carry_through_deaths(house.carry, write_points(ORDER_UNWINDING))
    assert (house.held(), house.states("order_unwinding")) == ([], {"completed": 1})
    schedules, subscriptions = (documents(house, kind) for kind in ("subscription_schedule", "subscription"))
    assert {row["id"]: row["status"] for row in schedules} == {planned: "released" if has_begun else "canceled"}
    assert [row["status"] for row in subscriptions] == ["canceled"] * has_begun
    assert len(house.made("stripe", "subscription", "deleted")) == int(has_begun)
    assert documents(house, "invoiceitem") == []  # nothing is given back that nobody decided
    assert len(documents(house, "invoice")) == int(has_begun)
    told = set(LineageLink.objects.filter(relation="ended").values_list("target_id", flat=True))
    assert told == {planned, *(row["id"] for row in subscriptions)}


def documents(house, kind) -> list:
    """What Stripe holds of a kind."""
    return house.sandboxes.control("GET", f"stripe/documents/{kind}?limit=50")["items"]
