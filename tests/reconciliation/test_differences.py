"""A difference is what it's about: how long it stays one, what a waiver of it covers, what couldn't be confirmed."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest
from django.utils import timezone

from connectors.families import Registered
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.problems import Category, NotAnswered, Problem
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import receive
from q2c.reconciliation import confirming, gaps
from q2c.reconciliation.comparing import Ours
from q2c.reconciliation.models import FeedCheck, FeedDay, FeedGap
from q2c.records.models import BilledDocument
from q2c.transactions.bill_runs import BillRun
from tests.factories import make_person
from tests.inbox.conftest import arrival
from tests.reconciliation.register import HOUR, check, lose_and_find


@pytest.fixture
def controller():
    return make_person("controller")


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


@pytest.mark.parametrize(("reason", "words"), [("erased", (1, 0)), ("malformed_event", (0, 1))])
def test_an_invoice_whose_message_nobody_can_read_any_more_is_missing_and_waits_for_nothing(source, reason, words):
    source.issue(1)
    receive(source.connection.id, [arrival(source.event("in_1"), "in_1")], via="webhook")
    InboundKey.objects.update(verdict="refused", reason_code=reason)
    check(source)
    day = FeedDay.objects.get()
    assert (day.missing_count, day.waiting_count) == words
    assert (FeedGap.objects.count(), ExceptionCase.objects.count()) == (words[0], words[0])


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


@pytest.fixture
def few_at_once(monkeypatch):
    """Three documents are asked for in one check."""
    monkeypatch.setattr(confirming, "AT_ONCE", 3)


def unlisted(source, *numbers):
    """Documents that we have and the register doesn't list: they were made long before."""
    source.issue(*numbers)
    source.send(source.connection, *numbers)
    for number in numbers:
        document, _, status = source.made[f"in_{number}"]
        source.made[f"in_{number}"] = (document, timezone.now() - dt.timedelta(days=15), status)
    BilledDocument.objects.update(changed_at=timezone.now() - HOUR)


def figures():
    """Of the one day: the source's documents, ours, those that it doesn't know and those not confirmed."""
    day = FeedDay.objects.get()
    counts = (day.source_count, day.our_count, day.surplus_count, day.unconfirmed_count)
    assert day.unconfirmed_amount == 100 * day.unconfirmed_count
    return counts


def test_what_the_register_does_not_list_is_asked_for_some_with_each_check_until_all_is_confirmed(source, few_at_once):
    unlisted(source, *range(8))
    del source.made["in_7"]
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    seen = []
    for _ in range(4):
        source.asked.clear()
        check(source)
        seen.append((source.asked[1:], figures()))
    assert seen == [
        (["in_0", "in_1", "in_2"], (3, 3, 0, 5)),
        (["in_3", "in_4", "in_5"], (6, 6, 0, 2)),
        (["in_6", "in_7", "in_0"], (7, 8, 1, 0)),
        (["in_1", "in_2", "in_3"], (7, 8, 1, 0)),
    ]
    assert list(FeedGap.objects.values_list("kind", "number")) == [("surplus", "INV-7")]


def test_an_answer_counts_for_a_day_and_only_while_our_document_stays_as_it_was(source, few_at_once):
    unlisted(source, *range(4))
    check(source)
    assert figures() == (3, 3, 0, 1)
    BilledDocument.objects.filter(external_id__in=["in_0", "in_1"]).update(changed_at=timezone.now())
    kept = FeedCheck.objects.get().answers
    now = timezone.now() + HOUR
    mine = [completeness_ours(row, now) for row in BilledDocument.objects.order_by("external_id")]
    assert set(confirming.known_answers(kept, mine, timezone.now())) == {"in_2"}
    assert confirming.known_answers(kept, mine, timezone.now() + confirming.HOLDS) == {}


def completeness_ours(row, now):
    return Ours(row.external_id, "", now.date(), "GBP", row.amount, "", "", True, row.changed_at)


def test_few_unlisted_ones_are_asked_for_each_time_and_nothing_is_kept(source, few_at_once):
    unlisted(source, 1, 2, 3)
    for _ in range(2):
        source.asked.clear()
        check(source)
        assert (source.asked[1:], figures()) == (["in_1", "in_2", "in_3"], (3, 3, 0, 0))
    assert FeedCheck.objects.get().answers is None


def long_ago(source, *numbers):
    """As `unlisted`, of the day a week ago."""
    unlisted(source, *numbers)
    BilledDocument.objects.filter(external_id__in=[f"in_{n}" for n in numbers]).update(
        document_date=timezone.now().date() - dt.timedelta(days=7)
    )


def test_what_a_long_check_left_over_is_confirmed_by_the_short_ones_and_its_answers_stay(source, few_at_once):
    since = timezone.now().date() - dt.timedelta(days=10)
    long_ago(source, *range(8))
    del source.made["in_7"]
    source.issue(4, total="90.00", at=timezone.now() - dt.timedelta(days=15))
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    check(source, since=since)
    seen = [figures()]
    source.asked.clear()
    for _ in range(3):
        check(source)
        seen.append(figures())
    assert [one for one in source.asked if one != "register"] == ["in_3", "in_4", "in_5", "in_6", "in_7"]
    assert seen == [(3, 3, 0, 5), (6, 6, 0, 2), (7, 8, 1, 0), (7, 8, 1, 0)]
    assert sorted(FeedGap.objects.values_list("kind", "number")) == [("differs", "INV-4"), ("surplus", "INV-7")]
    day, summed = FeedDay.objects.get(), FeedDay.objects.values()[0]
    assert (day.source_amount, day.our_amount, day.differing_count) == (690, 800, 1)
    source.asked.clear()
    check(source, since=since)  # the answers hold for a day
    assert source.asked == ["register", "in_0", "in_1", "in_2"]
    assert {**FeedDay.objects.values()[0], "checked_at": None, "id": 0} == {**summed, "checked_at": None, "id": 0}


