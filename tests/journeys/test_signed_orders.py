"""An activated order of the CRM: of an opportunity it's that one's sale, by itself it's sold; never twice."""

from __future__ import annotations

import pytest

from q2c.flows.polling import poll_connection
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.test_made_once import made_subscriptions
from tests.sandboxes.salesforce import Caller

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_order_of_a_won_opportunity_is_the_same_sale_and_only_tied_to_it(house):
    account = house.account()
    sold = house.win(account)
    house.carry(seconds=60)
    order = house.sign(account, OpportunityId=sold)
    house.carry(seconds=60)
    assert house.states("order_to_sale") == {"completed": 1}
    assert (house.states("order_to_subscription"), made_subscriptions(house)) == ({"completed": 1}, 1)
    tied = LineageLink.objects.get(target_id=order)
    assert (tied.source_type, tied.source_id, tied.relation, tied.amount) == ("Opportunity", sold, "ordered as", 2991)
    assert tied.legal_entity_code == "GB01"
    txn = BusinessTransaction.objects.get(flow="order_to_sale")
    (shown,) = Caller(house.sandboxes).query(f"SELECT Q2C_Link__c FROM Order WHERE Id = '{order}'")
    assert shown["Q2C_Link__c"].endswith(f"/transactions/{txn.pk}/")


def test_an_order_that_is_activated_before_its_opportunity_is_won_waits_for_it(house):
    account = house.account()
    opportunity = house.win(account, StageName="Prospecting")
    house.sign(account, OpportunityId=opportunity)
    house.carry(until=lambda: house.states("order_to_sale") == {"waiting": 1})
    assert made_subscriptions(house) == 0
    house.make("salesforce", "Opportunity", [{"Id": opportunity, "StageName": "Closed Won"}])
    house.carry(seconds=60, until=lambda: house.states("order_to_sale") == {"completed": 1})
    assert (house.states("order_to_subscription"), made_subscriptions(house)) == ({"completed": 1}, 1)


def test_an_order_without_an_opportunity_is_sold_and_its_status_told_on_itself(house):
    order = house.sign(house.account(Legal_Entity__c="GB01"), PoNumber="PO-77")
    house.carry(seconds=60)
    assert (house.states("order_to_subscription"), made_subscriptions(house)) == ({"completed": 1}, 1)
    poll_connection("salesforce", "Order")  # our own words on it are no other order
    house.carry(seconds=60)
    assert made_subscriptions(house) == 1
    sold = BusinessTransaction.objects.get(flow="order_to_subscription")
    assert [i["otherRefNum"] for i in house.sandboxes.control("GET", "netsuite/documents/invoice")["items"]] == [
        "PO-77"
    ]
    assert (sold.source_type, sold.source_id, sold.legal_entity_code, sold.amount) == ("Order", order, "GB01", 2991)
    (shown,) = Caller(house.sandboxes).query(f"SELECT Q2C_Status__c FROM Order WHERE Id = '{order}'")
    assert shown["Q2C_Status__c"] == "active"
