"""Back-fills over the whole house: a dry run that writes nowhere, a run killed in mid-course, and the same again;
counted in the sandboxes' own logs."""

from __future__ import annotations

import datetime as dt
import os
import signal

import pytest
from django.utils import timezone

from connectors.models import Connection, Exchange
from q2c.core.models import Person
from q2c.flows import backfill_running, backfills
from q2c.inbox.models import Backfill, BackfillItem, InboundKey
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.journeys.deaths import bury, carry_and_die

pytestmark = pytest.mark.django_db(transaction=True)


def plan(house, **changes):
    now = timezone.now()
    given = {"source": "again", "since": now - dt.timedelta(days=1), "until": now + dt.timedelta(days=1),
             "connection": Connection.objects.get(code="stripe"), "stream": "invoice", **changes}  # fmt: skip
    made = backfills.make(backfills.Plan(**given), by=Person.objects.get(username="platform"), why="an outage")
    backfill_running.run_due()
    made.refresh_from_db()
    return made


def start(made, **changes):
    given = {"takes": ("posts", "waits", "held"), "per_minute": 6000, "approval": None, "asked": {}, **changes}
    return backfills.start(made, by=made.made_by, why="they are missing", **given)


def found(made):
    return dict(made.items.order_by().values_list("source_id", "finding"))


def run_to_its_end(house, made):
    for _ in range(20):
        Backfill.objects.filter(pk=made.pk).update(released_at=None)  # no pace in tests
        backfill_running.run_due()
        house.carry()
        made.refresh_from_db()
        if made.state == "done":
            return
    raise AssertionError(made.state)


@pytest.mark.scenario(11, 17)
@pytest.mark.crash
def test_lost_invoices_are_read_again_tried_without_a_write_and_posted_once_though_a_worker_dies(house):
    customer = house.customer()
    here = house.invoice(customer)
    house.carry()
    house.fault("stripe", "webhook_lose")
    lost = [house.invoice(customer, amount=10_000 + n) for n in range(3)]
    unmapped = house.invoice(customer, sku="NOBODY-KNOWS-IT")
    before, marks = house.made("netsuite"), {v: house.last(v) for v in ("stripe", "netsuite", "salesforce")}
    told = list(Exchange.objects.values_list("pk", flat=True))
    rows = BusinessTransaction.objects.count(), InboundKey.objects.count(), WorkItem.objects.count()

    made = plan(house)

    assert made.state == "tried"
    assert found(made) == {here: "known", **dict.fromkeys(lost, "posts"), unmapped: "held"}
    held = made.items.get(source_id=unmapped)
    assert (held.code, held.currency, held.amount) == ("missing_item_mapping", "GBP", 100)
    assert [house.sandboxes.log(vendor, after=mark) for vendor, mark in marks.items()] == [[], [], []]  # all effects
    asked = Exchange.objects.exclude(pk__in=told)
    assert set(asked.values_list("connection__code", "method")) == {("stripe", "GET")}
    assert (BusinessTransaction.objects.count(), InboundKey.objects.count(), WorkItem.objects.count()) == rows

    start(made)

    def die_before_the_commit():
        real = backfill_running._give

        def give(own, items):
            real(own, items[:2])
            os.kill(os.getpid(), signal.SIGKILL)

        backfill_running._give = give
        backfill_running.run_due()

    assert carry_and_die(die_before_the_commit, "nowhere:before")
    assert not made.items.exclude(result="pending").exists()  # a piece is given whole, or not at all
    backfill_running.leases.release_lease(f"backfill:{made.pk}", holder=_holder(made))
    backfill_running.run_due()
    assert made.items.filter(result="released").count() == 4
    assert set(WorkItem.objects.values_list("priority", flat=True)) == set()  # the intake hasn't read them
    house.carry(without="invoice_to_erp", until=lambda: WorkItem.objects.count() == 4)
    assert set(WorkItem.objects.values_list("priority", flat=True)) == {8}  # the last lane
    assert carry_and_die(lambda: _carry_invoices(), "post_invoice:after_answer")
    bury()
    run_to_its_end(house, made)

    posted = [entry for entry in house.made("netsuite", "invoice") if entry not in before]
    assert len(posted) == 3
    assert house.states("invoice_to_erp") == {"completed": 4, "held": 1}
    results = dict(made.items.order_by().values_list("source_id", "result"))
    assert results == {here: "left", **dict.fromkeys([*lost, unmapped], "carried")}

    again = plan(house)
    assert found(again) == dict.fromkeys([here, *lost, unmapped], "known")
    with pytest.raises(backfills.BackfillRefused, match="nothing in it to carry"):
        start(again)
    BackfillItem.objects.filter(backfill=again).update(finding="posts")  # as if its dry run had been of before
    start(again)
    run_to_its_end(house, again)
    assert set(again.items.values_list("result", flat=True)) == {"known"}
    assert len(house.made("netsuite", "invoice")) == 4
    assert house.states("invoice_to_erp") == {"completed": 4, "held": 1}


def _carry_invoices():
    from q2c.flows import tasks

    tasks.carry("invoice_to_erp")


def _holder(made):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT holder FROM core_lease WHERE name = %s", [f"backfill:{made.pk}"])
        return cursor.fetchone()[0]
