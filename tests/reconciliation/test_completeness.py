"""Feeds against their sources' own registers: what is lost is named, read again and closed; nothing else is."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone
from msgspec import structs

from connectors.families import Polled, Registered
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c import ports
from q2c.canonical import events
from q2c.canonical.schema import to_json
from q2c.core.problems import Category, Problem
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import receive
from q2c.reconciliation import completeness, series, usual
from q2c.reconciliation.models import FeedCheck, FeedDay, FeedGap, FeedHour, LostWebhook, NumberRun
from q2c.records.models import BilledDocument, DocumentArrival
from q2c.transactions.models import BusinessTransaction
from tests.factories import make_entity, make_person
from tests.inbox.conftest import acme, arrival, invoice  # noqa: F401 - a fixture

HOUR = dt.timedelta(hours=1)


class Register:
    """A source with a register: what it issued, by number. `ask` counts what it was asked."""

    registers = {"invoice": dt.timedelta(days=2)}

    def __init__(self):
        self.made = {}
        self.asked = []

    def issue(self, *numbers, total="100.00", at=None, called="", entity=""):
        at = at or timezone.now() - HOUR
        for number in numbers:
            document = invoice(number, total, issued_at=at, legal_entity=entity)
            if called:
                document = structs.replace(document, number=called)
            self.made[f"in_{number}"] = (document, at, "")

    def event(self, document_id):
        document, at, _ = self.made[document_id]
        return events.InvoicePosted(occurred_at=at, invoice=document)

    def send(self, connection, *numbers):
        """What webhooks brought."""
        arrivals = [arrival(self.event(f"in_{n}"), f"evt_{n}") for n in numbers]
        receive(connection.id, arrivals, via="webhook")
        carry_due_events()

    def _entry(self, document_id):
        document, at, status = self.made[document_id]
        return Registered(
            "invoice", document_id, at, at, document.currency, document.total, document.number, document.customer_id,
            document.legal_entity, status,
        )  # fmt: skip

    async def register(self, document_type, *, since, until):
        self.asked.append("register")
        for document_id, (_, at, _) in self.made.items():
            if since <= at < until:
                yield self._entry(document_id)

    async def registered(self, document_type, document_id):
        self.asked.append(document_id)
        return self._entry(document_id) if document_id in self.made else None

    async def messages_of(self, document_type, entries):
        self.asked.append([e.id for e in entries])
        return [Polled("fact", e.id, f"evt_{e.id[3:]}", to_json(self.event(e.id))) for e in entries]


@pytest.fixture
def source(acme, monkeypatch):  # noqa: F811
    """Acme with a register, connected two days ago."""
    ports.forget_kept()  # of the database of the test before
    register = Register()
    register.connection = acme
    old = timezone.now() - dt.timedelta(days=20)
    FeedCheck.objects.create(connection_code="acme", document_type="invoice", counts_from=old)
    return register


@pytest.fixture
def controller():
    return make_person("controller")


def check(source, **changes):
    return completeness.check_feed("acme", "invoice", client=source, **changes)


def lose_and_find(source, count, lost):
    """`count` invoices of which one webhook never came; what one cycle finds."""
    source.issue(*range(count))
    source.send(source.connection, *(n for n in range(count) if n != lost))
    return check(source)


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


@pytest.mark.parametrize("verdict", ["received", "refused"])
def test_a_lost_invoice_stays_a_difference_until_it_is_read_not_while_its_message_waits(source, verdict):
    lose_and_find(source, 2, 1)
    InboundKey.objects.filter(dedupe_key="evt_1").update(verdict=verdict)
    assert check(source).closed == 0
    gap, case = FeedGap.objects.get(), ExceptionCase.objects.get()
    assert (gap.closed_at, case.state, FeedDay.objects.get().waiting_count) == (None, "open", 1)
    InboundKey.objects.filter(dedupe_key="evt_1").update(verdict="received")
    carry_due_events()
    assert check(source).closed == 1
    gap.refresh_from_db()
    case.refresh_from_db()
    assert (gap.closed_how, case.resolution) == ("arrived", "healed")


def test_a_void_that_waits_in_the_inbox_stays_a_difference(source):
    source.issue(1)
    source.send(source.connection, 1)
    source.made["in_1"] = (*source.made["in_1"][:2], "void")
    check(source)
    gap = FeedGap.objects.get()
    assert gap.kind == "ended"
    receive(source.connection.id, [arrival(source.event("in_1"), "in_1")], via="webhook")
    check(source)
    gap.refresh_from_db()
    assert gap.closed_at is None


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


@pytest.mark.scenario(25)
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
     (KeyError("created"), "Its register holds something that we don't understand: KeyError 'created'")],
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


def differ(source, total, *numbers):
    """The source has other amounts than we have of these."""
    source.issue(*numbers, total=total)
    BilledDocument.objects.update(changed_at=timezone.now() - HOUR)


def waive_by(controller):
    """The newest case, waived; its id."""
    case = ExceptionCase.objects.latest("pk")
    resolutions.waive(case, by=controller, reason="a rounding of the source")
    case = ExceptionCase.objects.get(pk=case.pk)
    assert case.state == "waived"
    return case.pk


def check_twice(source):
    """The second check closes what the first one found waived."""
    check(source)
    return check(source)


@pytest.mark.parametrize(
    ("total", "is_new"), [("100.01", False), ("100.010", False), ("10100.00", True), ("99.99", True)]
)
@pytest.mark.django_db(transaction=True)
def test_a_waiver_holds_for_the_amounts_that_were_waived_and_no_others(source, controller, total, is_new):
    source.issue(1)
    source.send(source.connection, 1)
    differ(source, "100.01", 1)
    check(source)
    first = waive_by(controller)
    assert (check_twice(source).found, FeedGap.objects.get().closed_how) == (0, "waived")
    differ(source, total, 1)
    check(source)
    gap = FeedGap.objects.get()
    assert (gap.closed_at is None, gap.case_id != first) == (is_new, is_new)
    assert gap.amount == Decimal(total)
    if is_new:
        assert f"over GBP {Decimal(total):,.2f}" in ExceptionCase.objects.get(state="open").summary


@pytest.mark.django_db(transaction=True)
def test_a_waiver_is_kept_when_the_next_check_finds_another_difference_of_that_day(source, controller):
    source.issue(1, 2)
    source.send(source.connection, 1, 2)
    differ(source, "100.01", 1)
    check(source)
    first = waive_by(controller)
    differ(source, "90.00", 2)
    check(source)
    one, two = FeedGap.objects.order_by("number")
    assert (one.closed_how, one.case_id, two.closed_at) == ("waived", first, None)
    assert two.case_id == ExceptionCase.objects.get(state="open").pk != first


def test_what_is_open_and_differs_by_another_amount_by_now_says_so(source):
    source.issue(1)
    source.send(source.connection, 1)
    differ(source, "100.01", 1)
    check(source)
    differ(source, "10100.00", 1)
    assert check(source).found == 0
    assert FeedGap.objects.get().amount == 10100
    said = ExceptionCase.objects.get().notes.get(verb="noted").text
    assert said == "Other amounts than before: Acme has invoice INV-1 over GBP 10,100.00 by now."


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
