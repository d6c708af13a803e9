"""What other rooms ask of transactions."""

from __future__ import annotations

import pytest

from q2c.transactions.selectors import entity_of_invoice, held_sources
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_document_is_held_by_its_own_flow_and_not_by_a_note_about_it():
    factories.make_transaction("completed", source_id="in_1")
    factories.make_transaction("held", source_id="in_1", flow="hold_to_source", lane="hold:stripe:invoice:in_1")
    factories.make_transaction("held", source_id="in_2")
    factories.make_transaction("held", source_id="cn_3", flow="credit_memo_to_erp")
    assert held_sources(["in_1", "in_2", "cn_3", "in_4"]) == {("stripe", "in_2"), ("stripe", "cn_3")}


def test_an_invoice_is_of_the_entity_of_its_latest_version():
    factories.make_transaction("cancelled", source_id="in_1", legal_entity_code="")
    factories.make_transaction("held", source_id="in_1", legal_entity_code="DE01", lane_sequence=2, number="B")
    assert (entity_of_invoice("stripe", "in_1"), entity_of_invoice("stripe", "in_2")) == ("DE01", "")
