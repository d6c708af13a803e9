"""An order by API becomes a subscription in billing, once, for the CRM's account."""

from __future__ import annotations

import json

import pytest

from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction
from tests.api.conftest import bearer, make_client, order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.scenario(10, of="the API’s door")
def test_an_order_by_api_becomes_one_subscription_and_is_traced_by_its_id(house):
    account = house.account()
    house.price("QB-API", "1495.50")
    house.carry(
        seconds=30, until=lambda: GoldenRecord.objects.filter(aliases__contains=[f"salesforce:{account}"]).exists()
    )
    make_client("upstream")
    api = bearer("upstream")
    body = order(account=account, lines=[{"sku": "QB-API", "quantity": "2", "unit_price": "1495.50"}])
    headers = {"Idempotency-Key": "k1"}
    answers = [
        api.post("/api/v1/orders", json.dumps(body), content_type="application/json", headers=headers) for _ in range(2)
    ]
    assert [a.status_code for a in answers] == [202, 202], answers[0].content
    assert answers[0].json() == answers[1].json()
    house.carry(seconds=60)
    told = api.get(answers[0]["Location"]).json()
    row = BusinessTransaction.objects.get(pk=told["id"])
    assert (told["state"], told["case"]) == ("completed", None), (row.held_step, row.waits_for, row.problem)
    (made,) = house.made("stripe", "subscription") or house.made("stripe", "subscription_schedule")
    assert len(house.made("stripe", "customer")) == 1
    other = json.dumps(body | {"term_months": 24})
    assert api.post("/api/v1/orders", other, content_type="application/json", headers=headers).status_code == 422
    house.carry(seconds=60)
    assert len(house.made("stripe", "subscription") + house.made("stripe", "subscription_schedule")) == 1
    traced = api.get("/api/v1/trace", {"id": row.source_id}).json()
    assert made["id"] in {document["id"] for document in traced["documents"]}
    assert not BusinessTransaction.objects.filter(flow="status_to_crm", state="held").exists()
