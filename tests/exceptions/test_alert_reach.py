"""Nobody is told by an alert of other people's cases: neither which, nor how many, nor where."""

from __future__ import annotations

import pytest
from django.core import mail
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import clocks
from exceptions.alerts import grouping, messages, planning, sending, telling
from exceptions.models import AlertDelivery, AlertGroup, ExceptionCase
from q2c.core.models import Membership
from tests.exceptions.test_alerts import calm, channel, room, storm, subscribe  # noqa: F401 - fixtures
from tests.factories import make_alert, make_person

pytestmark = pytest.mark.django_db
BILLING, PLATFORM = "billing_ops", "platform"
# Who reads, and what of it they may know: how many, and where.
READERS = [
    ("billing_ops", ("GB01",), 0, ""),  # works that queue in GB01, where another queue has the cases
    ("billing_ops", ("DE01",), 3, "queue Billing operations · system netsuite · Invoice to ERP · DE01"),
    ("billing_ops", (), 3, "queue Billing operations · system netsuite · Invoice to ERP · DE01"),
    ("platform", ("GB01",), 2, "queue Platform · system netsuite · Invoice to ERP · GB01"),
    ("auditor", (), 5, "queue Billing operations, Platform · system netsuite · Invoice to ERP · DE01, GB01"),
    ("auditor", ("DE01",), 3, "queue Billing operations · system netsuite · Invoice to ERP · DE01"),
]


def two_queues():
    """Three cases of billing operations in DE01 and two of the platform in GB01, which fail alike."""
    rows = storm(3, legal_entity_code="DE01") + storm(2, first=3)
    ExceptionCase.objects.filter(legal_entity_code="DE01").update(queue=BILLING)
    ExceptionCase.objects.filter(legal_entity_code="GB01").update(queue=PLATFORM)
    return rows


def told():
    """Of the mails the subject without the product, and where it says the cases are."""
    return [(m.subject.partition(": ")[2], m.body.splitlines()[1].partition(" · ")[2]) for m in mail.outbox]


@pytest.mark.parametrize(("role", "entities", "count", "place"), READERS)
def test_a_person_is_told_of_the_cases_that_one_of_their_roles_shows_and_of_no_others(role, entities, count, place):
    subscribe(make_person(role, entities=entities, email="a@example.test"))
    rows = two_queues()
    telling.tell()
    calm(rows)
    telling.tell()
    expected = [
        (f"Outcome unknown: {count} cases opened.", place),
        (f"Over: Outcome unknown. {count} cases of it are closed.", place),
    ]
    assert told() == (expected if count else [])


@pytest.mark.parametrize(("role", "entities", "count", "place"), READERS)
def test_the_page_of_alerts_shows_each_person_their_own(client, role, entities, count, place):
    two_queues()
    grouping.take_opened()
    client.force_login(make_person(role, entities=entities))
    context = client.get("/exceptions/alerts/").context
    found = [(alert.title, alert.place.partition(" · ")[2]) for alert in context["alerts"]]
    assert found == ([(f"Outcome unknown: {count} cases opened.", place)] if count else [])
    assert context["running_count"] == len(found)


def test_a_room_is_told_of_what_it_was_agreed_to_be_told_of(room, channel):  # noqa: F811
    channel.alerts.entities = ["DE01"]
    channel.alerts.save()
    two_queues()
    telling.tell()
    assert room.texts == ["Outcome unknown: 3 cases opened."]
    assert "GB01" not in str(room.got)
    assert PLATFORM not in str(room.got)


def test_whose_role_ended_before_it_was_sent_is_told_nothing():
    anna = make_person("billing_ops", email="a@example.test")
    subscribe(anna)
    two_queues()
    grouping.take_opened()
    planning.plan()
    Membership.objects.filter(person=anna).update(ended_at=timezone.now())
    assert sending.send_due() == 0
    assert (mail.outbox, AlertDelivery.objects.get().state) == ([], "dropped")


def test_a_broken_promise_is_told_to_who_leads_that_queue_in_that_entity():
    make_person("mapping_admin", entities=("GB01",), email="gb@example.test")
    make_person("mapping_admin", entities=("DE01",), email="de@example.test")
    make_person("platform", entities=("DE01",), email="no@example.test")
    two_queues()
    now = timezone.now()
    ExceptionCase.objects.update(due_at=now, turns_at=now, is_told=True)
    with atomic():
        clocks.note_standing()
    telling.tell()
    assert [(m.to, m.subject.partition(": ")[2]) for m in mail.outbox] == [
        (["de@example.test"], "Late: Outcome unknown. The promise of 3 cases is broken.")
    ]


def test_what_grows_is_counted_where_it_grows():
    two_queues()
    grouping.take_opened()
    storm(2, first=5, legal_entity_code="DE01")
    ExceptionCase.objects.filter(is_told=False).update(queue=BILLING, severity=1)
    grouping.take_opened()
    group = AlertGroup.objects.get()
    assert [(p["queue"], p["entity"], p["count"]) for p in group.parts] == [(BILLING, "DE01", 5), (PLATFORM, "GB01", 2)]
    assert (group.parts[0]["severity"], group.case_count) == (1, 7)


@pytest.mark.parametrize(
    ("role", "entities", "says"),
    [("billing_ops", ("DE01",), "Outcome unknown: cases opened."), ("auditor", (), "Outcome unknown: 5 cases opened.")],
)
def test_of_an_alert_of_the_last_release_a_part_says_no_number(client, role, entities, says):
    make_alert("outcome_unknown", queues=[BILLING, PLATFORM], entities=["DE01", "GB01"], case_count=5)
    client.force_login(make_person(role, entities=entities))
    assert [alert.title for alert in client.get("/exceptions/alerts/").context["alerts"]] == [says]
    over = messages.title_of(AlertGroup.objects.get(), "all_clear", [])
    assert over == "Over: Outcome unknown. 0 cases of it are closed."
