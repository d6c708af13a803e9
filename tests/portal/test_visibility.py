"""A person of one entity sees nothing of another: not in lists, details, cases, search, lineage, counts or totals."""

from decimal import Decimal

import pytest

from q2c.transactions.models import WorkItem
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def two_entities(db):
    factories.make_entity("GB01")
    factories.make_entity("US01")
    mine = factories.make_transaction("held", number="INV-MINE", source_id="in_mine", amount=Decimal("10"))
    other = factories.make_transaction(
        "held",
        number="INV-OTHER",
        source_id="in_other",
        legal_entity_code="US01",
        currency="USD",
        amount=Decimal("77.77"),
    )
    return mine, other


def test_a_foreign_transaction_is_not_found_and_not_listed(sign_in, two_entities):
    mine, other = two_entities
    client = sign_in("billing_ops", entities=("GB01",))
    assert client.get(f"/transactions/{other.pk}/").status_code == 404
    assert client.get(f"/transactions/{mine.pk}/").status_code == 200
    page = client.get("/transactions/").content.decode()
    assert "INV-MINE" in page
    assert "INV-OTHER" not in page
    assert "<h1>1 transaction is held</h1>" in page


def test_a_row_without_an_entity_is_for_people_of_all_entities(sign_in, db):
    factories.make_entity("GB01")
    txn = factories.make_transaction(legal_entity_code="")
    assert sign_in("auditor").get(f"/transactions/{txn.pk}/").status_code == 200
    assert sign_in("auditor", entities=("GB01",)).get(f"/transactions/{txn.pk}/").status_code == 404


def test_a_case_of_two_entities_counts_only_the_documents_one_may_see(sign_in, two_entities):
    mine, other = two_entities
    case = factories.make_case("No item in several entities", transactions=[mine, other], legal_entity_code="")
    page = sign_in("billing_ops", entities=("GB01",)).get(f"/exceptions/cases/{case.pk}/")
    assert page.context["total"].document_count == 1
    assert page.context["total"].money == [("GBP", Decimal("10.000000"))]
    assert "77.77" not in page.content.decode()
    assert "INV-OTHER" not in page.content.decode()
    whole = sign_in("billing_ops").get(f"/exceptions/cases/{case.pk}/")
    assert whole.context["total"].money == [("USD", Decimal("77.770000")), ("GBP", Decimal("10.000000"))]


def test_a_case_of_another_queue_is_not_found(sign_in, db):
    case = factories.make_case(queue="platform")
    assert sign_in("billing_ops").get(f"/exceptions/cases/{case.pk}/").status_code == 404
    assert sign_in("platform").get(f"/exceptions/cases/{case.pk}/").status_code == 200
    assert sign_in("auditor").get(f"/exceptions/cases/{case.pk}/").status_code == 200


def test_a_person_with_one_role_per_entity_sees_each_entitys_queue_only(sign_in, db):
    client = sign_in("billing_ops", entities=("GB01",))
    factories.make_person("platform", username=client.person.username, entities=("US01",))
    gb_billing = factories.make_case(queue="billing_ops", legal_entity_code="GB01")
    gb_platform = factories.make_case(queue="platform", legal_entity_code="GB01")
    us_platform = factories.make_case(queue="platform", legal_entity_code="US01")
    listed = {case.pk for case in client.get("/exceptions/cases/").context["cases"]}
    assert listed == {gb_billing.pk, us_platform.pk}
    assert client.get(f"/exceptions/cases/{gb_platform.pk}/").status_code == 404


def test_search_finds_nothing_foreign(sign_in, two_entities):
    client = sign_in("billing_ops", entities=("GB01",))
    for text in ("INV-OTHER", "in_other", str(two_entities[1].pk), two_entities[1].correlation_id):
        assert client.get("/search/", {"q": text}).context["hits"] == []
    assert client.get("/search/", {"q": "INV-MINE"})["Location"] == f"/transactions/{two_entities[0].pk}/"


def test_search_finds_no_change_set_of_a_foreign_entity(sign_in):
    client = sign_in("mapping_admin", entities=("GB01",))
    foreign, own = factories.make_change_set("Theirs"), factories.make_change_set("Ours")
    foreign.lines.update(legal_entity_code="JP01")
    own.lines.update(legal_entity_code="GB01")
    assert client.get("/search/", {"q": f"CS-{foreign.pk}"}).context["hits"] == []
    assert client.get("/search/", {"q": f"CS-{own.pk}"})["Location"] == f"/mappings/change-sets/{own.pk}/"


def test_a_foreign_node_shows_neither_id_nor_amount(sign_in, two_entities):
    mine, other = two_entities
    order = ("salesforce", "Order", "8018d00000QbXyzAAG")
    factories.make_link(mine, order, ("stripe", "invoice", "in_mine"))
    factories.make_link(other, order, ("stripe", "invoice", "in_other"))
    factories.make_link(other, ("stripe", "invoice", "in_other"), ("netsuite", "invoice", "999777"))
    page = sign_in("billing_ops", entities=("GB01",)).get("/lineage/?id=in_mine").content.decode()
    assert "8018d00000QbXyzAAG" in page
    for secret in ("in_other", "INV-OTHER", "999777", "77.77", str(other.pk)):
        assert secret not in page
    assert page.count("another entity’s") == 2
    whole = sign_in("auditor").get("/lineage/?id=in_mine").content.decode()
    assert "999777" in whole
    assert "77.77" in whole


def test_a_foreign_document_is_answered_as_one_that_nobody_knows(sign_in, two_entities):
    mine, other = two_entities
    factories.make_link(other, ("stripe", "invoice", "in_other"), ("netsuite", "invoice", "999777"))
    factories.make_link(other, ("stripe", "charge", "ch_other"), ("stripe", "payout", "po_shared"))
    factories.make_link(mine, ("stripe", "charge", "ch_mine"), ("stripe", "payout", "po_shared"))
    client = sign_in("billing_ops", entities=("GB01",))
    for system, kind, known, unknown in (("stripe", "invoice", "in_other", "in_never"),
                                         ("netsuite", "invoice", "999777", "999778"),
                                         ("stripe", "charge", "ch_other", "ch_never")):  # fmt: skip
        found, missed = (client.get(f"/lineage/?system={system}&type={kind}&id={i}") for i in (known, unknown))
        assert found.status_code == missed.status_code == 200
        assert found.context["graph"].boxes == missed.context["graph"].boxes == []
        assert len(found.content) == len(missed.content)
    assert len(client.get("/lineage/?system=stripe&type=charge&id=ch_mine").context["graph"].boxes) == 2


def test_home_counts_the_backlog_of_the_persons_entities_only(sign_in, two_entities):
    for txn in two_entities:
        WorkItem.objects.create(
            transaction=txn, flow=txn.flow, lane=txn.lane, lane_sequence=1, available_at=txn.created_at
        )
    assert sign_in("billing_ops", entities=("GB01",)).get("/").context["backlog"] == 1
    assert sign_in("billing_ops").get("/").context["backlog"] == 2


def test_a_journey_of_foreign_documents_only_is_empty(sign_in, two_entities):
    factories.make_link(two_entities[1], ("stripe", "invoice", "in_other"), ("netsuite", "invoice", "999777"))
    client = sign_in("billing_ops", entities=("GB01",))
    for query in ("id=in_other", "system=stripe&type=invoice&id=in_other", f"transaction={two_entities[1].pk}"):
        response = client.get(f"/lineage/?{query}")
        assert response.status_code == 404 or "999777" not in response.content.decode()
