"""The workers of one run of the tests share a broker's server and nothing in it."""

import os

import pytest
import redis
from django.conf import settings

from tests.settings import own_broker


@pytest.mark.parametrize(
    ("url", "worker", "own"),
    [
        ("unix://:pw@/run/valkey.sock?db=0", "gw0", "unix://:pw@/run/valkey.sock?db=0"),
        ("unix://:pw@/run/valkey.sock?db=0", "gw2", "unix://:pw@/run/valkey.sock?db=2"),
        ("redis://:pw@127.0.0.1:6379/0", "gw11", "redis://:pw@127.0.0.1:6379/11"),
        ("redis://:pw@127.0.0.1:6379/0", "gw17", "redis://:pw@127.0.0.1:6379/1"),
        ("redis://:pw@127.0.0.1:6379/4", "gw2", "redis://:pw@127.0.0.1:6379/4"),
        ("unix://:pw@/run/valkey.sock?db=10", "gw2", "unix://:pw@/run/valkey.sock?db=10"),
    ],
)
def test_each_worker_has_a_database_of_the_broker(url, worker, own):
    assert own_broker(url, worker) == own


def test_what_this_worker_keeps_there_lies_in_its_own():
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    assert os.environ["REDIS_URL"] == settings.REDIS_URL
    if settings.REDIS_URL.startswith("unix:"):  # the tests' own server
        assert redis.from_url(settings.REDIS_URL).connection_pool.connection_kwargs["db"] == number % 16
