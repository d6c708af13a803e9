"""Too few of one entity shows behind another's plenty: its own case, seen by its own people; and old workers beside new
ones make nobody look quiet."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection

from exceptions import closing, tallies
from exceptions.fixes import Ending
from exceptions.models import ExceptionCase
from q2c.inbox.receive import receive
from q2c.reconciliation import usual
from q2c.reconciliation.models import FeedEntityHour, FeedHour
from q2c.records.models import DocumentArrival
from tests import factories
from tests.inbox.conftest import arrival, count_statements  # noqa: F401 - a fixture

NOON = dt.datetime(2026, 11, 18, 12, 30, tzinfo=dt.UTC)
MIDNIGHT = NOON.replace(hour=0, minute=0)
HOUR = dt.timedelta(hours=1)
WHOLE, ENTITY = "feed_quiet", "entity_quiet"
# What the release before writes and rolls up.
OLD_ARRIVED = (
    "INSERT INTO records_documentarrival (connection_code, document_type, hour, count) VALUES (%s, %s, %s, %s)"
)
OLD_ROLL_UP = """
WITH gone AS (DELETE FROM records_documentarrival RETURNING connection_code, document_type, hour, count)
INSERT INTO reconciliation_feedhour AS h (connection_code, document_type, hour, count)
SELECT connection_code, document_type, hour, sum(count) FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (connection_code, document_type, hour) DO UPDATE SET count = h.count + excluded.count
"""


def come(per_hour, hours):
    """So many invoices of each entity in each of these hours."""
    hours = list(hours)
    counted = {entity: count for entity, count in per_hour.items() if count}
    place = {"connection_code": "acme", "document_type": "invoice"}
    FeedEntityHour.objects.bulk_create(
        FeedEntityHour(**place, legal_entity_code=entity, hour=hour, count=count)
        for hour in hours for entity, count in counted.items()
    )  # fmt: skip
    if counted:
        FeedHour.objects.bulk_create(FeedHour(**place, hour=hour, count=sum(counted.values())) for hour in hours)


def weeks(per_hour, *, count=8):
    """Each hour of the weeks before today."""
    come(per_hour, (MIDNIGHT - n * HOUR for n in range(1, count * 7 * 24 + 1)))


def today(per_hour, *, first=0, last=12):
    come(per_hour, (MIDNIGHT + n * HOUR for n in range(first, last)))


def open_now():
    rows = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    return set(rows.values_list("kind", "legal_entity_code"))


BUSY = {"GB01": 4, "US01": 400}
LIKE = {"GB01": 20, "US01": 30}


@pytest.mark.parametrize(
    ("per_hour", "comes", "told"),
    [
        (BUSY, BUSY, set()),
        (BUSY, BUSY | {"GB01": 0}, {(ENTITY, "GB01")}),  # 0.8 % of the feed
        (BUSY, BUSY | {"US01": 0}, {(ENTITY, "US01")}),  # nearly all of the feed, and still one entity's
        (LIKE, {}, {(WHOLE, "")}),
        (LIKE | {"DE01": 25}, {"DE01": 25}, {(ENTITY, "GB01"), (ENTITY, "US01")}),
        (LIKE | {"XX01": 0.01}, {}, {(WHOLE, "")}),  # nothing is usual of the third
        ({"GB01": 20}, {}, {(ENTITY, "GB01")}),  # it sells alone
        ({"": 20}, {}, {(WHOLE, "")}),
        (LIKE | {"": 30}, LIKE, {(WHOLE, "")}),  # what is of no known entity is told as the feed's
        (LIKE, {"": 50}, {(ENTITY, "GB01"), (ENTITY, "US01")}),  # they come, and say no more whose they are
        ({f"E{n}": 0.5 for n in range(20)}, {}, {(WHOLE, "")}),  # too little of each to tell
    ],
)  # fmt: skip
def test_what_is_too_few_is_told_of_the_entity_that_lacks_it_and_once_where_all_do(source, per_hour, comes, told):
    half = {entity: 1 for entity, count in per_hour.items() if count == 0.5}
    weeks({entity: count for entity, count in per_hour.items() if count >= 1})
    come(half, (MIDNIGHT - n * HOUR for n in range(1, 8 * 7 * 24 + 1, 2)))
    today(comes)
    assert usual.tell_quiet_feeds(NOON) == ([("acme", "invoice")] if told else [])
    assert usual.tell_quiet_feeds(NOON) == ([("acme", "invoice")] if told else [])
    assert open_now() == told
    assert ExceptionCase.objects.count() == len(told)


def test_a_silent_entity_behind_a_busy_one_is_its_own_peoples_case_and_closes_when_it_is_as_usual(source):
    weeks(BUSY)
    today(BUSY | {"GB01": 0})
    usual.tell_quiet_feeds(NOON)
    case = ExceptionCase.objects.get()
    assert case.summary == "Acme brought 0 invoices of GB01 today so far; usual are 48"
    assert (case.legal_entity_code, case.queue, case.severity) == ("GB01", "platform", 2)
    people = {code: factories.make_person("auditor", entities=(code,)) for code in ("GB01", "US01")}
    assert {code: tallies.cases_visible_to(who).count() for code, who in people.items()} == {"GB01": 1, "US01": 0}
    assert tallies.cases_visible_to(factories.make_person("auditor")).count() == 1
    FeedEntityHour.objects.create(
        connection_code="acme", document_type="invoice", legal_entity_code="GB01", hour=MIDNIGHT, count=40
    )
    FeedHour.objects.filter(hour=MIDNIGHT).update(count=440)
    assert usual.tell_quiet_feeds(NOON) == []
    case.refresh_from_db()
    assert (case.state, case.resolution) == ("resolved", "healed")


def test_an_entity_new_to_a_feed_is_not_judged_before_three_weeks(source):
    weeks(LIKE, count=2)
    weeks_before = (MIDNIGHT - n * HOUR for n in range(2 * 7 * 24 + 1, 8 * 7 * 24 + 1))
    come({"US01": 30}, weeks_before)
    today({"US01": 30})
    assert usual.tell_quiet_feeds(NOON) == []


def test_a_feeds_case_stays_while_it_is_quiet_and_the_entities_have_their_own_once_not_all_are(source):
    weeks(LIKE)
    usual.tell_quiet_feeds(NOON)
    assert open_now() == {(WHOLE, "")}
    today({"GB01": 20})
    usual.tell_quiet_feeds(NOON)
    assert open_now() == {(WHOLE, ""), (ENTITY, "US01")}  # 240 of 600 is few of the feed too
    today(LIKE, first=24, last=36)
    usual.tell_quiet_feeds(NOON + 24 * HOUR)
    assert open_now() == set()


def test_a_waived_entity_is_not_told_again_that_day_and_another_one_is(source):
    weeks(LIKE | {"DE01": 50})
    today({"DE01": 50, "US01": 30})
    usual.tell_quiet_feeds(NOON)
    closing.close_cases([Ending(ExceptionCase.objects.get(), "waived", "waived", "a holiday")], by=None)
    usual.tell_quiet_feeds(NOON)
    assert open_now() == set()
    FeedEntityHour.objects.filter(legal_entity_code="US01", hour__gte=MIDNIGHT).delete()
    FeedHour.objects.filter(hour__gte=MIDNIGHT).update(count=50)
    usual.tell_quiet_feeds(NOON)
    assert open_now() == {(ENTITY, "US01")}


def test_a_paused_connection_is_not_told_of_and_its_cases_stay(source):
    weeks(BUSY)
    today(BUSY | {"GB01": 0})
    usual.tell_quiet_feeds(NOON)
    source.connection.state = "paused"
    source.connection.save()
    assert usual.tell_quiet_feeds(NOON) == []
    assert open_now() == {(ENTITY, "GB01")}


def test_what_came_is_counted_for_its_entity_and_for_the_feed(source):
    source.issue(1, 2, entity="GB01")
    source.issue(3, entity="US01")
    source.issue(4)
    source.send(source.connection, 1, 2, 3, 4)
    receive(source.connection.id, [arrival(source.event("in_1"), "again")], via="webhook")
    usual.roll_up_arrivals()
    usual.roll_up_arrivals()
    counted = dict(FeedEntityHour.objects.values_list("legal_entity_code", "count"))
    assert counted == {"GB01": 2, "US01": 1, "": 1}
    assert FeedHour.objects.get().count == 4
    assert not DocumentArrival.objects.exists()


@pytest.mark.parametrize("by_old_worker", ["its arrivals", "the roll-up"])
@pytest.mark.scenario(59)
def test_what_an_old_worker_counts_beside_new_ones_makes_no_entity_look_quiet(source, by_old_worker):
    weeks(LIKE)
    with connection.cursor() as cursor:
        for hour in (MIDNIGHT + n * HOUR for n in range(12)):
            if by_old_worker == "its arrivals":
                cursor.execute(OLD_ARRIVED, ["acme", "invoice", hour, 50])
                continue
            for entity, count in LIKE.items():
                DocumentArrival.objects.create(
                    connection_code="acme", document_type="invoice", legal_entity_code=entity, hour=hour, count=count
                )
        if by_old_worker == "the roll-up":
            cursor.execute(OLD_ROLL_UP)
    usual.roll_up_arrivals()
    assert sum(FeedHour.objects.filter(hour__gte=MIDNIGHT).values_list("count", flat=True)) == 600
    assert not FeedEntityHour.objects.filter(hour__gte=MIDNIGHT).exists()
    assert usual.tell_quiet_feeds(NOON) == []
    judged = usual.judge_days(MIDNIGHT.date(), NOON)["acme", "invoice"][MIDNIGHT.date()]
    assert {code: (one.count, one.unknown, one.is_few) for code, one in judged.entities.items()} == {
        "GB01": (0, 600, False), "US01": (0, 600, False),
    }  # fmt: skip


def test_the_old_roll_up_and_the_new_one_add_to_the_same_hours(source):
    place = {"connection_code": "acme", "document_type": "invoice", "hour": MIDNIGHT}
    with connection.cursor() as cursor:
        for roll_up in (usual.roll_up_arrivals, lambda: cursor.execute(OLD_ROLL_UP), usual.roll_up_arrivals):
            DocumentArrival.objects.create(**place, legal_entity_code="GB01", count=3)
            roll_up()
    assert FeedHour.objects.get().count == 9
    assert FeedEntityHour.objects.get().count == 6


def test_judging_asks_two_statements_whatever_the_entities(source, count_statements):  # noqa: F811
    weeks({f"E{n:03}": 2 for n in range(10)}, count=4)
    for judge in (lambda: usual.judge_days(MIDNIGHT.date(), NOON), lambda: usual.judge_hour(NOON)):
        with count_statements() as seen:
            judge()
        assert len(seen) == 2
    assert len(usual.judge_hour(NOON)["acme", "invoice"].entities) == 10
