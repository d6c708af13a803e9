"""Polling: nothing lost, nothing twice, no believing in empty listings."""

from dataclasses import replace

import pytest

from connectors import fields
from connectors.families import Page, Polled
from connectors.models import Connection, SyncCursor
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.canonical.schema import to_json
from q2c.core import leases
from q2c.core.problems import Category, Problem
from q2c.flows import polling
from q2c.flows.intake import carry_due_events
from q2c.flows.polling import poll_connection
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.inbox.receive import receive
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.inbox.conftest import arrival, posted


class Feed:
    """Gives prepared pages; an exception is raised in its turn."""

    def __init__(self, *pages):
        self.pages = list(pages)
        self.asked = []

    async def changes(self, stream, position):
        self.asked.append(position)
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page


def page(*numbers, upto, more=False):
    found = tuple(Polled("fact", f"in_{n}", f"evt_{n}", to_json(posted(n))) for n in numbers)
    return Page(found, {"created": upto}, more)


def cursor():
    row = SyncCursor.objects.get()
    return {name: value for name, value in row.position.items() if name != polling.FOUND_BEFORE}, row.failure


def cursor_of(stream):
    position = SyncCursor.objects.get(stream=stream).position
    return {name: value for name, value in position.items() if name != polling.FOUND_BEFORE}


def states():
    return sorted(ExceptionCase.objects.values_list("state", flat=True))


@pytest.mark.scenario(17)
def test_a_lost_webhook_is_found_and_a_received_one_is_known(acme):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    result = poll_connection("acme", "events", client=Feed(page(1, 2, upto=20)))
    assert (result.found, result.new) == (2, 1)
    carry_due_events()
    assert BusinessTransaction.objects.count() == 2
    assert sorted(InboundEvent.objects.values_list("via", flat=True)) == ["poll", "webhook"]


@pytest.mark.scenario(27)
def test_pages_are_read_from_the_cursor_on_until_there_is_no_more(acme):
    feed = Feed(page(1, 2, upto=10, more=True), page(upto=15, more=True), page(3, upto=20))
    poll_connection("acme", "events", client=feed)
    assert feed.asked == [{}, {"created": 10}, {"created": 15}]  # a page that was filtered to nothing ends nothing
    assert cursor() == ({"created": 20}, "")
    assert InboundKey.objects.count() == 3


@pytest.mark.scenario(30)
def test_a_failure_in_the_middle_keeps_what_was_stored_and_goes_on_from_there(acme):
    away = Problem("system_unavailable", Category.AVAILABILITY, "Acme is away")
    feed = Feed(page(1, upto=10, more=True), away)
    assert poll_connection("acme", "events", client=feed).failure == "Acme is away"
    assert cursor() == ({"created": 10}, "Acme is away")
    assert not ExceptionCase.objects.exists()  # it heals by itself
    poll_connection("acme", "events", client=Feed(page(2, upto=20)))
    assert cursor() == ({"created": 20}, "")
    assert InboundKey.objects.count() == 2


