"""What a person's resuming ends in every process: the pause that a vendor asked for, and open breakers."""

from __future__ import annotations

import asyncio
import uuid

import pytest
import redis
from django.utils import timezone

from connectors import connections, probes, resumes
from connectors.breaker import Breaker
from connectors.models import Connection
from connectors.throttle import Throttle
from q2c.core.problems import NeverSent
from tests import factories


class Clock:
    now = 5000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def paused(db):
    """A paused connection of which health says that it's down."""
    row = factories.make_connection("netsuite-" + uuid.uuid4().hex[:8], state="paused", paused_reason="refused us")
    row.health.breaker, row.health.breaker_until, row.health.failures_in_row = "open", timezone.now(), 7
    row.health.stopped = ["invoice"]
    row.health.save()
    return row


def is_held(line) -> bool:
    try:
        asyncio.run(line.wait_turn()) if isinstance(line, Throttle) else line.let_through()
    except NeverSent:
        return True
    return False


def test_after_a_person_resumed_a_connection_no_process_holds_its_calls_back(
    paused, clock, django_capture_on_commit_callbacks
):
    lines = [Throttle(paused.code, None, clock=clock) for _ in range(2)]
    lines += [Breaker(paused.code, clock, about, probes.Probes()) for about in ("", "invoice") for _ in range(2)]
    for line in lines:
        if isinstance(line, Throttle):
            line.pause(3600)
        else:
            line._open_seconds = 100.0
            line._open(clock())
    clock.now += 2
    assert [is_held(line) for line in lines] == [True] * 6
    with django_capture_on_commit_callbacks(execute=True):
        connections.resume(paused, by=factories.make_person("platform"), reason="The vendor raised the limit")
    clock.now += 2
    assert [is_held(line) for line in lines] == [False] * 6
    assert probes.Probes().open_seconds(paused.code) == 0
    row = Connection.objects.get(pk=paused.pk)
    seen = row.health
    assert (seen.breaker, seen.breaker_until, seen.stopped, seen.failures_in_row) == ("closed", None, [], 0)
    assert connections.health_of(row).state == "healthy"


def test_a_pause_that_the_vendor_asks_for_after_the_resume_lasts(clock):
    name = uuid.uuid4().hex
    resumes.tell_resumed(name)
    line = Throttle(name, None, clock=clock)
    line.pause(3600)
    clock.now += 2
    assert is_held(line)


def test_another_connections_resume_ends_nothing_and_without_redis_a_pause_lasts(clock, monkeypatch):
    line = Throttle(uuid.uuid4().hex, None, clock=clock)
    line.pause(60)
    resumes.tell_resumed(uuid.uuid4().hex)
    clock.now += 2
    assert is_held(line)

    def away():
        raise redis.ConnectionError("away")

    monkeypatch.setattr(resumes, "broker", away)
    resumes.tell_resumed(line.connection)
    clock.now += 2
    assert is_held(line)
    clock.now += 60
    assert not is_held(line)


def test_a_pause_that_begins_while_redis_is_away_lasts_when_it_is_back_until_somebody_resumes(clock, monkeypatch):
    line = Throttle(uuid.uuid4().hex, None, clock=clock)
    resumes.tell_resumed(line.connection)  # of an earlier pause

    def away():
        raise redis.ConnectionError("away")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(resumes, "broker", away)
        line.pause(3600)
        clock.now += 2
        assert is_held(line)
    for _ in range(2):
        clock.now += 2
        assert is_held(line)
    resumes.tell_resumed(line.connection)
    clock.now += 2
    assert not is_held(line)
