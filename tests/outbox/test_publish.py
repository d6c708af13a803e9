"""What we tell others exists exactly when the fact does."""

import pytest
from django.db import transaction

from q2c.core.ids import uuid7
from q2c.outbox.models import OutboxEvent
from q2c.outbox.publish import Announcement, publish


@pytest.mark.django_db
def test_announcements_are_stored_in_order_with_their_data():
    about = uuid7()
    publish(
        Announcement("invoice.posted", "stripe:invoice:in_1", {"n": n, "amount": "1.50"}, about, "GB01", "c-1")
        for n in range(3)
    )
    rows = list(OutboxEvent.objects.order_by("id"))
    assert [r.data for r in rows] == [{"n": n, "amount": "1.50"} for n in range(3)]
    assert (rows[0].subject, rows[0].transaction_id, rows[0].legal_entity_code) == (
        "stripe:invoice:in_1",
        about,
        "GB01",
    )


@pytest.mark.django_db(transaction=True)
def test_an_announcement_goes_with_its_fact():
    with transaction.atomic():
        publish([Announcement("invoice.posted", "x")])
        transaction.set_rollback(True)
    assert not OutboxEvent.objects.exists()
