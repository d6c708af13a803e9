"""Two that do the same at once, or one that does it again: one effect, and whoever came second is told why."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
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
from tests.journeys.scenes import SCENES, enter, lineage, live_a_day, made_by_vendor

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 200
NOT_OF_A_DAY = {"accrual_to_erp", "customer_use_to_erp", "hold_to_source", "order_to_sale", "order_unwinding"}


@pytest.mark.scenario(7)
@pytest.mark.crash
def test_two_workers_that_take_the_same_document_at_once_post_it_once_in_200_rounds(house):
    customer = house.customer()
    house.carry()
    line = {"amount": 1_000, "quantity": 1, "description": "QB-API", "metadata": {"sku": "QB-API"}}
    given = {"customer": customer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"}}
    house.make("stripe", "invoice", [given] * ROUNDS)
    house.carry(
        without="invoice_to_erp", until=lambda: WorkItem.objects.filter(flow="invoice_to_erp").count() == ROUNDS
    )
    items = list(WorkItem.objects.values_list("pk", flat=True))
    WorkItem.objects.update(available_at="2099-01-01T00:00:00Z")
    begin, end = multiprocessing.Barrier(3, timeout=60), multiprocessing.Barrier(3, timeout=60)

    def race():
        for _ in range(ROUNDS):
            begin.wait()
            machine.advance(catalog.BY_CODE["invoice_to_erp"], tasks.TOOLS)
            end.wait()

    rivals = [work_beside(race), work_beside(race)]
    for item in items:
        WorkItem.objects.filter(pk=item).update(available_at=timezone.now())
        begin.wait()
        end.wait()
    for rival in rivals:
        await_end(rival)
    assert house.states("invoice_to_erp") == {"completed": ROUNDS}
    assert len(house.made("netsuite", "invoice")) == ROUNDS
    assert SCENES["invoice_to_erp"].arrived(house) == Counter(done=ROUNDS)


@pytest.mark.scenario(8)
@pytest.mark.crash
def test_a_customer_made_and_changed_within_a_moment_is_one_customer_with_the_newer_content(house):
    stripe = house.sandboxes.vendor("stripe")
    customer = house.customer(name="First Ltd")
    time.sleep(0.05)
    requests.post(
        f"{stripe['url']}/v1/customers/{customer}", data={"name": "Second Ltd"},
        headers={"Authorization": f"Bearer {stripe['credentials']['api_key']}"}, timeout=30,
    ).raise_for_status()  # fmt: skip
    house.carry(without="customer_to_erp", until=lambda: len(house.states("customer_to_erp")) > 0)
    house.carry(without="customer_to_erp")
    rivals = [work_beside(lambda: tasks.carry("customer_to_erp")) for _ in range(2)]
    for rival in rivals:
        await_end(rival)
    house.carry()
    (made,) = house.made("netsuite", "customer")
    items = house.sandboxes.control("GET", "netsuite/documents/customer?limit=1000")["items"]
    assert [c["companyName"] for c in items if c["id"] == made["id"]] == ["Second Ltd"]
    assert house.arrived_twice() == []
    assert set(house.states()) == {"completed"}


@pytest.mark.scenario(9)
def test_two_people_who_repost_at_once_make_one_attempt_and_the_second_is_told_why(house):
    customer = house.customer()
    house.carry()
    house.fault("netsuite", "status", when={"method": "POST", "path": "*/invoice", "times": 1}, status=400)
    house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"held": 1})
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)

    def click(username):
        browser = Client()
        browser.force_login(Person.objects.get(username=username))
        try:
            page = browser.post(
                f"/exceptions/cases/{case.pk}/repost/", {"repost-why": "mended in NetSuite"}, follow=True
            )
            return page.content.decode()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(click, ["billing_ops", "controller"]))
    assert sorted("1 document is on the way again" in page for page in pages) == [False, True]
    (late,) = [page for page in pages if "1 document is on the way again" not in page]
    assert "it is running already" in late
    house.carry()
    assert BusinessTransaction.objects.get(flow="invoice_to_erp").attempt == 2
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1
    assert SCENES["invoice_to_erp"].arrived(house) == Counter(refused=1, done=1)


@pytest.mark.scenario(11)
def test_reading_and_replaying_everything_again_posts_nothing(house):
    live_a_day(house, house.account())
    assert set(catalog.BY_CODE) - set(BusinessTransaction.objects.values_list("flow", flat=True)) == NOT_OF_A_DAY
    before, arrivals = made_by_vendor(house), house.count_arrivals()
    balances, told = Ledger(house.sandboxes).balances(), lineage()
    SyncCursor.objects.all().delete()
    house.poll()
    for event_id in InboundKey.objects.values_list("event_id", flat=True):
        replay.replay_event(event_id, by=Person.objects.get(username="platform"), reason="a bulk resync")
    house.carry(seconds=60)
    assert start_summaries_now(lambda day: True) == []
    assert set(house.states()) == {"completed"}
    assert made_by_vendor(house) == before
    assert house.count_arrivals() == arrivals
    assert (Ledger(house.sandboxes).balances(), lineage()) == (balances, told)
    assert not ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).exists()


@pytest.mark.scenario(12)
@pytest.mark.crash
def test_a_task_that_is_delivered_again_while_its_first_run_is_active_takes_nothing(house):
    customer = house.customer()
    house.carry()
    enter(house, "invoice_to_erp", customer, "again")
    house.fault("netsuite", "delay", when={"method": "POST", "path": "*/invoice", "times": 1}, seconds=1.5)
    first = work_beside(lambda: tasks.carry("invoice_to_erp"))
    while not WorkItem.objects.exclude(intent=None).exists():
        time.sleep(0.02)
    assert tasks.carry("invoice_to_erp") == 0
    await_end(first)
    assert tasks.carry("invoice_to_erp") == 0
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1
    assert SCENES["invoice_to_erp"].arrived(house) == Counter(done=1)
