"""What hangs together with a case: by document, by journey, by customer; foreign rows are nobody's business."""

import pytest
from django.utils import timezone

from exceptions.models import ExceptionCase, Occurrence
from exceptions.siblings import related_to
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_case_names_others_of_its_document_its_journey_and_its_customer_nearest_first():
    buyer = {"customer_id": "cus_1"}
    held = factories.make_transaction("held", source_id="in_1", **buyer)
    void = factories.make_transaction("held", source_id="in_1", flow="invoice_void_to_erp", **buyer)
    order = factories.make_transaction(
        "completed", source_id="801", source_type="Order", source_connection="salesforce"
    )
    factories.make_link(order, ("salesforce", "Order", "801"), ("stripe", "invoice", "in_1"))
    other = factories.make_transaction("held", source_id="in_2", **buyer)
    factories.make_transaction("held", source_id="in_3", customer_id="cus_2")
    foreign = factories.make_transaction("held", source_id="in_4", legal_entity_code="US01", **buyer)
    case, voided, same_customer = (
        factories.make_case(said, transactions=[txn]) for said, txn in (("A", held), ("B", void), ("C", other))
    )
    factories.make_case("D", transactions=[foreign], legal_entity_code="US01")
    found = related_to(factories.make_person("billing_ops", entities=("GB01",)), case)
    assert found.document == held
    assert [(txn.pk, tie) for txn, tie in found.transactions] == sorted(
        [(void.pk, "same document"), (order.pk, "same journey")]
    )
    assert [(sibling.case, sibling.tie) for sibling in found.cases] == [
        (voided, "same document"), (same_customer, "same customer"),
    ]  # fmt: skip
    ExceptionCase.objects.filter(pk=voided.pk).update(queue="platform")
    assert [s.case for s in related_to(factories.make_person("sales_ops"), case).cases] == []


def test_the_document_that_is_still_open_comes_before_newer_ones_that_are_not():
    still_open, done = (factories.make_transaction("held", source_id=name) for name in ("in_1", "in_2"))
    case = factories.make_case("A", transactions=[still_open, done])
    Occurrence.objects.filter(transaction_id=done.pk).update(closed_at=timezone.now())
    assert related_to(factories.make_person("billing_ops"), case).document == still_open
