"""Which outbound messages are let in, and what is kept of them."""

import datetime as dt
from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from connectors.salesforce import door
from connectors.salesforce.ids import full_id
from connectors.signatures import Refused

FIXTURES = Path(__file__).parent / "fixtures"  # aspnet/WebHooks (Apache-2.0), LICENSE.aspnet beside them
MESSAGE = (FIXTURES / "outbound_two_contacts.xml").read_bytes()
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
SECRETS = {"webhook_path_secret": "kept-secret"}
SETTINGS = {"organization_id": "012345678901234"}


def verify(*, body=MESSAGE, query=None, secrets=None, settings=None):
    door.verify(
        body, {}, query if query is not None else {"path_secret": "kept-secret"}, secrets or SECRETS,
        settings or SETTINGS, NOW,
    )  # fmt: skip


def test_the_secret_and_the_organisation_let_it_in():
    verify()
    verify(settings={"organization_id": full_id("012345678901234")})
    verify(secrets={"webhook_path_secret": "new", "webhook_path_secret_previous": "kept-secret"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"query": {}}, "missing"),
        ({"query": {"path_secret": ""}}, "missing"),
        ({"query": {"path_secret": "guess"}}, "signature"),
        ({"settings": {"organization_id": "00D000000000001"}}, "organization"),
        ({"settings": {"organization_id": ""}}, "malformed"),
        ({"body": b"<html></html>"}, "malformed"),
        ({"body": b"not xml"}, "malformed"),
    ],
)
def test_what_is_refused(changes, reason):
    with pytest.raises(Refused) as refusal:
        verify(**changes)
    assert refusal.value.reason == reason


def test_each_notification_is_an_event_of_its_own():
    first, second = door.split(MESSAGE, {})
    assert (first.event_type, first.source_id, first.dedupe_key) == (
        "Contact", "0031I0000081tbPQAQ", "om:04l1I000000fztEQAQ",
    )  # fmt: skip
    assert (second.source_id, second.dedupe_key) == ("0031I0000081tb0QAA", "om:04l1I000000fzt9QAA")
    assert b"Jeraldine" in first.body
    assert b"Jeraldine" not in second.body


def test_the_session_id_is_never_stored():
    body = MESSAGE.replace(b"<SessionId>REDACTED</SessionId>", b"<SessionId>00Dxx0000001gPF!AQ4AQ.live</SessionId>")
    assert b"AQ4AQ" in body
    for polled in door.split(body, {}):
        assert b"SessionId" not in polled.body
        assert b"AQ4AQ" not in polled.body


def test_a_message_without_notifications_is_no_event():
    assert door.split((FIXTURES / "outbound_empty.xml").read_bytes(), {}) == []


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b'<?xml version="1.0"?><!DOCTYPE r SYSTEM "http://10.0.0.1/x.dtd"><r/>',
        MESSAGE[:400],
        b"",
    ],
)
def test_dangerous_or_broken_xml_is_malformed(body):
    with pytest.raises(ValueError):
        door.split(body, {})


def test_the_acknowledgement_says_what_salesforce_wants():
    expected = fromstring((FIXTURES / "expected_ack.xml").read_bytes())
    ours = fromstring(door.ACK)
    assert [e.tag for e in ours.iter()] == [e.tag for e in expected.iter()]
    assert next(e.text for e in ours.iter() if e.tag.endswith("Ack")) == "true"
