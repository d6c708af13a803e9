"""One customer for an account, one subscription for an order, and two customers who share a name."""

from __future__ import annotations

import pytest

from exceptions.models import ExceptionCase
from q2c.flows.polling import poll_connection
from tests.sandboxes.salesforce import Caller

pytestmark = pytest.mark.django_db(transaction=True)


def made_subscriptions(house) -> int:
    return len(house.made("stripe", "subscription")) + len(house.made("stripe", "subscription_schedule"))


def test_two_orders_of_one_new_account_make_one_customer_and_two_subscriptions(house):
    account = house.account()
    house.price("QB-API", "1495.50")
    house.win(account)
    house.win(account)
    house.carry(seconds=60)
    assert house.states("order_to_subscription") == {"completed": 2}
    assert len(house.made("stripe", "customer")) == 1
    assert len(house.made("netsuite", "customer")) == 1
    assert made_subscriptions(house) == 2


def test_an_order_that_is_changed_after_it_was_won_makes_no_second_subscription(house):
    order = house.win(house.account())
    house.carry(seconds=60)
    assert (house.states("order_to_subscription"), made_subscriptions(house)) == ({"completed": 1}, 1)
    invoices = len(house.made("netsuite", "invoice"))
    crm = Caller(house.sandboxes)
    (line,) = crm.query(f"SELECT Id FROM OpportunityLineItem WHERE OpportunityId = '{order}'")
    crm.call("PATCH", f"sobjects/OpportunityLineItem/{line['Id']}", {"Quantity": 3})
    assert crm.status == 204
    crm.call("PATCH", f"sobjects/Opportunity/{order}", {"NextStep": "Signed"})
    poll_connection("salesforce", "Opportunity")
    house.carry(seconds=60)
    assert (house.held(), made_subscriptions(house)) == (["order_changed_after_won"], 1)
    assert len(house.made("netsuite", "invoice")) == invoices
    case = ExceptionCase.objects.get()
    assert (case.queue, case.summary.split(" was changed")[0]) == ("sales_ops", "Northwind platform")


def test_two_customers_of_one_name_are_two_in_the_erp(house):
    customers = [house.customer() for _ in range(2)]
    for customer in customers:
        house.invoice(customer)
    house.carry(seconds=60)
    assert house.states("invoice_to_erp") == {"completed": 2}
    assert len(house.made("netsuite", "customer")) == 2
    assert not ExceptionCase.objects.exists()
