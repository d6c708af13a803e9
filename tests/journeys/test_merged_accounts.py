"""Sales merges two accounts of one buyer: what is sold to either is billed to the one that stayed, and nothing that is
read later moves anything back."""

from __future__ import annotations

import pytest

from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction

pytestmark = pytest.mark.django_db(transaction=True)


def customers(house) -> list[int]:
    """How many customers billing and the ERP have made."""
    return [len(house.made("stripe", "customer")), len(house.made("netsuite", "customer"))]


def billed_to(house, sale: str) -> str:
    """The billing customer of a sale's subscription."""
    subscription = BusinessTransaction.objects.get(flow="order_to_subscription", source_id=sale, state="completed")
    items = house.sandboxes.control("GET", "stripe/documents/subscription?limit=50")["items"]
    found = next(each for each in items if each["id"] == subscription.target_id)["customer"]
    return found if isinstance(found, str) else found["id"]


@pytest.mark.scenario(33, of="the customers of the CRM")
def test_what_is_sold_to_a_merged_account_is_billed_to_the_survivor_and_no_later_sync_moves_it_back(house):
    kept = house.account(Name="Blue Bikes", AccountNumber="BB-1")
    gone = house.account(Name="Blue Bikes Ltd", AccountNumber="BB-2")
    sales = [house.win(kept), house.win(gone)]
    house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 2})
    house.carry(seconds=60)
    before = customers(house)
    moved = house.win(gone, StageName="Prospecting")  # Salesforce moves it to the survivor with the merge
    house.make("salesforce", "Account", [{"Id": kept, "MergeIds": [gone]}])
    house.poll()
    house.carry(seconds=60)
    moved_too = BusinessTransaction.objects.get(flow="order_to_subscription", source_id=sales[1], state="cancelled")
    assert "only moved with its account, which was merged" in moved_too.waits_for
    house.make("salesforce", "Opportunity", [{"Id": moved, "StageName": "Closed Won"}])
    house.carry(until=lambda: house.states("order_to_subscription") == {"completed": 3, "cancelled": 1})
    house.carry(seconds=60)
    assert billed_to(house, moved) == billed_to(house, sales[0])
    for _ in range(2):  # everything is read again, the account that went among it
        house.poll()
        house.carry(seconds=60)
    assert customers(house) == before
    assert len(house.made("stripe", "subscription")) == 3
    assert house.held() == []
    survivor = GoldenRecord.objects.get(record_key=f"salesforce:Account:{kept}")
    signpost = GoldenRecord.objects.get(record_key=f"salesforce:Account:{gone}")
    assert (survivor.content["name"], signpost.merged_into) == ("Blue Bikes", survivor.record_key)
    assert f"salesforce:{gone}" in survivor.aliases
