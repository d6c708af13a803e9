"""The ground shakes in mid-flight: the broker is wiped and killed, a worker ended, the database ends each connection.
Real workers and two beats carry every invoice once.

`Q2C_OPERATIONS` says how many invoices there are (`make check-all`: 5,000); 60 in `make test`. With more of them the
database goes away every 5 to 40 seconds until all are posted, at times that `Q2C_OPERATIONS_SEED` repeats.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import time

import pytest
from celery import Celery
from django.db import connection
from django.db.transaction import atomic

from q2c.core.brokers import celery_of
from q2c.flows.tasks import run_flow
from q2c.inbox.models import InboundKey
from q2c.outbox.models import OutboxEvent
from q2c.supervisor import PATIENCE_SECONDS
from q2c.transactions import workers
from q2c.transactions.models import BusinessTransaction, Dependency
from tests.emptying import ignore_triggers
from tests.journeys.stage import LOADED, Stage, await_that, without_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]
FEW = 60
INVOICES = int(os.environ.get("Q2C_OPERATIONS") or FEW)
SEED = int(os.environ.get("Q2C_OPERATIONS_SEED") or random.SystemRandom().randrange(10**6))
AT_ONCE = 100  # that billing makes in one go
BETWEEN_SECONDS = (5.0, 40.0)
OUTAGE_SECONDS = 1.5
# What says when something happened, or is to: all of it lies two hours back once a broker was away for so long.
DATED = ("inbox_inboundevent", "inbox_inboundkey", "transactions_businesstransaction", "transactions_workitem",
         "transactions_dependency", "transactions_externaliduse", "outbox_outboxevent")  # fmt: skip


@pytest.fixture
def stage(house, tmp_path, sandboxes):
    stage = Stage(tmp_path / "stage", sandboxes.port)
    yield stage
    stage.close()


@pytest.mark.scenario(56, 57, of="60 invoices, 5,000 by `make check-all`")
def test_every_invoice_is_posted_once_though_broker_and_database_go_in_mid_flight(house, stage, record_property):
    customer = house.customer()
    house.carry()
    workers.stop_worker()
    house.fault("netsuite", "delay", when={"method": "POST", "path": "*/invoice"}, seconds=0.2)
    for begun in range(0, INVOICES, AT_ONCE):
        house.invoices(customer, min(AT_ONCE, INVOICES - begun))
    await_that(lambda: not house.has_undelivered_events(), seconds=max(60, INVOICES / 10), what="every webhook taken")

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
    if INVOICES > FEW:
        gone = shake_until_posted()
        record_property("said", f"{INVOICES} invoices, seed {SEED}: the database went away {gone} times more")
    await_that(lambda: house.states("invoice_to_erp") == {"completed": INVOICES}, seconds=120, what="all posted")
    assert made() == len({e["external_id"] for e in house.made("netsuite", "invoice")}) == INVOICES
    assert not InboundKey.objects.filter(verdict="received").exists()
    assert house.held() == []


def shake_until_posted() -> int:
    """The database goes away again and again, as long as there is something to carry. Returns how often it did; fails
    when nothing more is posted between one time and the third after it."""
    chance, gone, posted = random.Random(SEED), 0, [-1, -1, -1]
    while (now := count_posted()) < INVOICES:
        assert now > posted[0], f"{now} posted, and no more after {gone} outages"
        posted = [*posted[1:], now]
        until = time.monotonic() + chance.uniform(*BETWEEN_SECONDS)
        while time.monotonic() < until and count_posted() < INVOICES:
            time.sleep(0.5)
        with without_database():
            time.sleep(OUTAGE_SECONDS)
        gone += 1
    return gone


def count_posted() -> int:
    return BusinessTransaction.objects.filter(flow="invoice_to_erp", state="completed").count()


@pytest.mark.scenario(57, of="an outage of two hours")
def test_a_broker_that_comes_back_after_two_hours_finds_nothing_expired_and_nothing_lost(house, stage):
    """Every instant in the database is moved two hours back while the broker is away, and what it brings along when it
    is there again are nudges whose time is over."""
    customer = house.customer()
    first = house.invoice(customer)
    house.carry()
    workers.stop_worker()
    stage.open()
    house.invoices(customer, 4)
    await_that(lambda: count_posted() == 5, seconds=120, what="the workers carry")
    with stage.without_broker():
        house.invoices(customer, 20)
        house.pay(first)
        house.credit(house.invoice(customer, amount=9_000), amount=500)  # it waits for its invoice
        await_that(lambda: not house.has_undelivered_events(), seconds=60, what="every webhook taken")
        assert count_posted() <= 26  # a worker that was at work goes on; the door takes what comes all the same
        assert InboundKey.objects.filter(verdict="received").exists()
        two_hours_pass()
    stale = leave_expired_nudges(stage)
    await_that(lambda: count_posted() == 26, seconds=180, what="all posted")
    await_that(lambda: set(house.states()) == {"completed"}, seconds=120, what="payment and credit memo too")
    assert (house.held(), Dependency.objects.count(), stale) == ([], 0, len(CARRIED))
    assert not InboundKey.objects.filter(verdict="received").exists()
    made = {kind: [e["external_id"] for e in house.made("netsuite", kind)] for kind in ("invoice", "creditMemo")}
    assert {kind: (len(ids), len(set(ids))) for kind, ids in made.items()} == {
        "invoice": (26, 26),
        "creditMemo": (1, 1),
    }
    assert len(house.made("netsuite", "customerPayment")) == 1
    told = OutboxEvent.objects.filter(event_type="invoice_to_erp.completed")
    assert told.count() == told.values("transaction_id").distinct().count() == 26


CARRIED = ("invoice_to_erp", "credit_memo_to_erp", "payment_to_erp", "application_to_erp")


def two_hours_pass() -> None:
    """All that the database says of when lies two hours further back, as if they had gone by."""
    with atomic(), connection.cursor() as cursor:
        ignore_triggers(cursor)
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_name = ANY(%s)"
            " AND data_type = 'timestamp with time zone' AND table_schema = 'public'",
            [list(DATED)],
        )
        columns: dict[str, list[str]] = {}
        for table, column in cursor.fetchall():
            columns.setdefault(table, []).append(column)
        assert set(columns) == set(DATED)
        for table, names in columns.items():
            moved = ", ".join(f'"{name}" = "{name}" - interval \'2 hours\'' for name in names)
            cursor.execute(f'UPDATE "{table}" SET {moved}')


def leave_expired_nudges(stage: Stage) -> int:
    """What waited in a broker that was cut off and kept everything: one nudge for each flow, too late to be taken."""
    address, options = celery_of(stage.broker.environment["REDIS_URL"])
    sender = Celery(broker=address, broker_transport_options=options, set_as_current=False)
    late = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)
    for code in CARRIED:
        sender.send_task(run_flow.name, (code,), queue="flows", expires=late, retry=True)
    return len(CARRIED)
