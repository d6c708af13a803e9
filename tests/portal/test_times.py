"""Times are the person's: their zone, named; an entity's zone where a period depends on it."""

import datetime as dt

import pytest

from q2c.transactions.models import BusinessTransaction
from tests import factories

pytestmark = pytest.mark.django_db
HALF_PAST_ELEVEN_UTC = dt.datetime(2026, 10, 31, 23, 30, tzinfo=dt.UTC)


@pytest.fixture
def invoice(db):
    """An invoice of the Japanese entity, received at the very end of October in London."""
    factories.make_entity("JP01", time_zone="Asia/Tokyo")
    txn = factories.make_transaction(legal_entity_code="JP01", document_date=dt.date(2026, 11, 1))
    BusinessTransaction.objects.filter(pk=txn.pk).update(created_at=HALF_PAST_ELEVEN_UTC)
    return txn


def test_a_person_chooses_a_zone_and_reads_every_time_in_it(controller, invoice):
    assert "times in UTC" in controller.get("/you/").content.decode()
    said = controller.post("/you/", {"zone": "America/New_York"}, follow=True).content.decode()
    assert "Times are shown as in America/New_York now." in said
    page = controller.get(f"/transactions/{invoice.pk}/").content.decode()
    assert 'datetime="2026-10-31T19:30:00-04:00"' in page
    assert "Sun 1 Nov 2026, 08:30 JST" in page  # the entity's day decides the period


def test_a_zone_that_doesnt_exist_is_refused_by_name_and_changes_nothing(controller):
    answer = controller.post("/you/", {"zone": "Europe/Bärlin"})
    assert answer.status_code == 422
    assert "There’s no time zone called Europe/Bärlin." in answer.content.decode()
    controller.person.refresh_from_db()
    assert controller.person.preferences == {}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/localtime", "Europe/", "x" * 60])
def test_a_zone_is_never_a_path(controller, name):
    assert controller.post("/you/", {"zone": name}).status_code == 422
