"""Running a stored event again: what it became already is found, what changed since is carried."""

import pytest

from connectors.manifest import Manifest
from exceptions import cases, closing, resolutions
from exceptions.models import ExceptionCase
from q2c.core.customer_keys import destroy_key, ensure_keys
from q2c.core.models import AuditEntry, CustomerKey, Person
from q2c.flows import intake
from q2c.flows.intake import carry_due_events
from q2c.inbox.models import InboundKey
from q2c.inbox.receive import Arrival, receive
from q2c.inbox.replay import Erased, replay_event
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
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


def read_one(acme, kind="fact"):
    """A message of cus_1 that was read; of a kind that can't be, that was refused."""
    (event_id,) = receive(acme.id, [Arrival(kind, "in_1", "evt_1", arrival(posted(1), "x").body)], via="webhook").new
    carry_due_events()
    if kind == "bug":  # whose it is, the vendor's manifest says of a message that nobody can translate
        (key_id,) = ensure_keys([("acme", "cus_1")]).values()
        InboundKey.objects.update(customer_key_id=key_id)
    return event_id


def test_a_message_that_was_read_isnt_run_again_once_its_customer_was_erased(acme, clerk):
    event_id = read_one(acme)
    destroy_key(CustomerKey.objects.get().pk)
    with pytest.raises(Erased, match="customer was erased"):
        replay_event(event_id, by=clerk, reason="to be sure")
    assert InboundKey.objects.get().verdict == "translated"
    assert not AuditEntry.objects.filter(verb="replay").exists()
    assert not ExceptionCase.objects.exists()


def test_what_was_refused_of_an_erased_customer_leads_to_a_case_that_can_be_waived(acme, clerk):
    event_id = read_one(acme, "bug")
    before = ExceptionCase.objects.get()
    destroy_key(CustomerKey.objects.get().pk)
    assert replay_event(event_id, by=clerk, reason="the reader is mended")
    cases.close_for_events([event_id], "replayed")
    carry_due_events()
    closing.resolve_emptied()
    before.refresh_from_db()
    case = ExceptionCase.objects.get(closed_at=None)
    assert (before.state, case.kind, InboundKey.objects.get().reason_code) == ("resolved", "erased", "erased")
    with pytest.raises(Erased):
        replay_event(event_id, by=clerk, reason="once more")
    resolutions.waive(case, by=factories.make_person("controller"), reason="The invoice was booked by hand")
    closing.resolve_emptied()
    case.refresh_from_db()
    assert case.state == "waived"


@pytest.mark.parametrize("kind", ["fact", "asked"])
def test_a_customer_who_is_erased_while_their_message_waits_is_no_bug_of_ours_and_nobody_is_asked(acme, clerk, kind):
    acme.client.answers["in_1"] = posted(1)
    event_id = read_one(acme, kind)
    asked = len(acme.client.asked)
    assert replay_event(event_id, by=clerk, reason="to be sure")
    destroy_key(CustomerKey.objects.get().pk)
    carry_due_events()
    assert list(ExceptionCase.objects.values_list("kind", flat=True)) == ["erased"]
    assert len(acme.client.asked) == asked
