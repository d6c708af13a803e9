"""One box for any id: the vendor's own id of a message, our own numbers, a bill run's name; each only for who may."""

import uuid

import pytest

from connectors.salesforce.ids import full_id
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(controller):
    """Whatever people call by a number or a name: what is typed, and the page that it opens."""
    message = factories.make_message()
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    change_set = factories.make_change_set()
    run = factories.make_bill_run("BR-00042", is_named=True)
    backfill = factories.make_backfill(controller.person)
    bulk = factories.make_bulk(controller.person, case)
    hold = factories.make_hold()
    return {
        message.dedupe_key: f"/inbox/{message.event_id}/",
        str(message.event_id): f"/inbox/{message.event_id}/",
        f"ex-{case.pk}": f"/exceptions/cases/{case.pk}/",
        f"CS{change_set.pk}": f"/mappings/change-sets/{change_set.pk}/",
        "BR-00042": f"/bill-runs/{run.pk}/",
        f"BF-{backfill.pk}": f"/backfills/{backfill.pk}/",
        f"BA-{bulk.pk}": f"/exceptions/bulk/{bulk.pk}/",
        f"lh-{hold.pk}": f"/keeping/holds/{hold.pk}/",
    }


def test_what_is_typed_opens_the_one_thing_that_is_called_so(controller, shown):
    opened = {typed: controller.get("/search/", {"q": typed}).headers.get("Location") for typed in shown}
    assert opened == shown


def test_people_of_another_entity_find_none_of_it(sign_in, shown):
    factories.make_entity("US01")
    stranger = sign_in("controller", entities=["US01"], username="stranger")
    shared = {typed for typed in shown if typed.upper().startswith(("CS", "BF"))}  # of no entity
    for typed in set(shown) - shared:
        answer = stranger.get("/search/", {"q": typed})
        assert (answer.status_code, answer.context["hits"]) == (200, []), typed


def test_a_number_of_nothing_finds_nothing(controller, shown):
    for typed in ("EX-99999999", "LH-99999999", "ZZ-1", "evt_nothing"):
        assert controller.get("/search/", {"q": typed}).context["hits"] == [], typed


def test_the_inbox_is_asked_for_the_vendors_own_id_of_a_message(controller):
    asked, _other = factories.make_message(), factories.make_message()
    page = controller.get("/inbox/", {"message_id": f" {asked.dedupe_key} "})
    assert [row.event_id for row in page.context["page"].rows] == [asked.event_id]


NOTIFICATION = full_id("04l7R00000ABcDe")
OF_A_VENDOR = str(uuid.UUID(int=7))


@pytest.mark.parametrize(
    ("vendor", "kept_under", "typed"),
    [
        ("stripe", "evt_1Q", "evt_1Q"),
        ("salesforce", f"om:{NOTIFICATION}", NOTIFICATION),
        ("salesforce", f"om:{NOTIFICATION}", NOTIFICATION[:15]),
        ("salesforce", f"om:{NOTIFICATION}", f"om:{NOTIFICATION}"),
        ("salesforce", "om:otherwise", "otherwise"),
        ("netsuite", OF_A_VENDOR, OF_A_VENDOR),
    ],
)
def test_a_message_is_found_by_its_vendors_id_of_it_however_that_is_kept(controller, vendor, kept_under, typed):
    asked = factories.make_message(connection=vendor, source_id=kept_under)
    factories.make_message(connection=vendor)
    assert controller.get("/search/", {"q": typed}).headers.get("Location") == f"/inbox/{asked.event_id}/"
    page = controller.get("/inbox/", {"message_id": typed})
    assert [row.event_id for row in page.context["page"].rows] == [asked.event_id]
