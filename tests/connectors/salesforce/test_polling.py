"""Salesforce's streams that suddenly give nothing: believed where the record that they stand on has left, else not.
And rows that can't be read."""

import datetime as dt

import pytest

from connectors.models import Connection, SyncCursor
from connectors.sandbox.testing import running_sandboxes
from exceptions.models import ExceptionCase
from q2c.flows.polling import poll_connection
from q2c.inbox.models import InboundKey
from tests.connectors.lines import client_of, run

pytestmark = [pytest.mark.django_db, pytest.mark.scenario(31)]


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("salesforce"), vendors=["salesforce"]) as running:
        yield running


@pytest.fixture
def poll(sandboxes):
    """Poll a stream; gives the failure."""
    given = sandboxes.vendor("salesforce")
    secrets = {name: given["credentials"][name] for name in ("client_id", "client_secret")}
    settings = {"organization_id": given["credentials"]["organization_id"], "legal_entity_field": "Legal_Entity__c"}
    Connection.objects.create(
        code="salesforce", name="Salesforce", vendor="salesforce", base_url=given["url"], is_sandbox=True
    )
    sandboxes.control("POST", "reset", {"vendors": ["salesforce"], "keep": "reference"})
    sandboxes.control("DELETE", "salesforce/faults")

    def build():
        return client_of("salesforce", given["url"], settings=settings, secrets=secrets)

    def once(stream):
        return poll_connection("salesforce", stream, client=build()).failure

    once.client = build
    return once


def won(sandboxes):
    given = {"Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-11-01", "CurrencyIsoCode": "GBP"}
    return sandboxes.make("salesforce", "Opportunity", given)[0]


@pytest.mark.parametrize("how", ["nothing is listed", "hidden from our user"])
def test_a_stream_that_lists_no_more_what_it_stands_on_is_not_believed(poll, sandboxes, how):
    won(sandboxes)
    assert poll("Opportunity") == ""
    nothing = {"totalSize": 0, "done": True, "records": []}
    when = {"path": "*/query*"} | ({"nth": 1} if how == "nothing is listed" else {})
    sandboxes.fault("salesforce", "status", status=200, body=nothing, when=when)
    assert "gave nothing" in poll("Opportunity")
    assert ExceptionCase.objects.get().kind == "feed_gap"
    sandboxes.control("DELETE", "salesforce/faults")
    assert poll("Opportunity") == ""
    assert ExceptionCase.objects.get().state == "resolved"


@pytest.mark.parametrize(
    ("stream", "change"),
    [
        ("Opportunity", {"StageName": "Prospecting"}),  # won no longer
        ("Opportunity", {"IsDeleted": True}),
        ("Account", {"IsDeleted": True}),
    ],
)
def test_a_stream_whose_last_record_has_left_is_empty_and_nobody_is_called(poll, sandboxes, stream, change):
    made = won(sandboxes) if stream == "Opportunity" else sandboxes.make("salesforce", "Account", {"Name": "Gone"})[0]
    assert poll(stream) == ""
    sandboxes.make("salesforce", stream, {"Id": made, **change})
    assert [poll(stream), poll(stream)] == ["", ""]
    assert not ExceptionCase.objects.exists()


def test_what_was_merged_may_leave_the_recycle_bin(poll, sandboxes):
    kept, gone = (sandboxes.make("salesforce", "Account", {"Name": name})[0] for name in ("Kept", "Gone"))
    sandboxes.make("salesforce", "Account", {"Id": kept, "MergeIds": [gone]})
    assert poll("MergedAccount") == ""
    sandboxes.control("POST", "reset", {"vendors": ["salesforce"], "keep": "reference"})
    assert [poll("MergedAccount"), poll("MergedAccount")] == ["", ""]
    assert not ExceptionCase.objects.exists()


def row(number, **changes):
    given = {"Id": f"0015g00000ABC{number:02d}AAA", "Name": "Row", "SystemModstamp": "2026-11-01T10:00:00.000+0000"}
    return {name: value for name, value in (given | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"SystemModstamp": ...}, "field 'SystemModstamp' is missing"),
        ({"SystemModstamp": None}, "at SystemModstamp"),
        ({"Id": None}, "at Id"),
        ({"Id": "001"}, "at Id"),
    ],
)
def test_a_row_that_cant_be_read_keeps_back_no_other(poll, sandboxes, bad, says):
    body = {"totalSize": 3, "done": True, "records": [row(1), row(2, **bad), row(3)]}
    sandboxes.fault("salesforce", "status", status=200, body=body, when={"path": "*/query*", "nth": 1})
    assert says in poll("Account")
    assert InboundKey.objects.count() == 2
    assert (ExceptionCase.objects.get().kind, SyncCursor.objects.get().position) == ("answer_not_understood", {})
    sandboxes.make("salesforce", "Account", {"Name": "Good"})
    assert poll("Account") == ""
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_row_that_cant_be_read_is_named_when_the_past_is_read_again(poll, sandboxes):
    body = {"totalSize": 2, "done": True, "records": [row(1), row(2, SystemModstamp=None)]}
    sandboxes.fault("salesforce", "status", status=200, body=body, when={"path": "*/query*"})
    now = dt.datetime.now(dt.UTC)
    page = run(poll.client().between("Account", now, now, {}))
    assert ([p.source_id.lower() for p in page.found], page.has_more) == ([row(1)["Id"].lower()], False)
    assert "at SystemModstamp" in page.unread
    with pytest.raises(ValueError, match="at SystemModstamp"):
        run(poll.client().again([row(1)["Id"]]))
