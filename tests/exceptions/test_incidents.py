"""What a program began with any message is ended for it: by its key, also when it was off or joined late."""

from __future__ import annotations

import pytest
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import clocks
from exceptions.alerts import again, channels, planning
from exceptions.kind_words import HIGH, MEDIUM
from exceptions.models import AlertDelivery, AlertGroup, ExceptionCase
from exceptions.tasks import tell_people
from tests.exceptions.test_alerts import agree, calm, propose, storm
from tests.exceptions.test_webhooks import PAGE, clock, make_webhook, receiver, webhook  # noqa: F401 - fixtures
from tests.factories import make_alert, make_channel, make_message_to, make_person

pytestmark = pytest.mark.django_db
RAISED, LATE, RESOLVED = "exception.raised", "exception.late", "exception.resolved"


def break_promises(**which) -> None:
    now = timezone.now()
    ExceptionCase.objects.filter(**which).update(due_at=now, turns_at=now)
    with atomic():
        clocks.note_standing()
    tell_people()


def end(rows) -> None:
    calm(rows)
    tell_people()


def told(receiver) -> list[str]:  # noqa: F811
    """What it was told of the storm: that a channel takes nothing is a case as well, which it may hear of."""
    found = [got.message for got in receiver.got]
    return [message["type"] for message in found if message["data"]["kind"] == "outcome_unknown"]


def test_who_was_told_first_that_it_is_late_is_told_that_it_is_over(receiver, clock):  # noqa: F811
    rows = storm(1)
    tell_people()
    make_webhook(receiver)  # approved at noon
    break_promises()
    assert receiver.types == [LATE]
    end(rows)
    assert receiver.types == [LATE, RESOLVED]
    assert len({got.message["data"]["key"] for got in receiver.got}) == 1
    end([])
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    ("asked", "opened", "later"),
    [
        ({"severity": HIGH}, {"severity": MEDIUM}, {"severity": HIGH}),
        ({"queues": ["platform"]}, {"queue": "billing_ops"}, {"queue": "platform"}),
    ],
)
def test_who_was_concerned_only_when_it_was_late_is_told_that_it_is_over(
    receiver, webhook, clock, asked, opened, later  # noqa: F811
):  # fmt: skip
    type(webhook.alerts).objects.update(**asked)
    rows = storm(1)
    ExceptionCase.objects.update(**opened)
    tell_people()
    assert receiver.types == []
    ExceptionCase.objects.update(**later)
    break_promises()
    end(rows)
    assert receiver.types == [LATE, RESOLVED]
    places = receiver.got[1].message["data"]["places"]
    assert not asked.get("queues") or [place["queue"] for place in places] == asked["queues"]


def test_what_is_late_and_over_ends_nothing_while_another_case_of_it_is_open(receiver, webhook, clock):  # noqa: F811
    first = storm(1)
    tell_people()
    clock(minutes=30)
    second = storm(1, first=1)
    tell_people()
    break_promises(summary__contains="1")
    end(second)
    assert AlertGroup.objects.filter(about="breached", over_at=None).count() == 0
    assert receiver.types == [RAISED, LATE]
    end(first)
    assert receiver.types == [RAISED, LATE, RESOLVED]


@pytest.mark.parametrize(
    ("is_told", "is_over", "hears"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_program_that_is_switched_on_hears_what_ended_meanwhile_if_it_knew_of_it(
    receiver, webhook, clock, client, is_told, is_over, hears  # noqa: F811
):  # fmt: skip
    rows = storm(1) if is_told else []
    tell_people()
    channels.switch_off(webhook, "failing")
    rows = rows or storm(1)
    tell_people()
    if is_over:
        end(rows)
    client.force_login(make_person("platform"))
    agree(propose(client, f"{PAGE}{webhook.pk}/", sort="webhook", name="Incidents", **{"told-severity": "4"}))
    tell_people()
    assert told(receiver) == [RAISED] * is_told + [RESOLVED] * hears
    end(rows)
    assert told(receiver) == [RAISED] * is_told + [RESOLVED] * is_told  # once


@pytest.mark.parametrize("sort", ["slack", "webhook"])
def test_what_is_over_is_not_sent_again_but_put_aside(client, receiver, clock, sort):  # noqa: F811
    channel = make_webhook(receiver) if sort == "webhook" else make_channel("Close room", address=receiver.address)
    over = make_message_to(channel, state="failed", body="{}" if sort == "webhook" else "")
    runs = make_message_to(channel, state="failed")
    AlertGroup.objects.filter(pk=runs.group_id).update(over_at=None, kind="outcome_unknown")
    client.force_login(make_person("platform"))
    answer = client.post(f"{PAGE}{channel.pk}/again/", follow=True).content.decode()
    assert "1 message is sent again within a minute. 1 was about what is over by now, and put aside." in answer
    states = dict(AlertDelivery.objects.filter(pk__in=(over.pk, runs.pk)).values_list("pk", "state"))
    assert states == {over.pk: "dropped", runs.pk: "waiting"}
    told = AlertDelivery.objects.filter(what="all_clear").values_list("group", "state")
    assert list(told) == ([(over.group_id, "waiting")] if sort == "webhook" else [])  # in its place
    assert not again.given_up(channel).exists()


def test_a_message_that_was_taken_is_sent_again_while_it_is_true(webhook, clock):  # noqa: F811
    row = make_message_to(webhook)
    assert again.why_not(row) == "it’s about what is over by now, or began anew."
    row.group.over_at = None
    assert again.why_not(row) == ""
    all_clear = make_message_to(webhook, what="all_clear")
    assert again.why_not(all_clear) == ""
    make_alert(all_clear.group.kind)
    assert again.why_not(all_clear) == "it’s about what is over by now, or began anew."


def test_an_all_clear_that_was_given_up_follows_with_the_next_one(webhook, clock):  # noqa: F811
    told = make_message_to(webhook)
    given_up = make_message_to(webhook, what="all_clear", state="failed")
    AlertDelivery.objects.filter(pk=given_up.pk).update(group=told.group)
    assert planning.plan_all_clear([told.group]) == 1
    given_up.refresh_from_db()
    assert (given_up.state, given_up.attempts, given_up.group_id) == ("waiting", 0, told.group_id)
    assert planning.plan_all_clear([told.group]) == 0
