"""The workers of one test run share a broker, and nothing in it."""

from __future__ import annotations

import os

import pytest

from connectors import slots
from q2c.core.brokers import client_of
from q2c.flows import nudger
from tests.brokers import DATABASES, PATIENCE_SECONDS, own_broker


@pytest.mark.parametrize(
    ("url", "worker", "own"),
    [
        ("redis://:p%40ss@one:6379/0", "", "redis://:p%40ss@one:6379/0"),
        ("redis://:p%40ss@one:6379/0", "gw0", "redis://:p%40ss@one:6379/1"),
        ("rediss://one:6379", "gw2", "rediss://one:6379/3"),
        ("unix://:p@/run/valkey.sock?db=0", "gw1", "unix://:p@/run/valkey.sock?db=2"),
        ("unix://:p@/run/valkey.sock", "gw15", "unix://:p@/run/valkey.sock?db=1"),
        ("sentinel://:p@one,two/q2c?db=0&sentinel_password=o%40", "gw3",
         "sentinel://:p@one,two/q2c?db=4&sentinel_password=o%40"),
    ],
)  # fmt: skip
def test_each_worker_has_a_database_of_the_broker(url, worker, own):
    assert own_broker(url, worker) == own


def test_what_a_worker_forgets_is_still_known_to_the_others():
    """An account's slots, a nudge's mark and a breaker have the same names in every worker's tests."""
    url = os.environ["REDIS_URL"]
    clients = [client_of(own_broker(url, f"gw{n}")) for n in range(DATABASES - 1)]
    numbers = {client.connection_pool.connection_kwargs["db"] for client in clients}
    assert numbers == set(range(1, DATABASES))
    other = clients[-1]
    other.set("q2c:slots:another-workers:lowered", 1, px=10_000)
    slots.forget_lowered()
    assert other.delete("q2c:slots:another-workers:lowered") == 1


@pytest.mark.parametrize("broker", [slots.broker, nudger.broker])
def test_a_broker_that_is_late_is_waited_for(broker):
    assert broker().connection_pool.connection_kwargs["socket_timeout"] == PATIENCE_SECONDS
