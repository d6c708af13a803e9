"""An order that starts later is a schedule, then a subscription, then an invoice: one journey."""

import datetime as dt

import pytest

from q2c.transactions.lineage import trace
from q2c.transactions.models import BusinessTransaction

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
