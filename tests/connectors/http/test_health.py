"""What the telephone saw of a connection is stored for its screen."""

import pytest

from connectors import registry
from connectors.breaker import breaker_of
from connectors.models import Connection, ConnectionHealth

pytestmark = pytest.mark.django_db


@pytest.fixture
def connection():
    return Connection.objects.create(code="netsuite", name="NetSuite", vendor="netsuite", base_url="https://n.example")


def test_a_success_is_stored_with_its_latency_and_quota(connection):
    seen = breaker_of("netsuite")
    seen.note_success(42)
    seen.quota_used, seen.quota_limit = 25, 5000
    registry.save_health()
    health = ConnectionHealth.objects.get(connection=connection)
    assert (health.breaker, health.latency_ms, health.quota_used, health.quota_limit) == ("closed", 42, 25, 5000)
    assert health.last_success_at is not None
    assert health.breaker_until is None


def test_an_open_breaker_is_stored_with_its_reason_and_end(connection):
    for _ in range(5):
        breaker_of("netsuite").note_failure("answered 503")
    registry.save_health()
    health = ConnectionHealth.objects.get(connection=connection)
    assert (health.breaker, health.last_failure, health.failures_in_row) == ("open", "answered 503", 5)
    assert health.breaker_until > health.last_failure_at


def test_nothing_new_costs_nothing(connection, django_assert_num_queries):
    breaker_of("netsuite").note_success(1)
    breaker_of("gone").note_success(1)
    registry.save_health()
    with django_assert_num_queries(0):
        registry.save_health()
    assert ConnectionHealth.objects.count() == 1