@pytest.mark.scenario(29, of="reading a source, before any flow")
def test_a_crash_before_the_cursor_moved_reads_the_window_again_without_doubling(acme, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(polling, "_move", killed)
        with pytest.raises(KeyboardInterrupt):
            poll_connection("acme", "events", client=Feed(page(1, 2, upto=10)))
    again = poll_connection("acme", "events", client=Feed(page(1, 2, upto=10)))
    assert (again.found, again.new) == (2, 0)
    assert InboundEvent.objects.count() == 2


@pytest.mark.scenario(31)
def test_a_listing_that_is_suddenly_empty_is_not_believed(acme):
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    result = poll_connection("acme", "events", client=Feed(page(upto=10)))
    assert "gave nothing" in result.failure
    assert ExceptionCase.objects.get().kind == "feed_gap"
    assert cursor()[0] == {"created": 10}
    assert InboundKey.objects.count() == 1


def test_a_gap_closes_its_case_when_the_stream_is_read_whole_and_opens_it_again_when_it_comes_back(acme):
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    poll_connection("acme", "events", client=Feed(page(upto=10)))
    poll_connection("acme", "events", client=Feed(page(2, upto=10, more=True), page(2, upto=10, more=True)))
    assert ExceptionCase.objects.get().state == "open"  # half a reading heals nothing
    poll_connection("acme", "other", client=Feed(page(1, upto=10)))
    assert ExceptionCase.objects.get().state == "open"  # nor does another stream
    poll_connection("acme", "events", client=Feed(page(1, 2, upto=20)))
    case = ExceptionCase.objects.get()
    assert (case.state, case.resolution, case.occurrences.filter(closed_at=None).count()) == ("resolved", "healed", 0)
    poll_connection("acme", "events", client=Feed(page(upto=20)))
    assert (ExceptionCase.objects.get().state, ExceptionCase.objects.get().regressed_count) == ("open", 1)


def stops_after_a_page(monkeypatch):
    """A poll ends after each page, as where a process is ended or has lost its lease."""
    monkeypatch.setattr(polling, "is_ending", lambda: True)


@pytest.mark.parametrize("failing", [page(upto=10), replace(page(upto=10), unread="field 'Id' is missing")])
def test_a_case_closes_with_the_page_that_ends_the_reading_however_many_polls_it_took(acme, monkeypatch, failing):
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    poll_connection("acme", "events", client=Feed(failing))
    stops_after_a_page(monkeypatch)
    for upto in (11, 12):
        assert poll_connection("acme", "events", client=Feed(page(upto, upto=upto, more=True))).failure == ""
        assert (cursor()[1], states()) == ("", ["open"])
    poll_connection("acme", "events", client=Feed(page(13, upto=13)))
    assert states() == ["resolved"]


def test_a_crash_as_the_reading_ends_leaves_it_to_the_next_poll_to_close_the_case(acme, monkeypatch):
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    poll_connection("acme", "events", client=Feed(page(upto=10)))

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(polling, "_heal", killed)
        with pytest.raises(KeyboardInterrupt):
            poll_connection("acme", "events", client=Feed(page(2, upto=20)))
    assert states() == ["open"]
    poll_connection("acme", "events", client=Feed(page(2, upto=20)))
    assert states() == ["resolved"]


def test_a_waiver_given_between_two_parts_of_a_reading_is_seen(acme, monkeypatch, django_capture_on_commit_callbacks):
    place = {"go_on_from": {"created": 30}}
    gap = Problem("feed_gap", Category.DRIFT, "Acme lost some", connection="acme", stream="events", evidence=place)
    poll_connection("acme", "events", client=Feed(gap))
    with django_capture_on_commit_callbacks(execute=True):
        case = ExceptionCase.objects.get()
        resolutions.waive(case, by=factories.make_person("controller"), reason="the source was emptied on purpose")
    stops_after_a_page(monkeypatch)
    poll_connection("acme", "events", client=Feed(page(1, upto=10, more=True)))
    assert poll_connection("acme", "events", client=Feed(gap)).failure == ""
    assert (cursor(), states()) == (({"created": 30}, ""), ["waived"])
    assert "lost some" in poll_connection("acme", "events", client=Feed(gap)).failure
    assert states() == ["open", "waived"]  # what came after the waiver nobody has accepted


def test_what_is_passed_over_keeps_no_other_case_of_the_stream_open(acme, django_capture_on_commit_callbacks):
    poll_connection("acme", "events", client=Feed(replace(page(1, upto=10), unread="field 'Id' is missing")))
    place = {"go_on_from": {"created": 30}}
    gap = Problem("feed_gap", Category.DRIFT, "Acme lost some", connection="acme", stream="events", evidence=place)
    poll_connection("acme", "events", client=Feed(gap))
    with django_capture_on_commit_callbacks(execute=True):
        case = ExceptionCase.objects.get(kind="feed_gap")
        resolutions.waive(case, by=factories.make_person("controller"), reason="the source was emptied on purpose")
    poll_connection("acme", "events", client=Feed(gap))
    assert states() == ["open", "waived"]
    poll_connection("acme", "events", client=Feed(page(2, upto=40)))
    assert states() == ["resolved", "waived"]


def test_a_waived_gap_is_passed_over_and_the_next_one_is_a_case_again(acme, django_capture_on_commit_callbacks):
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    poll_connection("acme", "events", client=Feed(page(upto=10)))
    with django_capture_on_commit_callbacks(execute=True):
        case = ExceptionCase.objects.get()
        resolutions.waive(case, by=factories.make_person("controller"), reason="the source was emptied on purpose")
    assert ExceptionCase.objects.get().state == "waived"
    assert poll_connection("acme", "events", client=Feed(page(upto=10))).failure == ""
    assert cursor() == ({"created": 10}, "")
    assert poll_connection("acme", "events", client=Feed(page(upto=10))).failure == ""  # nothing is believed now
    assert ExceptionCase.objects.get().state == "waived"
    poll_connection("acme", "events", client=Feed(page(2, upto=20)))
    assert "gave nothing" in poll_connection("acme", "events", client=Feed(page(upto=20))).failure
    assert states() == ["open", "waived"]  # what came after the waiver nobody has accepted


def test_a_gap_with_no_place_behind_it_comes_back_though_it_was_waived(acme, django_capture_on_commit_callbacks):
    stuck = [page(1, upto=10, more=True), page(1, upto=10, more=True)]
    poll_connection("acme", "events", client=Feed(*stuck))
    with django_capture_on_commit_callbacks(execute=True):
        case = ExceptionCase.objects.get()
        resolutions.waive(case, by=factories.make_person("controller"), reason="the vendor looks into it")
    assert "same page" in poll_connection("acme", "events", client=Feed(stuck[0])).failure
    assert states() == ["open", "waived"]


def test_an_empty_listing_of_a_stream_that_never_had_anything_is_fine(acme):
    assert poll_connection("acme", "events", client=Feed(page(upto=0))).failure == ""
    assert poll_connection("acme", "events", client=Feed(page(upto=0))).failure == ""


def test_a_vendor_that_repeats_a_page_for_ever_is_stopped(acme):
    result = poll_connection("acme", "events", client=Feed(page(1, upto=10, more=True), page(1, upto=10, more=True)))
    assert "same page" in result.failure
    assert ExceptionCase.objects.get().kind == "feed_gap"


class Reading(Feed):
    """Reads a field of each prepared answer, as a vendor's client does."""

    async def changes(self, stream, position):
        self.asked.append(position)
        raw = fields.read_json(self.pages[0])
        upto = raw["paging"]["upto"] + 0
        self.pages.pop(0)
        return page(1, upto=upto)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b'{"paging": {}}', "field 'upto' is missing at paging.upto"),
        (b'{"paging": {"upto": null}}', "at paging.upto"),
        (b'{"paging": null}', "at paging"),
        (b"[]", "can't be read"),
        (b"{", "can't be read"),
    ],
)
def test_an_answer_that_cant_be_read_is_a_case_with_the_field_and_heals_when_it_can(acme, answer, says):
    feed = Reading(answer)
    assert says in poll_connection("acme", "events", client=feed).failure
    assert len(feed.asked) == 2  # once more, to learn which field
    case = ExceptionCase.objects.get()
    assert (case.kind, case.connection_code) == ("answer_not_understood", "acme")
    assert says in cursor()[1]
    poll_connection("acme", "events", client=Reading(answer))
    poll_connection("acme", "other", client=Reading(answer))
    assert states() == ["open", "open"]  # one of each stream
    poll_connection("acme", "events", client=Reading(b'{"paging": {"upto": 7}}'))
    assert cursor_of("events") == {"created": 7}
    assert states() == ["open", "resolved"]


