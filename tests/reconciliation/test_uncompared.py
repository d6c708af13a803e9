"""What isn't compared with its register is kept, told after an hour, made up for, and closes by itself."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import OperationalError
from django.utils import timezone

from connectors.models import Connection
from exceptions.models import ExceptionCase
from q2c.reconciliation import completeness, tasks
from q2c.reconciliation.models import FeedCheck, FeedGap
from q2c.reconciliation.uncompared import tell_uncompared
from tests import factories
from tests.reconciliation.feeds import make_check
from tests.reconciliation.register import HOUR, Register, check

MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OperationalError("canceling statement due to timeout")])
def test_a_check_that_fails_of_any_cause_keeps_why_and_since_when(source, monkeypatch, error):
    monkeypatch.setattr(completeness, "feeds", lambda: [(source.connection, "invoice")])
    monkeypatch.setattr(completeness.registry, "client_for", lambda row, **_: source)

    async def fail(document_type, *, since, until):
        raise error
        yield

    source.register = fail
    tasks.check_feeds()
    kept = FeedCheck.objects.get()
    assert kept.failure == f"Our own fault while comparing: {type(error).__name__} {error}"
    assert (kept.checked_at, timezone.now() - kept.failed_at < MINUTE) == (None, True)
    FeedCheck.objects.update(failed_at=kept.failed_at - HOUR)
    tasks.check_feeds()
    assert FeedCheck.objects.get().failed_at == kept.failed_at - HOUR  # since when, not when last
    source.register = lambda *args, **span: Register.register(source, *args, **span)
    tasks.check_feeds()
    kept = FeedCheck.objects.get()
    assert (kept.failure, kept.failed_at, kept.checked_at is None) == ("", None, False)


def test_while_the_database_is_away_nothing_is_kept_of_any_feed_and_the_round_ends(source, monkeypatch):
    asked = []

    def away(code, document_type):
        asked.append(document_type)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(completeness, "feeds", lambda: [(source.connection, "invoice"), (source.connection, "payment")])
    monkeypatch.setattr(completeness, "check_feed", away)
    with pytest.raises(OperationalError):
        tasks.check_feeds()
    assert asked == ["invoice"]


def test_a_connection_whose_package_is_gone_keeps_no_other_from_being_compared(db):
    factories.make_connection("stripe")
    Connection.objects.create(code="gone", name="Gone", vendor="gone", base_url="http://127.0.0.1:1")
    assert {row.code for row, _ in completeness.feeds()} == {"stripe"}


def told(kind="feed_unchecked"):
    return list(
        ExceptionCase.objects.filter(kind=kind, state__in=ExceptionCase.OPEN_STATES)
        .order_by("summary").values_list("summary", flat=True)
    )  # fmt: skip


NOBODY = (
    "Nobody has asked its register since: look at Schedules, and whether the worker of reconciliation lives"
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"minutes": 59}, None),
        ({"minutes": 61}, f"for 1 hour: {NOBODY}"),
        ({"minutes": 181, "failure": "403 forbidden", "failed": 5}, "for 3 hours: 403 forbidden"),
        ({"minutes": None, "failure": "403 forbidden", "failed": 61}, "for 1 hour: 403 forbidden"),
        ({"minutes": None, "failure": "403 forbidden", "failed": 59}, None),
        ({"minutes": None}, None),  # its first check hasn't ended
    ],
)
def test_what_hasnt_been_compared_for_an_hour_is_a_case(db, given, says):
    factories.make_connection("stripe")
    failed = given.pop("failed", None)
    make_check("payout", **given, failed_at=timezone.now() - failed * MINUTE if failed else None)
    tell_uncompared()
    found = [f"Stripe's payouts haven't been compared with its register {says}"] if says else []
    assert told() == found


def test_the_case_is_told_once_for_each_feed_says_how_long_it_lasts_and_closes_when_it_is_compared_again(db):
    factories.make_connection("stripe")
    for kind in ("payout", "invoice"):
        make_check(kind, minutes=61)
    assert [tell_uncompared(), tell_uncompared()] == [(2, 0), (0, 0)]
    assert tell_uncompared(timezone.now() + 2 * HOUR) == (0, 0)
    assert ["for 3 hours" in says for says in told()] == [True, True]
    FeedCheck.objects.filter(document_type="payout").update(checked_at=timezone.now())
    assert tell_uncompared() == (0, 1)
    assert told() == [f"Stripe's invoices haven't been compared with its register for 1 hour: {NOBODY}"]
    over = ExceptionCase.objects.get(state="resolved")
    assert (over.subject["document_type"], over.queue, over.resolution) == ("payouts", "platform", "healed")


def test_a_paused_connection_says_so_itself_and_a_system_that_is_away_is_one_case_already(db):
    factories.make_connection("stripe")
    make_check(minutes=61)
    away = factories.make_case(kind="system_away", connection_code="stripe")
    assert tell_uncompared() == (0, 0)
    ExceptionCase.objects.filter(pk=away.pk).update(state="resolved")
    assert tell_uncompared() == (1, 0)
    Connection.objects.update(state="paused")
    assert [tell_uncompared(), tell_uncompared()] == [(0, 1), (0, 0)]


@pytest.mark.parametrize(("waived", "opened"), [(30, 0), (90, 1)])
def test_what_a_person_has_waived_since_it_began_isnt_told_again(db, waived, opened):
    factories.make_connection("stripe")
    make_check(minutes=61)
    tell_uncompared()
    at = timezone.now() - waived * MINUTE
    ExceptionCase.objects.update(state="waived", closed_at=at)
    assert tell_uncompared() == (opened, 0)


@pytest.mark.parametrize("asked_from", [None, 0, 9])
def test_days_in_which_nobody_compared_are_made_up_for_by_whichever_check_comes_first(source, asked_from):
    now = timezone.now()
    FeedCheck.objects.update(until=now - dt.timedelta(days=9), whole_at=now - dt.timedelta(days=9))
    source.issue(1, at=now - dt.timedelta(days=7))  # during the pause, of which no webhook came
    since = None if asked_from is None else now.date() - dt.timedelta(days=asked_from)
    assert check(source, since=since).found == 1
    assert FeedGap.objects.get().number == "INV-1"
    assert FeedCheck.objects.get().until > now - HOUR


def test_days_that_were_compared_arent_compared_in_full_again(source):
    now = timezone.now()
    FeedCheck.objects.update(until=now - HOUR, whole_at=now - 2 * HOUR)
    source.issue(1, at=now - dt.timedelta(days=7))
    assert check(source).listed == 0
    assert check(source, since=now.date()).listed == 0
