"""Valkey's primary goes and its replica is promoted: the portal says so meanwhile, follows by itself, and every invoice
is posted once. The old primary comes back as a replica, and refuses what is written to it."""

from __future__ import annotations

import os
import time

import pytest
import redis
from celery import Celery
from django.core.cache import caches
from django.test import override_settings
from kombu.exceptions import OperationalError

from q2c.api.health import has_broker
from q2c.core.brokers import cache_of, celery_of, client_of, read_sentinels
from q2c.transactions import workers
from tests.journeys.sentinels import PASSWORD, Sentinels
from tests.journeys.stage import Stage, await_that

INVOICES = 40


@pytest.fixture
def sentinels(tmp_path):
    running = Sentinels(tmp_path / "valkey").start()
    yield running
    running.stop()


def test_an_address_of_sentinels_is_taken_apart_for_every_client():
    url = "sentinel://:p%40ss@one:26379,two/q2c?db=3&sentinel_password=other"
    found = read_sentinels(url)
    assert found is not None
    assert (found.hosts, found.name, found.db) == ((("one", 26379), ("two", 26379)), "q2c", 3)
    assert (found.username, found.password, found.sentinel_password) == (None, "p@ss", "other")
    address, options = celery_of(url)
    assert address == "sentinel://:p%40ss@one:26379/3;sentinel://:p%40ss@two:26379/3"
    assert (options["master_name"], options["sentinel_kwargs"]["password"]) == ("q2c", "other")
    assert cache_of(url)["LOCATION"] == [url]
    with pytest.raises(ValueError, match="names no primary"):
        read_sentinels("sentinel://one:26379")
    assert read_sentinels("redis://one:6379/0") is None
    assert celery_of("unix://:p@/run/valkey.sock?db=0") == ("redis+socket://:p@/run/valkey.sock?virtual_host=0", {})


def test_every_client_follows_the_primary_and_readiness_says_when_there_is_none(sentinels, record_property):
    nudges = client_of(sentinels.url, socket_timeout=5, socket_connect_timeout=5)
    assert nudges.set("q2c:nudge:one", 1)
    celery = Celery("follows")
    celery.conf.broker_url, celery.conf.broker_transport_options = celery_of(sentinels.url)

    def sends() -> bool:
        try:
            celery.send_task("any", retry=False, ignore_result=True)
        except (OperationalError, redis.RedisError):
            return False
        return True

    assert sends()
    with override_settings(REDIS_URL=sentinels.url, CACHES={"default": cache_of(sentinels.url)}):
        assert has_broker()
        sentinels.kill("primary")
        gone_at = time.monotonic()
        assert not has_broker()  # /readyz: missing broker
        with pytest.raises(redis.RedisError):
            nudges.set("q2c:nudge:two", 1)  # whoever nudges goes on without
        await_that(has_broker, seconds=60, what="the replica is promoted")
        record_property("said", f"failover: no broker for {time.monotonic() - gone_at:.1f} s")
        caches["default"].set("after", "the failover")
        assert caches["default"].get("after") == "the failover"
    assert sentinels.role("replica") == "master"
    assert nudges.set("q2c:nudge:two", 1)
    await_that(sends, seconds=30, what="Celery sends again")

    sentinels.begin("primary")  # as a primary, and the sentinel makes it a replica
    await_that(lambda: sentinels.role("primary") == "slave", seconds=60, what="the old primary follows")
    with pytest.raises(redis.ReadOnlyError):
        redis.Redis(port=sentinels.ports["primary"], password=PASSWORD).set("x", 1)
    assert nudges.set("q2c:nudge:three", 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.crash
@pytest.mark.scenario(57, of="processes, whatever they carry")
@pytest.mark.skipif(os.environ.get("Q2C_EVERY_FLOW") != "1", reason="takes a minute: part of make check-all")
def test_real_workers_go_on_through_a_failover_and_post_every_invoice_once(house, sentinels, tmp_path, sandboxes):
    customer = house.customer()
    house.carry()
    workers.stop_worker()
    house.fault("netsuite", "delay", when={"method": "POST", "path": "*/invoice"}, seconds=0.2)
    stage = Stage(tmp_path / "stage", sandboxes.port)

    def carries(count):
        house.invoices(customer, count)
        await_that(lambda: not house.has_undelivered_events(), seconds=60, what="every webhook taken")

    try:
        stage.open(REDIS_URL=sentinels.url)
        carries(INVOICES // 2)
        await_that(lambda: len(house.made("netsuite", "invoice")) >= 3, seconds=90, what="the workers have begun")
        sentinels.kill("primary")
        await_that(lambda: sentinels.role("replica") == "master", seconds=60, what="the replica is promoted")
        carries(INVOICES - INVOICES // 2)
        await_that(lambda: house.states("invoice_to_erp") == {"completed": INVOICES}, seconds=120, what="all posted")
    finally:
        stage.close()
    posted = house.made("netsuite", "invoice")
    assert len(posted) == len({entry["external_id"] for entry in posted}) == INVOICES
    assert house.held() == []
