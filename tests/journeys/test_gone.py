"""What is gone when we come to it: at its source (an event of something deleted), or in the ERP between the mapping
that names it and the document that needs it."""

from __future__ import annotations

import pytest
from django.test import Client

from connectors import registry
from connectors.manifest import Means
from exceptions import resolutions
from exceptions.models import ExceptionCase, Occurrence
from q2c.core.models import Person
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import Arrival, receive
from q2c.transactions.models import BusinessTransaction
from tests.journeys.scene import with_each_cast
from tests.journeys.scenes import live_a_day, made_by_vendor
from tests.journeys.stage import await_that
from tests.journeys.told import messages
from tests.sandboxes.netsuite_client import Client as Erp
from tests.sandboxes.salesforce import Caller

pytestmark = pytest.mark.django_db(transaction=True)


def another(vendor, object_id):
    """An id of the same form that no record has."""
    return f"{object_id[:3]}000000000001AAA" if vendor == "salesforce" else f"{object_id[:-4]}gone"


def is_asked_for(vendor, sort, body):
    """Whether such a message is only a hint, whose object the vendor is asked for."""
    means = registry.manifest(vendor).events[sort]
    return isinstance(means, Means) and means.refetch and (means.refetch_when is None or means.refetch_when(body))


@pytest.mark.scenario(18, of="messages, before any flow")
@with_each_cast()
def test_every_message_of_what_is_gone_at_its_source_ends_with_a_reason_and_makes_nothing(house):
    live_a_day(house, house.account())
    before, told = made_by_vendor(house), {}
    for (vendor, sort), (claimed, source, body) in messages().items():
        if not is_asked_for(vendor, sort, body):
            continue  # it carries the document itself, which can't be deleted once it's issued
        gone, key = another(vendor, claimed.source_id), f"gone-{vendor}-{sort}"
        body = body.replace(claimed.source_id.encode(), gone.encode())
        receive(source.id, [Arrival(sort, gone, key, body)], via="webhook")
        told[key] = gone
    assert {key.split("-")[1] for key in told} == {p.vendor for p in house.cast.players() if p.sends_webhooks}
    house.carry()
    assert made_by_vendor(house) == before
    ends = {key.dedupe_key: key for key in InboundKey.objects.filter(dedupe_key__in=told)}
    assert {end.verdict for end in ends.values()} <= {"ignored", "refused"}
    assert all(end.reason for end in ends.values())
    refused = {end.event_id for end in ends.values() if end.verdict == "refused"}
    assert set(Occurrence.objects.filter(event_id__in=refused).values_list("event_id", flat=True)) == refused
    client = Client()
    client.force_login(Person.objects.get(username="auditor"))
    for end in ends.values():
        shown = client.get(f"/inbox/{end.event_id}/").content.decode()
        assert end.reason.split(":")[0] in shown.replace("&#x27;", "'").replace("&#39;", "'"), end.dedupe_key


@pytest.mark.scenario(18)
def test_a_sale_that_is_deleted_before_we_ask_for_it_is_no_sale(house):
    account = house.account()
    house.carry()
    sale = house.win(account)
    await_that(lambda: InboundKey.objects.filter(verdict="received").exists(), seconds=30, what="told of the sale")
    Caller(house.sandboxes).call("DELETE", f"sobjects/Opportunity/{sale}")
    house.carry()
    assert not BusinessTransaction.objects.filter(flow="order_to_subscription").exists()
    assert house.made("stripe", "subscription") == []
    assert not ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).exists()


def record_of(house, what, customer):
    """Record type and id in NetSuite of what an invoice names."""
    if what == "customer":
        return "customer", house.made("netsuite", "customer")[0]["id"]
    (made,) = house.made("netsuite", "invoice")
    item = Erp(house.sandboxes).read("invoice", made["id"])["item"]["items"][0]["item"]["id"]
    kinds = ("serviceSaleItem", "nonInventorySaleItem")
    return next((kind, item) for kind in kinds if Erp(house.sandboxes).send("GET", f"{kind}/{item}").ok)


@pytest.mark.scenario(34, of="what an invoice names")
@pytest.mark.parametrize("what", ["item", "customer"])
def test_what_goes_inactive_between_mapping_and_post_holds_its_documents_which_post_once_when_it_is_back(house, what):
    customer = house.customer()
    house.invoice(customer)
    house.carry()
    erp, (kind, key) = Erp(house.sandboxes), record_of(house, what, customer)
    assert erp.send("PATCH", f"{kind}/{key}", {"isInactive": True}).status_code == 204
    try:
        for _ in range(3):
            house.invoice(customer)
        house.carry()
        assert house.states("invoice_to_erp") == {"completed": 1, "held": 3}
        assert len(house.made("netsuite", "invoice")) == 1
        (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
        assert (case.occurrences.count(), case.category) == (3, "mapping")
    finally:
        erp.send("PATCH", f"{kind}/{key}", {"isInactive": False})
    by = Person.objects.get(username="controller")
    resolutions.repost(case, by=by, reason="active again")
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 4}
    assert len(house.made("netsuite", "invoice")) == 4
    case.refresh_from_db()
    assert case.state == "resolved"
