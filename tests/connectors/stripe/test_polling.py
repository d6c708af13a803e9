"""Stripe's events over weeks: a quiet account is no gap, a forgotten one is, and what can be read is read before."""

import datetime as dt
from contextlib import contextmanager

import pytest
import time_machine

from connectors.models import Connection, SyncCursor
from connectors.sandbox.testing import running_sandboxes
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.problems import Problem
from q2c.flows.polling import poll_connection
from q2c.inbox.models import InboundKey
from tests import factories
from tests.connectors.lines import client_of, run

START = dt.datetime(
    2026, 1, 10, 9, tzinfo=dt.UTC
)  # past: of a later time, our ids would stay ahead in the tests after it
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("stripe"), vendors=["stripe"]) as running:
        running.control("POST", "stripe/limits", {"enforced": False})
        yield running


@pytest.fixture
def house(sandboxes):
    """Stripe and ourselves at one time, which is moved."""
    sandboxes.control("POST", "reset", {"vendors": ["stripe"], "keep": "nothing"})
    sandboxes.control("DELETE", "stripe/faults")
    yield House(sandboxes)
    sandboxes.control("POST", "clock", {"reset": True})


class House:
    def __init__(self, sandboxes):
        self.sandboxes, self.given = sandboxes, sandboxes.vendor("stripe")

    @contextmanager
    def at(self, now):
        self.sandboxes.control("POST", "clock", {"now": now.isoformat()})
        with time_machine.travel(now):
            yield

    def client(self):
        return client_of("stripe", self.given["url"], secrets=self.given["credentials"])

    def happens(self):
        """Something that Stripe tells; its object's id."""
        return self.sandboxes.make("stripe", "customer", {"name": "Northwind"})[0]

    def round(self, position):
        """A poll: what it found, and where it stands then."""
        found = []
        while True:
            page = run(self.client().changes("events", position))
            found += [polled.source_id for polled in page.found]
            position = page.position
            if not page.has_more:
                return found, position

    def empties_lists(self, **when):
        body = {"object": "list", "data": [], "has_more": False, "url": "/v1/events"}
        self.sandboxes.fault("stripe", "status", status=200, body=body, when={"path": "/v1/events", **when})


def test_an_account_may_be_quiet_for_longer_than_stripe_remembers(house):
    with house.at(START):
        made = house.happens()
        found, position = house.round({})
        assert made in found
    for days in (10, 29, 31, 45, 70):
        with house.at(START + days * DAY):
            found, position = house.round(position)
            assert found == ([made] if days == 10 else [])  # the overlap brings it once more
            assert position["created"] >= int((START + days * DAY).timestamp()) - 3600
    with house.at(START + 95 * DAY):
        made = house.happens()
        assert house.round(position)[0] == [made]


def test_a_poll_that_had_stopped_for_a_quiet_account_goes_on_by_itself(house):
    """As the release before left it: read whole a moment before the watermark grew too old."""
    position = {"created": int(START.timestamp()), "full_at": int((START + 30 * DAY).timestamp()), "has_seen": True}
    with house.at(START + 33 * DAY):
        made = house.happens()
        assert house.round(position)[0] == [made]


@pytest.mark.parametrize("quiet", [dt.timedelta(minutes=61), dt.timedelta(days=3), dt.timedelta(days=29)])
@pytest.mark.scenario(31)
def test_a_listing_that_lacks_what_stripe_should_still_have_is_not_believed(house, quiet):
    with house.at(START):
        house.happens()
        position = house.round({})[1]
    if quiet > DAY:
        with house.at(START + quiet - DAY):
            position = house.round(position)[1]  # the watermark has gone on since that event
    with house.at(START + quiet):
        house.empties_lists()
        with pytest.raises(Problem, match="lists no event where it listed some before") as gap:
            house.round(position)
        after = gap.value.evidence["go_on_from"]
        assert house.round(after)[0] == []  # a person accepted it


def test_nothing_is_missed_in_a_listing_once_the_newest_event_is_forgotten(house):
    with house.at(START):
        house.happens()
        position = house.round({})[1]
    with house.at(START + 20 * DAY):
        position = house.round(position)[1]
    with house.at(START + 40 * DAY):
        house.empties_lists()
        assert house.round(position)[0] == []


@pytest.mark.django_db
@pytest.mark.scenario(28)
def test_what_is_still_kept_is_read_before_a_person_is_told_what_is_lost(house, django_capture_on_commit_callbacks):
    def poll():
        return poll_connection("stripe", "events", client=house.client()).failure

    Connection.objects.create(code="stripe", name="Stripe", vendor="stripe", base_url=house.given["url"])
    with house.at(START):
        house.happens()
        assert poll() == ""
    with house.at(START + 20 * DAY):
        kept = house.happens()
    with house.at(START + 40 * DAY):
        assert "30 days" in poll()
        assert "30 days" in poll()
        assert InboundKey.objects.filter(event__source_id=kept).count() == 1
        assert ExceptionCase.objects.get().kind == "feed_gap"
        assert SyncCursor.objects.get().failure
    with house.at(START + 40 * DAY + dt.timedelta(hours=2)):
        later = house.happens()
        assert "30 days" in poll()  # nobody has accepted it, and still what happens is read
        assert InboundKey.objects.filter(event__source_id=later).count() == 1
        with django_capture_on_commit_callbacks(execute=True):
            resolutions.waive(
                ExceptionCase.objects.get(), by=factories.make_person("controller"), reason="found in Stripe's lists"
            )
    with house.at(START + 40 * DAY + dt.timedelta(hours=4)):
        assert [poll(), poll()] == ["", ""]
        assert SyncCursor.objects.get().failure == ""
    assert ExceptionCase.objects.get().state == "waived"


@pytest.mark.django_db
@pytest.mark.parametrize("is_full", [True, False])
def test_an_event_that_cant_be_read_keeps_back_no_other(house, is_full):
    Connection.objects.create(code="stripe", name="Stripe", vendor="stripe", base_url=house.given["url"])
    if not is_full:
        assert poll_connection("stripe", "events", client=house.client()).failure == ""
    before = SyncCursor.objects.values_list("position", flat=True).first() or {}
    events = [
        {
            "id": f"evt_{n}",
            "type": "customer.created",
            "created": 1_900_000_000 + n,
            "data": {"object": {"id": "cus_1"}},
        }
        for n in range(3)
    ]
    events[1]["created"] = None
    body = {"object": "list", "data": events, "has_more": False, "url": "/v1/events"}
    house.sandboxes.fault("stripe", "status", status=200, body=body, when={"path": "/v1/events", "nth": 1})
    assert "created" in poll_connection("stripe", "events", client=house.client()).failure
    assert set(InboundKey.objects.values_list("dedupe_key", flat=True)) >= {"evt_0", "evt_2"}
    assert ExceptionCase.objects.get().kind == "answer_not_understood"
    assert SyncCursor.objects.get().position == before
    assert poll_connection("stripe", "events", client=house.client()).failure == ""
    assert ExceptionCase.objects.get().state == "resolved"
