"""The case of a channel that takes nothing: it closes by itself, can be waived, and ends when somebody keeps it off."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from exceptions import closing, resolutions, silent_channels
from exceptions.alerts import failing
from exceptions.models import AlertAttempt, AlertChannel, ExceptionCase
from q2c.core.models import AuditEntry, Person, Proposal
from tests.exceptions.test_alerts import agree, propose
from tests.factories import make_channel, make_message_to, make_person

pytestmark = pytest.mark.django_db
PAGE = "/exceptions/alerts/channels/"
LIKE = {"sort": "slack", "name": "Close room", "told-severity": "4", "told-has_clocks": "on"}


@pytest.fixture
def channel(time_machine):
    time_machine.move_to(dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC), tick=False)
    make_person("platform", username="ada")
    return make_channel()


@pytest.fixture
def watch(time_machine):
    """A minute later the watcher goes round; returns where its cases stand, the oldest first."""

    def round_(**span) -> list[str]:
        time_machine.shift(dt.timedelta(**(span or {"minutes": 1})))
        silent_channels.watch_channels()
        cases = ExceptionCase.objects.filter(kind=silent_channels.FAILING)
        return list(cases.order_by("pk").values_list("state", flat=True))

    return round_


def attempt(channel, error: str = "", status: int = 204) -> None:
    """It's sent a message for the last time: it takes it, or it's given up."""
    row = make_message_to(channel, state="failed" if error else "sent", error=error)
    row.tries.all().delete()
    AlertAttempt.objects.create(delivery=row, channel=channel, at=timezone.now(), status=status, error=error)
    if status == 410:
        failing.give_up(channel, is_gone=True)


def waive() -> None:
    case = ExceptionCase.objects.get(kind=silent_channels.FAILING, closed_at=None)
    resolutions.waive(case, by=make_person("controller", username="con"), reason="That program is retired.")
    closing.resolve_emptied()


@pytest.mark.parametrize(("status", "error"), [(410, "It answered 410"), (500, "It answered 500")])
def test_a_waived_case_stays_waived_while_the_trouble_is_the_same(channel, watch, time_machine, status, error):
    attempt(channel, error, status)
    assert watch() == ["open"]
    time_machine.shift(60)
    waive()
    for _ in range(3):
        assert watch(minutes=1) == ["waived"]
    if status == 500:  # it's still on: what is given up next is no other trouble
        attempt(channel, error, status)
    assert watch(hours=1) == ["waived"]


def test_what_fails_after_a_message_was_taken_is_a_case_again(channel, watch, time_machine):
    attempt(channel, "It answered 500", 500)
    watch()
    time_machine.shift(60)
    waive()
    assert watch() == ["waived"]
    attempt(channel)
    assert watch() == ["waived"]
    attempt(channel, "It answered 500", 500)
    assert watch() == ["waived", "open"]


def test_what_is_switched_off_once_more_is_a_case_again(channel, watch, time_machine, client):
    attempt(channel, "It answered 410", 410)
    watch()
    time_machine.shift(60)
    waive()
    client.force_login(Person.objects.get(username="ada"))
    agree(propose(client, f"{PAGE}{channel.pk}/", **LIKE))
    assert AlertChannel.objects.get().is_active
    assert watch() == ["waived"]
    channel.refresh_from_db()
    attempt(channel, "It answered 410", 410)
    assert watch() == ["waived", "open"]


def test_a_retired_program_is_kept_off_by_one_person_and_its_case_closes(channel, watch, client):
    attempt(channel, "It answered 410", 410)
    assert watch() == ["open"]
    client.force_login(Person.objects.get(username="ada"))
    page = f"{PAGE}{channel.pk}/"
    assert "If it stays off, send the form as it is" in client.get(page).content.decode()
    form = {**LIKE, "why": "That program is retired."}
    assert client.post(page, form).status_code == 302
    assert (Proposal.objects.count(), watch()) == (0, ["resolved"])
    channel.refresh_from_db()
    assert (channel.is_active, channel.off_because) == (False, "")
    entry = AuditEntry.objects.get(verb="keep_off")
    assert (entry.actor, entry.why, entry.data["because"]) == ("ada", "That program is retired.", "gone")
    answer = client.post(page, form)
    assert (answer.status_code, "Nothing of it changes" in answer.content.decode()) == (422, True)
