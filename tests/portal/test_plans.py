"""What exists of a journey and what can be done: what is known without asking, what goes on, and why not back."""

import pytest

from mappings.models import CrossReference
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_held_invoice_shows_what_it_lacks_and_that_nothing_is_taken_back(sign_in):
    txn = factories.make_transaction("held", number="INV-7")
    case = factories.make_case(transactions=[txn])
    page = sign_in("controller").get(f"/transactions/{txn.pk}/plans/").content.decode()
    assert "INV-7 isn’t posted, so there’s nothing to take back" in page
    assert f'href="/exceptions/cases/{case.pk}/">Invoice INV-7</a>' in page
    assert "no system was asked" in page


def test_what_went_to_the_ledger_in_a_summary_is_corrected_in_billing(sign_in):
    txn = factories.make_transaction("completed", number="INV-8", target_connection="netsuite")
    CrossReference.objects.create(
        record_type="invoice", record_key=f"stripe:invoice:{txn.source_id}", at=txn.created_at,
        connection=factories.make_connection("netsuite"), external_type="in_summary", external_id="1",
    )  # fmt: skip
    page = sign_in("billing_ops").get(f"/transactions/{txn.pk}/plans/").content.decode()
    assert "Correct it by a credit note and an invoice in billing" in page
    assert "Propose it" not in page


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        ("payout_to_erp", "Where the bank sends it back, billing says so"),
        ("dispute_to_erp", "When its money comes back, billing says so"),
        ("refund_to_erp", "Where it fails, billing says so"),
        ("summary_to_erp", "Correct its documents in billing"),
        ("accrual_to_erp", "the ERP takes it back by itself"),
        ("payment_to_erp", "open one of them in the table"),
    ],
)
def test_what_has_no_plan_of_its_own_says_what_takes_it_back(sign_in, flow, says):
    txn = factories.make_transaction("completed", flow=flow, target_connection="netsuite")
    page = sign_in("controller").get(f"/transactions/{txn.pk}/plans/").content.decode()
    assert says in page
    assert "Propose it" not in page


def test_a_plan_of_a_foreign_entity_is_not_found_and_one_without_a_way_back_is_refused(sign_in):
    txn = factories.make_transaction("held", legal_entity_code="US01")
    assert sign_in("billing_ops", entities=("GB01",)).get(f"/transactions/{txn.pk}/plans/").status_code == 404
    asked = {"again": "yes", "why": "Booked to the wrong item"}
    refused = sign_in("billing_ops").post(f"/transactions/{txn.pk}/plans/propose/", asked)
    assert (refused.status_code, "isn’t posted" in refused.content.decode()) == (422, True)
    assert sign_in("auditor").post(f"/transactions/{txn.pk}/plans/propose/", asked).status_code == 403


def test_an_order_that_billing_refused_shows_what_holds_it_and_that_nothing_is_there_to_end(sign_in):
    order = factories.make_transaction(
        "held", flow="order_to_subscription", source_type="Opportunity", source_connection="salesforce", number="Q-7"
    )
    case = factories.make_case(transactions=[order])
    page = sign_in("controller").get(f"/transactions/{order.pk}/plans/").content.decode()
    assert "Q-7 has nothing to take back in billing" in page
    assert "mark the sale in the CRM" in page
    assert f'href="/exceptions/cases/{case.pk}/">' in page


@pytest.mark.parametrize("flow", ["invoice_to_erp", "payout_to_erp", "order_to_subscription"])
def test_a_role_for_some_kinds_of_case_proposes_no_plan_over_what_is_posted(sign_in, flow):
    views = ["portal.view_home", "transactions.view_transaction", "exceptions.view_case"]
    factories.make_custom_role(
        "tax_desk", "tess", permissions=[*views, "transactions.repost"], kinds=["missing_tax_code_mapping"]
    )
    factories.make_person("controller", username="cora")
    txn = factories.make_transaction("completed", flow=flow, target_connection="netsuite")
    answer = sign_in("", username="tess").post(
        f"/transactions/{txn.pk}/plans/propose/", {"again": "no", "why": "Booked to the wrong item"}
    )
    assert answer.status_code == 422
    assert "None of your roles does this for GB01" in answer.content.decode()
    instead = {person.username for person in answer.context["proposers"]}
    assert (answer.context["may_propose"], {"cora", "tess"} & instead) == (False, {"cora"})
