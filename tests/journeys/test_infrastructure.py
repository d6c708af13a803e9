"""The ground shakes in mid-flight: the broker is wiped and killed, a worker ended, the database ends each connection.
Real workers and two beats carry every invoice once."""

from __future__ import annotations

import time

import pytest

from q2c.inbox.models import InboundKey
from q2c.supervisor import PATIENCE_SECONDS
from q2c.transactions import workers
from tests.journeys.stage import LOADED, Stage, await_that, without_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]
INVOICES = 60
OUTAGE_SECONDS = 1.5


@pytest.fixture
def stage(house, tmp_path, sandboxes):
    stage = Stage(tmp_path / "stage", sandboxes.port)
    yield stage
    stage.close()


@pytest.mark.scenario(56, 57)
def test_every_invoice_is_posted_once_though_broker_and_database_go_in_mid_flight(house, stage):
    customer = house.customer()
    house.carry()
    workers.stop_worker()
    house.fault("netsuite", "delay", when={"method": "POST", "path": "*/invoice"}, seconds=0.2)
    house.invoices(customer, INVOICES)
    await_that(lambda: not house.has_undelivered_events(), seconds=60, what="every webhook taken")

    def made():
        return len(house.made("netsuite", "invoice"))

    stage.open()
    await_that(lambda: made() >= 3, seconds=90, what="the workers have begun")
    stage.wipe_broker()
    await_that(lambda: made() >= 10, seconds=60, what="work after the broker was wiped")
    with stage.without_broker():
        time.sleep(OUTAGE_SECONDS)
    await_that(lambda: made() >= 20, seconds=60, what="work after the broker was killed")
    for enough in (30, 40):
        with without_database():
            time.sleep(OUTAGE_SECONDS)
        await_that(lambda enough=enough: made() >= enough, seconds=60, what="work after the database came back")
    ended = stage.processes[0]
    ended.terminate()
    assert ended.wait(timeout=LOADED * PATIENCE_SECONDS) == 0  # the supervisor kills no worker that ends as it carries
    await_that(lambda: house.states("invoice_to_erp") == {"completed": INVOICES}, seconds=120, what="all posted")
    assert made() == len({e["external_id"] for e in house.made("netsuite", "invoice")}) == INVOICES
    assert not InboundKey.objects.filter(verdict="received").exists()
    assert house.held() == []
