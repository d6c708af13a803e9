"""A customer who changes in billing while the ERP doesn't answer: the ERP has the change in the end, once."""

from __future__ import annotations

import pytest

from tests.journeys.house import forget_everything
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.scenario(1, 3)
@pytest.mark.parametrize(
    "fault",
    [
        {"do": "reset_before"},
        {"do": "status", "status": 503},
        {"do": "html_200"},
        {"do": "lose_answer"},
    ],
    ids=lambda fault: fault["do"],
)
def test_a_change_whose_answer_never_came_is_made_and_not_taken_for_made_since_the_customer_is_there(house, fault):
    customer = house.customer()
    house.carry()
    (made,) = house.made("netsuite", "customer")
    house.set_connections(settles_after_seconds="60")
    house.fault("netsuite", when={"method": "PUT", "path": "*/customer/*", "nth": 1}, **fault)
    house.ask_stripe(f"customers/{customer}", **{"address[city]": "York", "name": "Northwind plc"})
    house.carry(until=lambda: house.states("customer_to_erp").get("unknown"))
    house.sandboxes.control("DELETE", "netsuite/faults")
    forget_everything()
    house.carry_to_the_end("customer_to_erp")
    house.carry()
    found = Erp(house.sandboxes).read("customer", made["id"])
    (address,) = found["addressbook"]["items"]
    assert (found["companyName"], address["addressBookAddress"]["city"]) == ("Northwind plc", "York")
    assert [e["id"] for e in house.made("netsuite", "customer")] == [made["id"]]
    assert house.held() == []
