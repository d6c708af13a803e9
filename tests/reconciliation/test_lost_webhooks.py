"""Messages that only polls bring: a case tells of them while more are lost than come."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from connectors.models import Connection
from exceptions import closing
from exceptions.fixes import Ending
from exceptions.models import ExceptionCase
from q2c.inbox.receive import receive
from q2c.reconciliation import usual
from tests.inbox.conftest import arrival

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


def bring(source, *numbers, by_webhook):
    """Messages with these numbers, by webhook or by a poll alone."""
    some = [arrival(source.event(f"in_{n}"), f"evt_{n}") for n in numbers]
    if by_webhook:
        receive(source.connection.id, some, via="webhook")
    else:
        receive(source.connection.id, some, via="poll", lacks_webhook=True)


def tell(after=dt.timedelta()):
    """What is found once polls have had their ten minutes."""
    return usual.tell_lost_webhooks(timezone.now() + usual.LATE + dt.timedelta(seconds=1) + after)


@pytest.mark.parametrize(
    ("lost", "came", "is_told"),
    [(5, 0, True), (4, 0, False), (3, 2, True), (5, 5, True), (5, 6, False), (0, 9, False)],
)
def test_half_or_more_of_at_least_five_that_only_polls_brought_are_a_case(source, lost, came, is_told):
    source.issue(*range(20))
    bring(source, *range(lost), by_webhook=False)
    bring(source, *range(10, 10 + came), by_webhook=True)
    assert tell() == (["acme"] if is_told else [])
    found = ExceptionCase.objects.filter(kind="webhooks_lost")
    assert found.count() == is_told
    if is_told:
        case = found.get()
        assert (case.severity, case.queue, case.connection_code) == (2, "platform", "acme")
        says = f"should have sent us {lost + came} messages by webhook in an hour; {lost} came by polling only"
        assert says in case.summary


def test_a_webhook_that_comes_later_and_a_poll_of_the_last_minutes_are_no_loss(source):
    source.issue(*range(6))
    bring(source, *range(6), by_webhook=False)
    assert usual.tell_lost_webhooks() == []  # it may still come
    bring(source, *range(6), by_webhook=True)
    assert tell() == []


def test_the_case_stays_while_nothing_comes_and_closes_once_webhooks_do(source):
    source.issue(*range(20))
    bring(source, *range(6), by_webhook=False)
    assert tell() == ["acme"]
    case = ExceptionCase.objects.get(kind="webhooks_lost")
    assert tell() == ["acme"]
    assert tell(3 * HOUR) == []
    assert ExceptionCase.objects.get().is_open  # a quiet night proves nothing
    bring(source, *range(10, 17), by_webhook=True)
    tell()
    case.refresh_from_db()
    assert (case.state, case.resolution) == ("resolved", "healed")


def test_what_a_person_waived_is_not_told_again_for_a_day_and_a_paused_connection_not_at_all(source):
    source.issue(*range(6))
    bring(source, *range(6), by_webhook=False)
    tell()
    closing.close_cases([Ending(ExceptionCase.objects.get(), "waived", "waived", "our proxy is moved")], by=None)
    assert tell() == ["acme"]
    assert not ExceptionCase.objects.exclude(state="waived").exists()
    Connection.objects.update(state="paused")
    assert tell() == []