@pytest.mark.parametrize(
    ("refusal", "is_its_own", "seen"),
    [
        (ValueError("no such kind of amount"), True, [(5, 0, 3), (7, 0, 1), (7, 0, 1)]),
        (Problem("vendor_refused", Category.VALIDATION, "not this one"), True, [(5, 0, 3), (7, 0, 1), (7, 0, 1)]),
        (NotAnswered("away"), False, [(3, 0, 5), (3, 0, 5), (3, 0, 5)]),
    ],
)
def test_one_that_cannot_be_asked_for_is_put_last_and_stops_no_check(
    source, few_at_once, monkeypatch, refusal, is_its_own, seen
):
    long_ago(source, *range(8))
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    check(source, since=timezone.now().date() - dt.timedelta(days=10))
    asks = source.registered

    async def registered(document_type, document_id):
        if document_id == "in_3":
            raise refusal
        return await asks(document_type, document_id)

    monkeypatch.setattr(source, "registered", registered)
    source.issue(20)
    found = []
    for _ in range(3):
        before = FeedCheck.objects.get().until
        assert (check(source).failure, FeedCheck.objects.get().failure) == ("", "")
        assert FeedCheck.objects.get().until > before
        day = FeedDay.objects.order_by("day").first()
        found.append((day.source_count, day.surplus_count, day.unconfirmed_count))
        assert FeedGap.objects.get().number == "INV-20"  # what is lost is found all the same
    assert found == seen
    left = FeedCheck.objects.get().answers["in_3"]
    assert ("failed" in left) == is_its_own
    monkeypatch.undo()
    check(source)
    assert FeedDay.objects.order_by("day").first().unconfirmed_count == 0  # and it's asked for again


def test_the_release_before_takes_what_is_left_over_for_an_answer_that_is_over(source, few_at_once):
    long_ago(source, *range(4))
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    check(source, since=timezone.now().date() - dt.timedelta(days=10))
    for raw in FeedCheck.objects.get().answers.values():
        assert raw["entry"] is not None or timezone.now() - dt.datetime.fromisoformat(raw["at"]) > confirming.HOLDS


def test_a_short_check_asks_for_its_own_first_and_one_that_changed_since_is_not_confirmed(source, few_at_once):
    long_ago(source, *range(5))
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    check(source, since=timezone.now().date() - dt.timedelta(days=10))
    assert figures() == (3, 3, 0, 2)
    unlisted(source, 11, 12)
    BilledDocument.objects.filter(external_id="in_3").update(changed_at=timezone.now())
    source.asked.clear()
    check(source)
    check(source)
    assert [one for one in source.asked if one != "register"] == ["in_11", "in_12", "in_11", "in_12", "in_4"]
    old = FeedDay.objects.order_by("day").first()
    assert (old.source_count, old.our_count, old.unconfirmed_count) == (4, 4, 1)


def test_a_crash_before_a_day_takes_its_answers_over_counts_none_of_them_twice(source, few_at_once, monkeypatch):
    long_ago(source, *range(5))
    FeedCheck.objects.update(counts_from=timezone.now() - dt.timedelta(days=10))
    check(source, since=timezone.now().date() - dt.timedelta(days=10))

    def killed(*args, **named):
        raise KeyboardInterrupt

    for place, name, stands in ((FeedCheck, "save", (3, 3, 0, 2)), (gaps, "read_again", (5, 5, 0, 0))):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                check(source)
        assert figures() == stands
    check(source)
    assert figures() == (5, 5, 0, 0)


def test_a_bill_run_is_told_nothing_to_expect_until_all_of_its_day_is_confirmed(source, few_at_once):
    unlisted(source, *range(5))
    now = timezone.now()
    entity, day = BilledDocument.objects.values_list("legal_entity_code", "document_date").first()
    run = BillRun.objects.create(
        connection_code="acme", legal_entity_code=entity, name=day.isoformat(), day=day, state_at=now, first_at=now,
        holds=True,
    )  # fmt: skip
    check(source)
    assert not run.parts.filter(expected_at__isnull=False).exists()
    check(source)
    part = run.parts.get()
    assert (part.expected_count, part.expected_amount) == (5, 500)


@pytest.mark.parametrize(
    ("dated", "amount"),
    [(dt.date(2026, 11, 2), Decimal("12.34")), (dt.datetime(2026, 11, 2, 9, 30, tzinfo=dt.UTC), None)],
)
def test_an_answer_is_kept_as_it_was(dated, amount, monkeypatch):
    monkeypatch.setattr(confirming, "AT_ONCE", 0)
    now = dt.datetime(2026, 11, 3, tzinfo=dt.UTC)
    entry = Registered("invoice", "in_1", now, dated, "GBP", amount, "INV-1", "cus_1", "GB01", "void")
    mine = [Ours("in_1", "", None, "GBP", None, "", "", True, now)]
    for answer in (confirming.Answer(now, entry), confirming.Answer(now, None)):
        kept = json.loads(json.dumps(confirming.to_keep({"in_1": answer}, mine, now=now)))
        assert confirming.known_answers(kept, mine, now) == {"in_1": answer}
