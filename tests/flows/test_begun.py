"""The tie between a schedule and the subscription that began under it, told though the invoice posted first."""

import datetime as dt

import pytest

from q2c.canonical import contract, events
from q2c.canonical.base import Source
from q2c.core.ids import uuid7
from q2c.flows.begun import tie_late
from q2c.flows.told import Link
from q2c.transactions.lineage import LinkRow, store_links, trace
from q2c.transactions.models import LineageLink

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 10, 3, tzinfo=dt.UTC)


def spoken_of(subscription: str, schedule: str) -> events.SubscriptionChanged:
    made = contract.Subscription(
        source=Source("stripe-main", "subscription", subscription), order_id="", customer_id="cus_1", currency="GBP",
        status="active", start_date=NOW.date(), is_active=True, schedule_id=schedule,
    )  # fmt: skip
    return events.SubscriptionChanged(occurred_at=NOW, subscription=made)


def billed(subscription: str, invoice: str):
    posted = uuid7()
    hops = [
        Link("stripe-main", "subscription", subscription, "stripe-main", "invoice", invoice),
        Link("stripe-main", "invoice", invoice, "netsuite-main", "invoice", "871"),
    ]
    store_links([LinkRow(posted, "GB01", hop) for hop in hops], NOW)
    return posted


def test_a_subscription_that_billing_speaks_of_after_its_invoice_posted_is_tied_to_its_schedule_once():
    store_links(
        [LinkRow(uuid7(), "GB01", Link("sf", "Opportunity", "006", "stripe-main", "subscription", "sched_1"))], NOW
    )
    posted = billed("sub_1", "in_1")
    for _ in range(2):
        tie_late([spoken_of("sub_1", "sched_1")], NOW)
    hops = trace(system="sf", document_type="Opportunity", document_id="006")
    assert [(hop.source[2], hop.target[2]) for hop in hops if hop.step == "begin"] == [("sched_1", "sub_1")]
    assert ("in_1", "871") in {(hop.source[2], hop.target[2]) for hop in hops}
    told = LineageLink.objects.filter(transaction_id=posted).order_by("sequence")
    assert list(told.values_list("sequence", "step", "legal_entity_code")) == [
        (0, "", "GB01"), (1, "", "GB01"), (2, "begin", "GB01"),
    ]  # fmt: skip


def test_what_has_not_billed_or_was_not_planned_has_no_tie_yet():
    billed("sub_1", "in_1")
    tie_late([spoken_of("sub_1", ""), spoken_of("sub_2", "sched_2")], NOW)
    assert not LineageLink.objects.filter(step="begin").exists()
