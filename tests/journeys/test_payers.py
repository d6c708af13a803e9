"""A group's headquarters is billed for what its subsidiary bought, where policy says so."""

from __future__ import annotations

import pytest

from q2c.transactions.models import LineageLink
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_highest_account_is_billed_where_policy_says_so(house):
    make_rule("posting_policy", "billed_account", "top", number=next_number(), legal_entity="GB01")
    top = house.account(Name="Northwind Group", AccountNumber="NW-0")
    buyer = house.account(Name="Northwind Leeds", AccountNumber="NW-2", ParentId=top)
    house.win(buyer)
    house.win(top)
    house.carry(seconds=60)
    assert house.states("order_to_subscription") == {"completed": 2}
    (billed,) = house.made("stripe", "customer")
    shown = next(
        c for c in house.sandboxes.control("GET", "stripe/documents/customer")["items"] if c["id"] == billed["id"]
    )
    assert (shown["name"], shown["metadata"]["crm_id"]) == ("Northwind Group", f"salesforce:Account:{top}")
    tied = LineageLink.objects.filter(source_type="Account", target_id=billed["id"])
    assert set(tied.values_list("source_id", flat=True)) == {top}
