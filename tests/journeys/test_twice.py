"""Two that do the same at once, or one that does it again: one effect, and whoever came second is told why."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from connectors.models import SyncCursor
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.flows import catalog, tasks
from q2c.flows.summaries import start_summaries_now
from q2c.inbox import replay
from q2c.inbox.models import InboundKey
from q2c.transactions import machine
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.journeys.deaths import await_end, work_beside
from tests.journeys.ledger import Ledger
from tests.journeys.scene import over, with_each_cast
from tests.journeys.scenes import SCENES, enter, every_scene, lineage, live_a_day, made_by_vendor

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS, FEW = 200, 4
RARELY = {*SCENES} - {"invoice_to_erp"}
SIDE_BY_SIDE = [scene for scene in every_scene() if scene.side_by_side and scene.code != "invoice_to_erp"]
ONE_AT_A_TIME = {code: "one at a time" for code, scene in SCENES.items() if not scene.side_by_side}
NO_CUSTOMER = {code: "its customer is another flow’s" for code in SCENES if code != "customer_to_erp"}
NOT_OF_A_DAY = {
    "accrual_to_erp", "customer_use_to_erp", "hold_to_source", "order_to_sale", "order_unwinding", "reversal_to_erp",
}  # fmt: skip


@pytest.mark.scenario(7)
@pytest.mark.crash
@over(every_scene("invoice_to_erp"))
def test_two_workers_that_take_the_same_document_at_once_post_it_once_in_200_rounds(house, scene):
    customer = house.customer()
    house.carry()
    house.invoices(customer, ROUNDS)
    house.carry(without=scene.code, until=lambda: WorkItem.objects.filter(flow=scene.code).count() == ROUNDS)
    race_for(scene)
    assert house.states(scene.code) == {"completed": ROUNDS}
    assert len(scene.made(house)) == ROUNDS
    assert scene.arrived(house) == Counter(done=ROUNDS)


@pytest.mark.scenario(7, not_for=ONE_AT_A_TIME)
@pytest.mark.crash
@over(SIDE_BY_SIDE, rarely=SCENES)
def test_two_workers_that_take_the_same_document_of_any_flow_at_once_make_it_once(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "race", FEW)
    race_for(scene)
    house.carry()
    assert set(house.states(scene.code)) == {"completed"}
    assert len(scene.made(house)) == before + scene.logged(scene.wanted(FEW), FEW)
    assert scene.arrived(house) - arrived == scene.wanted(FEW)


def race_for(scene):
    """Two workers take each document of a flow that is due, one document after the other, both at the same moment."""
    items = list(WorkItem.objects.filter(flow=scene.code).values_list("pk", flat=True))
    WorkItem.objects.filter(flow=scene.code).update(available_at="2099-01-01T00:00:00Z")
    begin, end = multiprocessing.Barrier(3, timeout=60), multiprocessing.Barrier(3, timeout=60)

    def race():
        for _ in items:
            begin.wait()
            machine.advance(scene.flow, tasks.TOOLS)
            end.wait()

    rivals = [work_beside(race), work_beside(race)]
    for item in items:
        WorkItem.objects.filter(pk=item).update(available_at=timezone.now())
        begin.wait()
        end.wait()
    for rival in rivals:
        await_end(rival)


@pytest.mark.scenario(8, not_for=NO_CUSTOMER)
@pytest.mark.crash
@over(every_scene("customer_to_erp"))
def test_a_customer_made_and_changed_within_a_moment_is_one_customer_with_the_newer_content(house, scene):
    customer = house.customer(name="First Ltd")
    time.sleep(0.05)
    house.rename(customer, "Second Ltd")
    house.carry(without=scene.code, until=lambda: len(house.states(scene.code)) > 0)
    house.carry(without=scene.code)
    rivals = [work_beside(lambda: tasks.carry(scene.code)) for _ in range(2)]
    for rival in rivals:
        await_end(rival)
    house.carry()
    (made,) = scene.made(house)
    assert scene.player.customer_name(house, made["id"]) == "Second Ltd"
    assert house.arrived_twice() == []
    assert set(house.states()) == {"completed"}


@pytest.mark.scenario(9)
@over(every_scene(), rarely=RARELY - {"order_to_subscription", "status_to_crm"})  # each vendor's own way each time
def test_two_people_who_repost_at_once_make_one_attempt_and_the_second_is_told_why(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "answers")
    scene.meet_refusal(house, times=1)
    house.carry(until=lambda: house.states(scene.code).get("held") == 1)
    held = BusinessTransaction.objects.get(flow=scene.code, state="held")
    (case,) = ExceptionCase.objects.filter(occurrences__transaction_id=held.pk, occurrences__closed_at=None)
    worker = {"controllership": "controller"}.get(case.queue, case.queue)
    people = [worker, "controller" if worker in ("sales_ops", "billing_ops") else worker]  # one may have two browsers

    def click(username):
        browser = Client()
        browser.force_login(Person.objects.get(username=username))
        try:
            page = browser.post(f"/exceptions/cases/{case.pk}/repost/", {"repost-why": "mended there"}, follow=True)
            return page.content.decode()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(click, people))
    assert sorted("1 document is on the way again" in page for page in pages) == [False, True]
    (late,) = [page for page in pages if "1 document is on the way again" not in page]
    assert "it is running already" in late, re.findall(r'class="(?:alert|toast|errorlist)[^>]*>(.*?)</', late, re.S)
    house.carry()
    assert BusinessTransaction.objects.get(pk=held.pk).attempt == 2
    assert set(house.states(scene.code)) == {"completed"}
    wanted = scene.wanted(refused=1)
    assert len(scene.made(house)) == before + scene.logged(wanted)
    assert scene.arrived(house) - arrived == wanted


@pytest.mark.scenario(11, of="each time a day of most flows")
@with_each_cast()
def test_reading_and_replaying_everything_again_posts_nothing(house):
    live_a_day(house, house.account())
    assert set(catalog.BY_CODE) - set(BusinessTransaction.objects.values_list("flow", flat=True)) == NOT_OF_A_DAY
    balances = Ledger(house.sandboxes).balances()
    read_and_replay_everything(house)
    assert Ledger(house.sandboxes).balances() == balances


@pytest.mark.scenario(11)
@over(every_scene(), rarely=SCENES)
def test_reading_and_replaying_a_document_of_any_flow_again_posts_nothing(house, scene):
    prepared = scene.prepare(house)
    scene.act(house, prepared, "again")
    house.poll()
    house.carry()
    assert scene.made(house) != []
    read_and_replay_everything(house)


def read_and_replay_everything(house):
    """Every source is read from its beginning and every message replayed: no vendor gets a write."""
    before, arrivals, told = made_by_vendor(house), house.count_arrivals(), lineage()
    SyncCursor.objects.all().delete()
    house.poll()
    for event_id in InboundKey.objects.values_list("event_id", flat=True):
        replay.replay_event(event_id, by=Person.objects.get(username="platform"), reason="a bulk resync")
    house.carry(seconds=60)
    assert start_summaries_now(lambda day: True) == []
    assert set(house.states()) == {"completed"}
    assert made_by_vendor(house) == before
    assert house.count_arrivals() == arrivals
    assert lineage() == told
    assert not ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).exists()


@pytest.mark.scenario(12)
@pytest.mark.crash
@over(every_scene(), rarely=RARELY)
def test_a_task_that_is_delivered_again_while_its_first_run_is_active_takes_nothing(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "again")
    works = scene.meet(house, "delay", times=1, seconds=60)
    first = work_beside(lambda: tasks.carry(scene.code))
    house.await_hit(scene.vendor, works)
    assert tasks.carry(scene.code) == 0
    house.let_go_on(scene.vendor, works)
    await_end(first)
    house.carry()
    assert set(house.states(scene.code)) == {"completed"}
    assert len(scene.made(house)) == before + scene.each
    assert scene.arrived(house) - arrived == scene.wanted()
