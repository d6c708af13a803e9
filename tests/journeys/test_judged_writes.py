"""What chaos finds of our writes at billing and in the CRM: nothing of a day as it is, and each thing that is wrong."""

from __future__ import annotations

import pytest

from connectors.sandbox.remote import ControlDoor
from exceptions import resolutions, writeback
from mappings.models import CrossReference
from q2c.core.ids import write_key
from tests.chaos.verdict import Verdict
from tests.chaos.written import judge_writes
from tests.journeys.vendors.stripe import PLAYER as STRIPE

pytestmark = pytest.mark.django_db(transaction=True)
KEY = write_key(business_key="another", flow="order_to_subscription", step="save_customer", generation=0)


def tell(house):
    resolutions.make_way(also_sent_back=False)
    writeback.tell_sources()
    house.carry()


def findings(house):
    verdict = Verdict()
    logs = {vendor: house.sandboxes.log(vendor, after=house.marks[vendor]) for vendor in ("stripe", "salesforce")}
    counts = judge_writes(verdict.say, ControlDoor(house.sandboxes.port), logs)
    return {finding.what: len(finding.ids) for finding in verdict.findings}, counts


def test_a_day_with_sales_notes_and_a_status_has_none_and_each_wrong_write_is_named(house):
    account = house.account()
    sold, differs = house.win(account), house.win(account, price="1.50")
    customer = house.customer()
    house.carry()
    invoice = house.invoice(customer, sku="NO-SUCH-SKU")
    house.carry()
    tell(house)
    assert (house.states("order_to_subscription"), sorted(house.held())) == (
        {"completed": 1, "held": 1}, ["missing_item_mapping", "price_differs"],
    )  # fmt: skip
    made = {e["document_type"]: e["id"] for e in house.made("stripe") if (e["idempotency_key"] or "").startswith("q2c")}
    assert {"customer", "subscription"} <= made.keys() <= {"customer", "subscription", "product", "price"}
    # A note each on the invoice and a deal, a status on the other deal; the product and its price are made once a day.
    clean = ({}, {"documents that billing made for us": len(made), "records that we changed at their source": 3})
    assert findings(house) == clean
    house.void(invoice)  # its note is taken away: the same record, changed twice
    house.carry()
    tell(house)
    assert findings(house) == clean

    reference = CrossReference.objects.get(external_id=made["subscription"])
    assert reference.record_key == f"salesforce:Opportunity:{sold}"
    CrossReference.objects.filter(pk=reference.pk).update(external_id="sub_none")
    assert findings(house)[0] == {"at billing without a cross-reference": 1}
    CrossReference.objects.filter(pk=reference.pk).update(external_id=made["subscription"])

    crm = STRIPE.ask(house, f"customers/{made['customer']}")["metadata"]
    fields = {f"metadata[{name}]": value for name, value in crm.items()}
    second = house.sandboxes.session.post(
        f"{house.sandboxes.vendor('stripe')['url']}/v1/customers", data=fields, timeout=30,
        headers={**STRIPE._key(house), "Idempotency-Key": KEY},
    ).json()["id"]  # fmt: skip
    assert second != made["customer"]
    assert findings(house)[0] == {
        "doubled at billing": 1, "at billing without lineage": 1, "at billing without a cross-reference": 1,
    }  # fmt: skip
    house.make("salesforce", "Opportunity", [{"Id": differs, "Q2C_Hold__c": None}])
    house.make("salesforce", "Opportunity", [{"Id": sold, "Q2C_Status__c": "draft"}])
    assert findings(house)[0]["shown at a vendor otherwise than it was told last"] == 2
