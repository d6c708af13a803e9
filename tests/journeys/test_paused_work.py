"""An entity's invoices are paused: they wait, others go on, and the ERP's log shows each once, in the order it came."""

from __future__ import annotations

import pytest

from connectors.models import Connection
from q2c.flows import pausing
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.journeys.house import forget_everything

pytestmark = pytest.mark.django_db(transaction=True)


def test_paused_invoices_wait_and_catch_up_in_order_and_once(house):
    customer = house.customer()
    Connection.objects.filter(code="netsuite").update(at_once=1)  # side by side they may overtake each other
    forget_everything()
    house.carry()
    operator = factories.make_person("platform")
    pause = pausing.pause_work(by=operator, reason="Tax codes", legal_entity="GB01", object_type="invoice")
    came = []
    for _ in range(3):
        came.append(house.invoice(customer))
        house.carry()
    assert house.made("netsuite", "invoice") == []
    assert len(house.made("netsuite", "customer")) == 1  # its flow isn't paused
    assert house.states("invoice_to_erp") == {"waiting": 3}
    assert set(BusinessTransaction.objects.filter(flow="invoice_to_erp").values_list("waits_for", flat=True)) == {
        "the end of a pause of GB01: Tax codes"
    }
    pausing.resume_work(pause, by=operator, reason="Mended")
    pausing.catch_up()
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 3}
    posted = [entry["id"] for entry in house.made("netsuite", "invoice")]
    ids = dict(BusinessTransaction.objects.filter(flow="invoice_to_erp").values_list("source_id", "target_id"))
    assert posted == [ids[source] for source in came]
