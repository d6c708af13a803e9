"""Journeys of documents: what hangs together, drawn without overlaps; and one box that finds any id of any system."""

import pytest

from q2c.portal.graph import BOX_HEIGHT, BOX_WIDTH
from q2c.transactions.models import BusinessTransaction
from tests import factories

pytestmark = pytest.mark.django_db
ORDER = ("salesforce", "Opportunity", "0065g00000XYZABAA5")


def sold(number):
    """An order, its subscription, invoice, AR invoice, payment and receipt, all numbered so."""
    txn = factories.make_transaction(number=f"INV-{number}", source_id=f"in_{number}", target_id=f"9{number}")
    paid = factories.make_transaction(number=f"ch_{number}", source_id=f"pi_{number}", target_id=f"8{number}")
    order = (*ORDER[:2], f"{ORDER[2][:-1]}{number}")
    subscription, invoice = ("stripe", "subscription", f"sub_{number}"), ("stripe", "invoice", f"in_{number}")
    payment, receipt = ("stripe", "payment", f"pi_{number}"), ("netsuite", "receipt", f"8{number}")
    factories.make_link(txn, order, subscription)
    factories.make_link(txn, subscription, invoice, relation="billed")
    factories.make_link(txn, invoice, ("netsuite", "ar_invoice", f"9{number}"))
    factories.make_link(paid, invoice, payment, relation="paid by")
    factories.make_link(paid, payment, receipt)
    factories.make_link(paid, receipt, ("netsuite", "ar_invoice", f"9{number}"), relation="settles")
    return payment


@pytest.fixture
def payout(db):
    """A payout of two payments, each of an order of its own."""
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    txn = factories.make_transaction(flow="payout_to_erp", number="", source_id="po_1", target_id="7001")
    for number in (1, 2):
        factories.make_link(txn, sold(number), ("stripe", "payout", "po_1"), relation="paid out by")
    factories.make_link(txn, ("stripe", "payout", "po_1"), ("netsuite", "journal", "7001"))
    return txn


def ids(response):
    return {box.id for box in response.context["graph"].boxes}


def test_a_payments_journey_leads_on_to_its_payout_but_not_into_other_journeys(controller, payout):
    found = ids(controller.get("/lineage/?system=stripe&type=payment&id=pi_1"))
    assert found == {"0065g00000XYZABAA1", "sub_1", "in_1", "91", "pi_1", "81", "po_1", "7001"}


def test_a_payout_gathers_all_that_it_pays_out(controller, payout):
    found = ids(controller.get(f"/lineage/?transaction={payout.pk}"))
    assert found >= {"pi_1", "pi_2", "in_1", "in_2", "po_1", "7001"}


def test_a_transaction_that_only_ties_documents_shows_their_journey(controller, payout):
    tied = factories.make_transaction(flow="application_to_erp", source_type="invoice_payment", source_id="inpay_1")
    factories.make_link(tied, ("stripe", "invoice", "in_1"), ("stripe", "payment", "pi_1"), relation="paid by")
    assert {"in_1", "pi_1", "po_1"} <= ids(controller.get(f"/lineage/?transaction={tied.pk}"))


def test_no_box_lies_on_another_and_no_arrow_runs_into_a_box_that_it_doesnt_mean(controller, payout):
    graph = controller.get(f"/lineage/?transaction={payout.pk}").context["graph"]
    places = {(box.x, box.y) for box in graph.boxes}
    assert len(places) == len(graph.boxes)
    assert all(box.x + BOX_WIDTH <= graph.width and box.y + BOX_HEIGHT <= graph.height for box in graph.boxes)
    far = next(hop for hop in graph.hops if hop.relation == "paid out by" and hop.target.column > hop.source.column)
    assert far.path.startswith(f"M{far.source.x + BOX_WIDTH} ")
    settles = next(hop for hop in graph.hops if hop.relation == "settles")
    assert settles.target.column < settles.source.column  # it ties what is there; it makes nothing later


@pytest.mark.parametrize(
    "asked",
    ["INV-1", "in_1", "pi_1", "ch_1", "91", "81", "sub_1", "0065g00000XYZAB", "0065g00000XYZABAA1", "{id}", "{corr}"],
)
def test_one_box_finds_any_id_or_number_of_any_system(controller, payout, asked):
    txn = BusinessTransaction.objects.get(source_id="in_1")
    if asked == ORDER[2][:15]:  # the same id as its 18 characters
        factories.make_link(txn, ORDER, ("stripe", "subscription", "sub_x"))
    found = controller.get("/search/", {"q": asked.format(id=txn.pk, corr=txn.correlation_id)})
    assert found.status_code == 302 or found.context["hits"]


def test_what_is_found_is_told_in_words(controller, payout):
    hits = controller.get("/search/", {"q": "81"}).context["hits"] or []
    page = controller.get("/search/", {"q": "in_1"}).content.decode()
    assert {hit.kind for hit in hits} >= {"Receipt in NetSuite"}
    assert "Invoice in Stripe" in page
