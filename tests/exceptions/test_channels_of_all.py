"""Channels are of the whole house: who keeps them for one entity neither reads what others are told nor changes it."""

from __future__ import annotations

import pytest

from exceptions.models import AlertChannel, AlertDelivery, AlertGroup
from q2c.core.models import AuditEntry
from tests.exceptions.test_alerts import FORM
from tests.factories import make_channel, make_custom_role, make_message_to, make_person

pytestmark = pytest.mark.django_db
CHANNELS = "/exceptions/alerts/channels/"
# Address and method; {c} is the channel, {d} a message to it about another entity.
PAGES = [
    ("get", CHANNELS), ("post", CHANNELS), ("get", CHANNELS + "{c}/"), ("post", CHANNELS + "{c}/"),
    ("post", CHANNELS + "{c}/test/"), ("get", CHANNELS + "{c}/log/"), ("post", CHANNELS + "{c}/again/"),
    ("get", "/exceptions/alerts/messages/{d}/"), ("post", "/exceptions/alerts/messages/{d}/again/"),
]  # fmt: skip


@pytest.fixture
def message():
    row = make_message_to(make_channel("Incidents", sort="webhook"), state="failed", body='{"place": "GB01"}')
    AlertGroup.objects.update(entities=["GB01"], queues=["platform"])
    return row


@pytest.mark.parametrize(("method", "address"), PAGES)
@pytest.mark.parametrize("entities", [("DE01",), ("DE01", "FR01")])
def test_who_keeps_channels_of_some_entities_only_is_refused_in_words(client, message, method, address, entities):
    anna = make_person("platform", entities=entities)
    make_person("platform", username="all", display_name="Zora of all entities")
    client.force_login(anna)
    answer = getattr(client, method)(address.format(c=message.channel_id, d=message.pk), FORM)
    text = answer.content.decode()
    assert (answer.status_code, "GB01" in text) == (403, False)
    assert "doesn’t include “keep the channels of alerts” for every entity" in text
    assert "Zora of all entities" in text
    assert (AlertChannel.objects.count(), AlertDelivery.objects.get().state) == (1, "failed")
    assert not AuditEntry.objects.filter(verb__in=("send_again", "test", "propose")).exists()


@pytest.mark.parametrize(
    ("role", "entities", "status"),
    [("platform", (), 200), ("platform", ("DE01",), 403), ("keeper", (), 200), ("keeper", ("DE01",), 403)],
)
def test_the_log_and_the_way_to_it_are_for_people_of_all_entities(client, message, role, entities, status):
    if role == "platform":
        person = make_person(role, entities=entities)
    else:
        permissions = ["exceptions.view_case", "exceptions.manage_alerts", "portal.view_home"]
        person = make_custom_role(role, "kim", entities=entities, permissions=permissions).person
    client.force_login(person)
    assert client.get(f"{CHANNELS}{message.channel_id}/log/").status_code == status
    assert (CHANNELS in client.get("/exceptions/alerts/").content.decode()) is (status == 200)
