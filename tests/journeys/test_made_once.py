"""One customer for an account, one subscription for an order, and two customers who share a name."""

from __future__ import annotations

import pytest

from exceptions.models import ExceptionCase
from tests.journeys.scene import over
from tests.journeys.scenes import every_scene

pytestmark = pytest.mark.django_db(transaction=True)


def made_subscriptions(house) -> int:
    found = house.made(house.cast.billing.vendor)
    return len([entry for entry in found if entry["document_type"] in house.cast.billing.subscriptions])


def made_by_erp(house, code: str) -> list:
    """What such a flow makes there."""
    return house.made(house.cast.erp.vendor, house.cast.erp.traces[code].record)


@over(every_scene("order_to_subscription"))
def test_two_orders_of_one_new_account_make_one_customer_and_two_subscriptions(house, scene):
    account = house.account()
    house.win(account)
    house.win(account)
    house.carry(seconds=60)
    assert house.states("order_to_subscription") == {"completed": 2}
    assert len(house.made(scene.vendor, "customer")) == 1
    assert len(made_by_erp(house, "customer_to_erp")) == 1
    assert made_subscriptions(house) == 2


@over(every_scene("order_to_subscription"))
def test_an_order_that_is_changed_after_it_was_won_makes_no_second_subscription(house, scene):
    order = house.win(house.account())
    house.carry(seconds=60)
    assert (house.states("order_to_subscription"), made_subscriptions(house)) == ({"completed": 1}, 1)
    invoices = len(made_by_erp(house, "invoice_to_erp"))
    house.cast.crm.sell_more(house, order, 3)
    house.poll()
    house.carry(seconds=60)
    assert (house.held(), made_subscriptions(house)) == (["order_changed_after_won"], 1)
    assert len(made_by_erp(house, "invoice_to_erp")) == invoices
    case = ExceptionCase.objects.get()
    assert (case.queue, case.summary.split(" was changed")[0]) == ("sales_ops", "Northwind platform")


@over(every_scene("customer_to_erp"))
def test_two_customers_of_one_name_are_two_in_the_erp(house, scene):
    customers = [house.customer() for _ in range(2)]
    for customer in customers:
        house.invoice(customer)
    house.carry(seconds=60)
    assert house.states("invoice_to_erp") == {"completed": 2}
    assert len(scene.made(house)) == 2
    assert not ExceptionCase.objects.exists()
