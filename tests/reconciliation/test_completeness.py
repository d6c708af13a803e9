"""Feeds against their sources' own registers: what is lost is named, read again and closed; nothing else is."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from exceptions.models import ExceptionCase
from q2c.core.problems import Category, Problem
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import receive
from q2c.reconciliation import completeness, series, tasks, usual
from q2c.reconciliation.models import FeedCheck, FeedDay, FeedGap, FeedHour, LostWebhook, NumberRun
from q2c.records.models import BilledDocument, DocumentArrival
from q2c.transactions.models import BusinessTransaction
from tests.factories import make_entity
from tests.inbox.conftest import arrival
from tests.reconciliation.register import HOUR, Register, check, lose_and_find


@pytest.mark.scenario(17)
def test_a_lost_invoice_is_named_and_read_again_within_one_cycle_and_the_case_closes_when_it_is_here(source):
    found = lose_and_find(source, 60, 17)
    assert (found.listed, found.found, found.read_again, found.closed) == (60, 1, 1, 0)
    gap = FeedGap.objects.get()
    assert (gap.kind, gap.number, gap.amount, gap.currency) == ("missing", "INV-17", Decimal("100"), "GBP")
    case = ExceptionCase.objects.get()
    assert (case.kind, case.state, gap.case_id) == ("feed_incomplete", "open", case.pk)
    assert "invoice INV-17 over GBP 100.00, which never reached us" in case.summary
    day = FeedDay.objects.get()
    assert (day.source_count, day.source_amount) == (60, Decimal(6000))
    assert (day.our_count, day.our_amount, day.missing_count, day.missing_amount) == (59, 5900, 1, 100)
    assert InboundKey.objects.get(dedupe_key="evt_17").is_polled_only
    carry_due_events()
    assert check(source).closed == 1
    assert BusinessTransaction.objects.count() == 60
    gap.refresh_from_db()
    case.refresh_from_db()
    assert (gap.closed_how, case.state, case.resolution) == ("arrived", "resolved", "healed")
    day.refresh_from_db()
    assert (day.our_count, day.our_amount, day.missing_count) == (60, 6000, 0)


def test_a_source_that_agrees_with_us_makes_no_case_and_is_asked_once(source):
    source.issue(*range(5))
    source.send(source.connection, *range(5))
    assert check(source) == completeness.Checked(listed=5)
    assert source.asked == ["register"]
    assert not ExceptionCase.objects.exists()


def test_what_the_inbox_has_but_nobody_read_yet_is_no_loss(source):
    source.issue(1, 2)
    receive(source.connection.id, [arrival(source.event("in_1"), "in_1")], via="webhook")
    assert check(source).found == 1
    day = FeedDay.objects.get()
    assert (day.source_count, day.our_count, day.waiting_count, day.missing_count) == (2, 0, 1, 1)


def test_what_was_made_a_moment_ago_is_judged_by_the_next_check(source):
    source.issue(1, at=timezone.now())
    assert check(source) == completeness.Checked()


def test_a_quick_check_lists_what_was_made_since_and_leaves_the_days_as_they_were_compared(source):
    now = timezone.now()
    until = now - dt.timedelta(minutes=7)
    FeedCheck.objects.update(until=until, whole_at=now, listed=completeness.WHOLE_IS_CHEAP + 1)
    source.issue(1, at=now - 30 * HOUR)
    source.issue(2)
    assert check(source).listed == 1
    assert (FeedDay.objects.count(), FeedGap.objects.get().number) == (0, "INV-2")
    assert check(source).listed == 2  # since something was found, the days are compared in full
    assert FeedDay.objects.exists()


@pytest.mark.scenario(25, of="reading a source, before any flow")
def test_what_is_committed_late_with_an_earlier_time_is_found_by_the_next_check(source):
    now = timezone.now()
    FeedCheck.objects.update(until=now, whole_at=now, listed=completeness.WHOLE_IS_CHEAP + 1)
    assert check(source).listed == 0
    source.issue(1, at=now - HOUR)
    assert (check(source).found, FeedGap.objects.get().number) == (1, "INV-1")


@pytest.mark.scenario(26)
def test_a_day_is_that_of_the_seller_on_both_sides(source):
    make_entity("JP01")
    late = (timezone.now() - dt.timedelta(days=1)).replace(hour=16, minute=0)  # the next day in Tokyo
    for number in (1, 2):
        source.issue(number, at=late, entity="JP01")
    source.send(source.connection, 1)
    check(source)
    day = FeedDay.objects.get()
    assert (day.legal_entity_code, day.day) == ("JP01", (late + dt.timedelta(days=1)).date())
    assert (day.source_count, day.our_count, day.missing_count) == (2, 1, 1)


@pytest.mark.parametrize(
    ("error", "says"),
    [(Problem("system_unavailable", Category.AVAILABILITY, "Acme is away"), "Acme is away"),
     (KeyError("created"), "Its register holds something that we don't understand: KeyError 'created'"),
     (TypeError("None"), "Its register holds something that we don't understand: TypeError None")],
)  # fmt: skip
def test_a_source_that_cannot_be_asked_is_noted_and_nothing_counts_as_missing(source, error, says):
    source.issue(1)

    async def fail(document_type, *, since, until):
        raise error
        yield

    source.register = fail
    assert check(source) == completeness.Checked(failure=says)
    assert (FeedCheck.objects.get().failure, FeedGap.objects.count()) == (says, 0)
    source.register = lambda *args, **span: Register.register(source, *args, **span)
    assert check(source).found == 1
    assert FeedCheck.objects.get().failed_at is None


def test_of_what_is_read_again_one_that_cant_be_read_keeps_back_no_other(source, monkeypatch):
    source.issue(*range(5))
    messages_of = source.messages_of

    async def half(document_type, entries):
        if any(entry.id == "in_3" for entry in entries):
            raise TypeError("its time is null")
        return await messages_of(document_type, entries)

    monkeypatch.setattr(source, "messages_of", half)
    found = check(source)
    assert (found.found, found.read_again, found.failure) == (5, 4, "")
    assert sorted(InboundKey.objects.values_list("dedupe_key", flat=True)) == [f"evt_{n}" for n in (0, 1, 2, 4)]
    assert set(FeedGap.objects.values_list("read_again_count", flat=True)) == {1}


def test_a_feed_whose_check_fails_keeps_no_other_from_being_compared(source, monkeypatch):
    asked = []

    def fail(code, document_type):
        asked.append(document_type)
        raise RuntimeError("a bug")

    monkeypatch.setattr(completeness, "feeds", lambda: [(source.connection, "invoice"), (source.connection, "payment")])
    monkeypatch.setattr(completeness, "check_feed", fail)
    tasks.check_feeds()
    assert asked == ["invoice", "payment"]


def test_what_was_made_before_we_were_connected_is_never_read(source):
    FeedCheck.objects.update(counts_from=timezone.now() - HOUR / 2)
    source.issue(1)
    assert check(source, since=timezone.now().date() - dt.timedelta(days=5)) == completeness.Checked()


def test_what_the_source_says_otherwise_or_does_not_know_is_named_for_a_person_and_not_read_again(source):
    source.issue(1, 2, 3)
    source.send(source.connection, 1, 2, 3)
    del source.made["in_2"]
    source.issue(3, total="90.00")
    BilledDocument.objects.update(changed_at=timezone.now() - HOUR)
    found = check(source)
    assert (found.listed, found.found, found.read_again) == (2, 2, 0)
    assert sorted(FeedGap.objects.values_list("kind", "number")) == [("differs", "INV-3"), ("surplus", "INV-2")]
    says = ExceptionCase.objects.get().summary
    assert "We have invoice INV-2 over GBP 100.00, which Acme doesn't know" in says
    assert "Acme says other amounts than we have: invoice INV-3 over GBP 90.00" in says
    day = FeedDay.objects.get()
    figures = (day.source_count, day.our_count, day.surplus_count, day.differing_count)
    assert figures == (2, 3, 1, 1)
    assert day.source_amount == day.our_amount - day.surplus_amount + Decimal(-10)


def numbered(source):
    """The source finds documents by their numbers, and numbers invoices."""
    source.numbers = ("invoice",)
    source.asked_numbers = []

    async def find(document_type, number):
        source.asked_numbers.append(number)
        return next((source._entry(i) for i, (d, _, _) in source.made.items() if d.number == number), None)

    source.numbered = find


def test_a_hole_in_the_numbers_is_a_case_once_two_checks_saw_it_and_the_source_has_none_either(source):
    numbered(source)
    source.issue(1, 2, 4, 5)
    source.send(source.connection, 1, 2, 4, 5)
    check(source)
    assert not FeedGap.objects.exists()  # numbers are given a moment apart
    check(source)
    assert source.asked_numbers == ["INV-3"]
    gap, case = FeedGap.objects.get(), ExceptionCase.objects.get()
    assert (gap.kind, gap.number, case.kind, case.severity) == ("number", "INV-3", "number_missing", 4)
    assert case.summary == "Acme has no invoice INV-3, and neither have we"
    check(source)
    assert source.asked_numbers == ["INV-3"]  # a known hole is asked for once
    source.issue(3)
    source.send(source.connection, 3)
    check(source)
    gap.refresh_from_db()
    case.refresh_from_db()
    assert (gap.closed_how, case.state) == ("arrived", "resolved")


def test_a_number_that_was_drafted_long_ago_is_found_by_its_hole_and_its_lost_document_read(source):
    numbered(source)
    source.issue(1, 3)
    source.issue(2, at=timezone.now() - dt.timedelta(days=15))  # made long ago, finalized today
    source.send(source.connection, 1, 3)
    assert check(source).found == 0
    found = check(source)
    assert (found.found, found.read_again) == (1, 1)
    assert list(FeedGap.objects.values_list("kind", "number")) == [("missing", "INV-2")]


def test_voided_numbers_fill_their_place_and_each_customers_series_counts_by_itself(source):
    numbered(source)
    for n, number in enumerate(("NW-0001", "NW-0002", "NW-0003", "BB-0007", "BB-0008", "free text")):
        source.issue(n, called=number)
    source.made["in_1"] = (*source.made["in_1"][:2], "void")
    source.send(source.connection, *range(6))
    for _ in range(2):
        check(source)
    assert not FeedGap.objects.filter(kind="number").exists()
    assert list(NumberRun.objects.order_by("series").values_list("series", "first", "last")) == [
        ("BB-", 7, 8), ("NW-", 1, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ([], [3, 1, 2], [(1, 3)]),
        ([(1, 3), (5, 6)], [4], [(1, 6)]),
        ([(1, 3)], [9, 9, 2], [(1, 3), (9, 9)]),
        ([(1, 10)], [5], [(1, 10)]),
    ],
)
def test_numbers_merge_into_runs(before, values, after):
    assert series.merge(before, values) == after


NOON = dt.datetime(2026, 11, 18, 12, 30, tzinfo=dt.UTC)


def fill_hours(count, *, weeks=8, now=NOON):
    """So many documents in each hour of the weeks before, none today."""
    today = now.replace(hour=0, minute=0)
    hours = [today - dt.timedelta(hours=n) for n in range(1, weeks * 7 * 24 + 1)]
    FeedHour.objects.bulk_create(
        FeedHour(connection_code="acme", document_type="invoice", hour=hour, count=count) for hour in hours
    )
    return today


def test_a_feed_that_falls_silent_is_a_case_and_an_alert_though_nothing_failed_and_closes_when_it_is_as_usual(source):
    today = fill_hours(4)
    assert usual.tell_quiet_feeds(NOON) == [("acme", "invoice")]
    case = ExceptionCase.objects.get()
    assert (case.kind, case.queue) == ("feed_quiet", "platform")
    assert case.summary == "Acme brought 0 invoices today so far; usual are 48"
    usual.tell_quiet_feeds(NOON)
    assert case.occurrences.count() == 1  # told once
    rows = [
        FeedHour(connection_code="acme", document_type="invoice", hour=today + dt.timedelta(hours=n), count=4)
        for n in range(12)
    ]
    FeedHour.objects.bulk_create(rows)
    assert usual.tell_quiet_feeds(NOON) == []
    case.refresh_from_db()
    assert (case.state, case.resolution) == ("resolved", "healed")


@pytest.mark.parametrize(
    ("per_hour", "weeks", "came", "is_few"),
    [(4, 8, 27, True), (4, 8, 28, False), (4, 2, 0, False), (0, 8, 0, False), (100, 8, 1200, False)],
)
def test_too_few_is_what_chance_does_not_explain_and_only_once_something_is_usual(
    source, per_hour, weeks, came, is_few
):
    today = fill_hours(per_hour, weeks=weeks)
    FeedHour.objects.create(connection_code="acme", document_type="invoice", hour=today, count=came)
    judged = usual.judge_days(today.date(), NOON)["acme", "invoice"][today.date()]
    assert (judged.count, judged.is_few) == (came, is_few)


@pytest.mark.parametrize("minute", [0, 5, 9, 10, 30])
def test_a_busy_feed_is_not_too_quiet_in_the_first_minutes_of_a_day(source, minute):
    fill_hours(40, now=NOON)
    midnight = NOON.replace(hour=0, minute=minute)
    assert usual.tell_quiet_feeds(midnight) == []
    assert not ExceptionCase.objects.exists()


def test_what_came_is_counted_once_by_the_hour_and_a_known_document_is_not_counted_again(source):
    source.issue(1, 2)
    source.send(source.connection, 1, 2)
    receive(source.connection.id, [arrival(source.event("in_1"), "again")], via="webhook")
    carry_due_events()
    usual.roll_up_arrivals()
    usual.roll_up_arrivals()
    assert list(FeedHour.objects.values_list("connection_code", "document_type", "count")) == [("acme", "invoice", 2)]
    assert not DocumentArrival.objects.exists()


def test_a_webhook_that_never_came_is_counted_by_type_and_day_until_it_comes(source):
    source.issue(1, 2)
    some = [arrival(source.event(f"in_{n}"), f"evt_{n}") for n in (1, 2)]
    receive(source.connection.id, some, via="poll", lacks_webhook=True)
    usual.count_lost_webhooks()
    assert list(LostWebhook.objects.values_list("event_type", "count")) == [("fact", 2)]
    receive(source.connection.id, some, via="poll", lacks_webhook=True)
    receive(source.connection.id, some[:1], via="webhook")
    usual.count_lost_webhooks()
    assert list(LostWebhook.objects.values_list("event_type", "count")) == [("fact", 1)]