def test_the_good_rows_of_a_page_are_stored_and_the_cursor_waits_for_the_bad_one(acme):
    half = replace(page(1, 2, upto=10), position={}, unread="field 'Id' is missing")
    assert "field 'Id' is missing" in poll_connection("acme", "events", client=Feed(half)).failure
    assert (InboundKey.objects.count(), cursor()[0]) == (2, {})
    assert ExceptionCase.objects.get().kind == "answer_not_understood"
    feed = Feed(page(1, 2, 3, upto=10))
    assert poll_connection("acme", "events", client=feed).new == 1
    assert (feed.asked, states()) == ([{}], ["resolved"])


def test_refused_credentials_pause_the_connection_with_one_case(acme):
    refused = Problem("credentials_refused", Category.AUTHENTICATION, "Acme refused our key")
    poll_connection("acme", "events", client=Feed(refused))
    assert Connection.objects.get(code="acme").state == "paused"
    assert poll_connection("acme", "events", client=Feed()).failure == "the connection is paused"
    assert ExceptionCase.objects.get().kind == "credentials_refused"


def test_a_stream_that_may_not_be_read_has_a_case_of_its_own_pauses_nothing_and_closes_once_it_is_read(acme):
    refused = Problem("vendor_permission", Category.AUTHENTICATION, "Acme's key may not do this", connection="acme")
    poll_connection("acme", "events", client=Feed(refused))
    poll_connection("acme", "other", client=Feed(refused))
    assert Connection.objects.get(code="acme").state == "active"
    cases = ExceptionCase.objects.filter(kind="stream_unread")
    assert sorted(case.subject["stream"] for case in cases) == ["events", "other"]
    poll_connection("acme", "events", client=Feed(page(1, upto=10)))
    assert {case.subject["stream"]: case.state for case in cases.all()} == {"events": "resolved", "other": "open"}


def test_one_poll_of_a_stream_runs_at_a_time(acme):
    assert leases.take_lease("poll:acme:events", holder="somebody else", seconds=60)
    assert "another poll" in poll_connection("acme", "events", client=Feed()).failure


def test_what_was_said_for_a_page_is_stored_before_the_next_is_asked_for(acme, monkeypatch):
    kept = []

    class Talking(Feed):
        async def changes(self, stream, position):
            self.collector(f"after {position}")
            return await super().changes(stream, position)

    def client_for(row, *, collector):
        feed = Talking(page(1, upto=10, more=True), page(2, upto=20))
        feed.collector = collector
        return feed

    monkeypatch.setattr(polling.registry, "client_for", client_for)
    monkeypatch.setattr(polling, "for_their_owners", lambda rows, owners: rows)
    monkeypatch.setattr(polling, "write_exchanges", kept.append)
    poll_connection("acme", "events")
    assert kept == [["after {}"], ["after {'created': 10}"], []]
