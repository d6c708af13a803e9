"""One invoice through the house: signed webhook, customer, posting, read-back; faults at the ERP decide by look-up."""

from __future__ import annotations

from collections import Counter

import pytest

from mappings.models import CrossReference
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.scenes import SCENES

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_invoice_of_a_new_customer_is_in_the_erp_once(house):
    invoice = house.invoice(house.customer())
    house.carry()
    assert house.states() == {"completed": 2}
    assert [len(house.made("netsuite", t)) for t in ("customer", "invoice")] == [1, 1]
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp")
    assert txn.target_number
    assert txn.legal_entity_code == "GB01"
    assert (
        CrossReference.objects.get(record_type="invoice", record_key=f"stripe:invoice:{invoice}").external_id
        == txn.target_id
    )
    assert LineageLink.objects.filter(source_id=invoice, target_id=txn.target_id).count() == 1


@pytest.mark.scenario(1)
def test_a_lost_answer_is_unknown_until_a_look_up_finds_the_invoice(house):
    customer = house.customer()
    house.carry()
    house.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice", "times": 1})
    house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"unknown": 1})
    house.hasten()
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1
    assert SCENES["invoice_to_erp"].arrived(house) == Counter(done=1)


def test_a_sku_without_item_is_held_with_one_case(house):
    house.invoice(house.customer(), sku="NO-SUCH-SKU")
    house.carry()
    assert house.held() == ["missing_item_mapping"]
    assert house.made("netsuite", "invoice") == []


@pytest.mark.scenario(50)
def test_a_page_of_html_with_status_200_is_no_success(house):
    customer = house.customer()
    house.carry()
    house.fault("netsuite", "html_200", when={"method": "POST", "path": "*/invoice", "times": 1})
    house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"unknown": 1})
    house.hasten()
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1
