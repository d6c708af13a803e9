"""Every vendor's webhook door refuses what isn't proved, and reads nothing that isn't a message."""

import datetime as dt

import pytest

from connectors import registry
from connectors.signatures import Refused
from tests.connectors.contract.vendor_facts import VENDORS, made_up_secrets, made_up_settings

DOORS = [code for code in VENDORS if registry.manifest(code).webhook]
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
BODIES = [b"", b"{}", b"<x/>", b"null", b"\xff\xfe\x00", b'{"id": 5}', b"[1, 2", b"<!DOCTYPE a><a/>"]


@pytest.mark.parametrize("code", DOORS)
@pytest.mark.parametrize("body", BODIES)
def test_an_unproved_message_is_refused(code, body):
    door = registry.manifest(code).webhook
    for secrets in ({}, made_up_secrets(code)):
        with pytest.raises(Refused):
            door.verify(body, {}, {}, secrets, made_up_settings(code), NOW)


@pytest.mark.parametrize("code", DOORS)
@pytest.mark.parametrize("body", BODIES)
def test_what_is_no_message_is_malformed(code, body):
    with pytest.raises(ValueError):
        registry.manifest(code).webhook.split(body, {})


@pytest.mark.parametrize("code", DOORS)
def test_a_message_is_acknowledged_with_2xx(code):
    status, content_type, body = registry.manifest(code).webhook.acknowledge
    assert 200 <= status < 300
    assert content_type
    assert isinstance(body, str)


@pytest.mark.parametrize("code", DOORS)
def test_two_secrets_can_be_valid_while_one_is_rotated(code):
    names = {s.name for s in registry.manifest(code).settings}
    assert any(f"{name}_previous" in names for name in names)
