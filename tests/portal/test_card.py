"""The money card: where a document stands, and nothing of the customer."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

import pytest
from django.utils import timezone

from tests import factories

pytestmark = pytest.mark.django_db
DUE = dt.datetime(2026, 11, 24, 11, tzinfo=dt.UTC)


@pytest.fixture
def held():
    txn = factories.make_transaction(
        "held", number="INV-123", amount=D("1200.5"), currency="EUR", legal_entity_code="DE01",
        customer_name="Wingtip Toys",
    )  # fmt: skip
    factories.make_case(
        "Wingtip Toys has no tax code", kind="missing_tax_code_mapping", queue="billing_ops", transactions=[txn],
        due_at=DUE, opened_at=timezone.now(),
    )  # fmt: skip
    return txn


def test_it_says_state_problem_owner_and_when_and_nothing_of_the_customer(sign_in, held):
    answer = sign_in("customer_facing").get("/card/?q=INV-123&format=json")
    assert answer.json() == {
        "asked": "INV-123",
        "cards": [{
            "number": "INV-123", "document": "Invoice to ERP", "state": "held", "amount": "1200.50", "currency": "EUR",
            "legal_entity": "DE01", "problem": "Missing tax code mapping", "owner": "Billing operations",
            "expected_at": "2026-11-24T11:00:00Z", "posted_in": "", "posted_as": "",
        }],
    }  # fmt: skip
    page = sign_in("customer_facing").get("/card/?q=INV-123").content.decode()
    assert "INV-123: held, missing tax code mapping" in page
    assert "Wingtip" not in page + answer.content.decode()


def test_a_foreign_entitys_document_is_not_there(sign_in, held):
    page = sign_in("customer_facing", entities=("GB01",)).get("/card/?q=INV-123")
    assert "Nothing of yours carries “INV-123”" in page.content.decode()


def test_whoever_only_looks_documents_up_begins_at_the_card_and_sees_no_other_screen(sign_in):
    browser = sign_in("customer_facing")
    assert browser.get("/")["Location"] == "/card/"
    page = browser.get("/card/").content.decode()
    assert ("Money card" in page, "Exceptions" in page, 'action="/search/"' in page) == (True, False, False)
