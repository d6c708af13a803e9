"""Two hosts carry side by side, their clocks two minutes apart; one is cut off from database and broker in mid-batch,
while it still reaches the vendors. The other one's beat fires, and the first one comes back: nothing is made twice."""

from __future__ import annotations

import datetime as dt
import os
import sys
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models.functions import Now

from q2c.core.leases import BEAT
from q2c.embedded import Embedded
from q2c.inbox.models import InboundKey
from q2c.launch import worker_command
from q2c.transactions import workers
from q2c.transactions.models import Worker, WorkItem
from q2c.transactions.workers import LAPSES_SECONDS
from tests.journeys.netns import BROKER, DATABASE, Network, pass_on_here, why_not
from tests.journeys.stage import await_that

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.crash,
    pytest.mark.skipif(bool(WHY_NOT), reason=f"hosts of our own: {WHY_NOT}"),
    pytest.mark.skipif(os.environ.get("Q2C_EVERY_FLOW") != "1", reason="takes a minute: part of make check-all"),
]
INVOICES = 60
BEAT_LINE = [sys.executable, "-m", "celery", "-q", "-A", "q2c.celery:app", "beat", "--pidfile="]
VENDOR_DOORS = 12


@pytest.fixture
def network(house, sandboxes, tmp_path):
    """Three hosts: what all share, and two that carry; with what they need to know."""
    network = Network(tmp_path / "hosts")
    broker = Embedded(tmp_path / "broker", postgres=False).start(network.log.fileno())
    (valkey,) = broker.servers
    shared = network.host("shared")
    left, right = network.host("left", clock_off=-60), network.host("right", clock_off=60)
    own = connection.settings_dict
    shared.pass_on(**{DATABASE: f"{own['HOST']}/.s.PGSQL.5432", BROKER: str(valkey.address)})
    doors = {f"127.0.0.1:{port}": f"{tmp_path}/{port}" for port in range(sandboxes.port, sandboxes.port + VENDOR_DOORS)}
    here = pass_on_here({path: door for door, path in doors.items()})
    for host in (left, right):
        host.pass_on(**doors)
    password = broker.environment["REDIS_URL"].split("://:")[1].split("@")[0]
    network.environment = {
        "DATABASE_URL": f"postgresql://{own['USER']}:{quote(own['PASSWORD'], safe='')}@{DATABASE}/{own['NAME']}",
        "REDIS_URL": f"redis://:{password}@{BROKER}/0",
        "DJANGO_SETTINGS_MODULE": "q2c.settings",
        "Q2C_SANDBOX_PORT": str(sandboxes.port),
        "PYTHONWARNINGS": "ignore",
    }
    network.left, network.right = left, right
    yield network
    network.close()
    here.kill()
    here.wait()
    broker.stop()


def beat_host() -> str:
    """The host whose beat fires; empty while none does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT split_part(holder, ':', 1) FROM core_lease WHERE name = %s AND until > now()", [BEAT])
        row = cursor.fetchone()
    return row[0] if row else ""


def lives(host: str) -> bool:
    """Whether a worker of that host has said so within seconds, by the database's clock."""
    return Worker.objects.filter(host=host, beat_at__gt=Now() - dt.timedelta(seconds=LAPSES_SECONDS)).exists()


@pytest.mark.scenario(13)
@pytest.mark.scenario(58, of="schedules")
def test_a_host_that_is_cut_off_in_mid_batch_neither_keeps_work_nor_makes_it_twice(house, network):
    customer = house.customer()
    house.carry()
    workers.stop_worker()
    house.fault("netsuite", "delay", when={"method": "POST", "path": "*/invoice"}, seconds=0.5)
    house.invoices(customer, INVOICES)
    await_that(lambda: not house.has_undelivered_events(), seconds=120, what="every webhook taken")

    def made():
        return len(house.made("netsuite", "invoice"))

    def is_held_by_left():
        return WorkItem.objects.filter(worker__startswith="left:", intent__isnull=False).exists()

    left, right = network.left, network.right
    for command in (BEAT_LINE, worker_command("flows,doors", 1)):
        left.run(command, **network.environment)
    await_that(lambda: made() >= 3 and is_held_by_left(), seconds=120, what="the first host has begun")
    assert beat_host() == "left"
    with left.cut_off():
        for command in (BEAT_LINE, worker_command("flows,doors", 1)):
            right.run(command, **network.environment)
        await_that(lambda: beat_host() == "right", seconds=60, what="the other host's beat fires")
    await_that(lambda: house.states("invoice_to_erp") == {"completed": INVOICES}, seconds=180, what="all carried")
    await_that(lambda: lives("left"), seconds=60, what="the first host lives again")
    posted = house.made("netsuite", "invoice")
    assert len(posted) == len({entry["external_id"] for entry in posted}) == INVOICES
    assert house.arrived_twice() == []
    assert house.held() == []
    assert not WorkItem.objects.exists()
    assert not InboundKey.objects.filter(verdict="received").exists()
