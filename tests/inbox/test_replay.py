"""Running a stored event again: what it became already is found, what changed since is carried."""

import pytest

from connectors.manifest import Manifest
from q2c.core.models import AuditEntry, Person
from q2c.flows import intake
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import Arrival, receive
from q2c.inbox.replay import replay_event
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.inbox.conftest import MANIFEST, arrival, posted


@pytest.fixture
def clerk(acme):
    return Person.objects.create(username="clerk")


def test_a_replay_of_what_was_carried_makes_nothing_new_and_is_audited(acme, clerk):
    (event_id,) = receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook").new
    carry_due_events()
    assert replay_event(event_id, by=clerk, reason="to be sure")
    assert carry_due_events().count == 1  # its body is under the customer's key by now, and opens
    assert InboundKey.objects.get().verdict == "translated"
    assert BusinessTransaction.objects.count() == WorkItem.objects.count() == 1
    assert (AuditEntry.objects.get().verb, AuditEntry.objects.get().why) == ("replay", "to be sure")


@pytest.mark.scenario(19)
def test_a_replay_after_the_manifest_was_mended_carries_what_was_refused(acme, clerk, monkeypatch):
    (event_id,) = receive(
        acme.id, [Arrival("new.event", "in_1", "evt_1", arrival(posted(1), "x").body)], via="webhook"
    ).new
    carry_due_events()
    assert InboundKey.objects.get().reason_code == "unknown_event"
    mended = Manifest(**{**vars(MANIFEST), "events": {**MANIFEST.events, "new.event": MANIFEST.events["fact"]}})
    monkeypatch.setattr(intake.registry, "manifest", lambda code: mended)
    replay_event(event_id, by=clerk, reason="declared it")
    carry_due_events()
    assert InboundKey.objects.get().verdict == "translated"
    assert BusinessTransaction.objects.count() == 1


def test_a_refetched_object_that_changed_since_is_the_next_in_its_lane(acme, clerk):
    acme.client.answers["in_1"] = posted(1, "10.00")
    (event_id,) = receive(acme.id, [Arrival("asked", "in_1", "evt_1", b"{}")], via="webhook").new
    carry_due_events()
    acme.client.answers["in_1"] = posted(1, "12.00")
    replay_event(event_id, by=clerk, reason="the source was mended")
    carry_due_events()
    assert list(BusinessTransaction.objects.order_by("lane_sequence").values_list("lane_sequence", "amount")) == [
        (1, 10),
        (2, 12),
    ]


def test_a_message_that_waits_to_be_read_is_not_replayed(acme, clerk):
    (event_id,) = receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook").new
    assert not replay_event(event_id, by=clerk, reason="hurry")
    assert not AuditEntry.objects.exists()
