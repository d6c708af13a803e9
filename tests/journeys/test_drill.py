"""A drill restores a copy beside the portal that goes on: nothing reaches the accounts that the original works with
before two people led each connection elsewhere."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from django.core.management import call_command

from connectors import connections, registry
from connectors.models import Connection
from q2c.core.problems import Problem
from q2c.flows import intake, polling
from q2c.flows.tasks import carry, due_flows
from q2c.transactions.models import WorkItem
from tests.journeys.house import forget_everything
from tests.journeys.stage import await_that
from tests.journeys.test_holds import person
from tests.portal.test_connection_changes import agree, signed_in

pytestmark = pytest.mark.django_db(transaction=True)
DRILL = ["restored", "--by", "platform", "--why", "The drill of spring", "--change", "CHG-8", "--drill"]


def requests_at(house, vendors):
    """How many requests of any kind came to each vendor's door since `watch`."""
    faults = {vendor: house.sandboxes.control("GET", f"{vendor}/faults")["faults"] for vendor in vendors}
    return {vendor: sum(each["hits"] for each in found) for vendor, found in faults.items()}


def watch(house, vendors):
    """Have every request counted, which changes nothing about it."""
    for vendor in vendors:
        house.sandboxes.control("DELETE", f"{vendor}/faults")
        house.fault(vendor, "delay", seconds=0)


def resume(row, why):
    """As one person does on its page; one that isn't paused is left as it is."""
    assert signed_in().post(f"/connections/{row.code}/resume/", {"why": why}).status_code == 302


def try_everything(rows):
    """What processes and people of a portal do that leads to vendors."""
    for row in rows:
        connections.test_connection(row, by=person("platform"))
        for stream in registry.streams_of(row.vendor):
            with suppress(Problem):  # its credentials are missing
                polling.poll_connection(row.code, stream)
    intake.carry_due_events()
    for flow in due_flows():
        carry(flow, seconds=5)


@pytest.mark.scenario(60)
def test_a_drills_copy_reaches_no_vendor_until_two_people_led_each_connection_elsewhere(house):
    customer = house.customer()
    house.invoice(customer)
    house.carry()
    house.invoice(customer)
    due = WorkItem.objects.filter(flow="invoice_to_erp")
    await_that(lambda: intake.carry_due_events() is not None and due.count() == 1, seconds=30, what="a second invoice")
    rows = list(Connection.objects.all())
    vendors = [row.vendor for row in rows]
    known = {row.code: registry.secrets_of(row) for row in rows}
    watch(house, vendors)
    for row in rows:
        connections.test_connection(row, by=person("platform"))
    assert all(requests_at(house, vendors).values())  # so a request would be seen

    call_command(*DRILL, stdout=io.StringIO())
    forget_everything()
    watch(house, vendors)
    try_everything(Connection.objects.all())
    assert set(requests_at(house, vendors).values()) == {0}
    for row in Connection.objects.all():  # one person alone doesn't bring it back
        resume(row, "It’s only a drill")
    forget_everything()
    try_everything(Connection.objects.all())
    assert set(requests_at(house, vendors).values()) == {0}
    assert len(house.made("netsuite", "invoice")) == 1

    for row in Connection.objects.all():  # of another account in earnest; here the sandbox is one
        agree(connections.propose_change(
            row, base_url=row.base_url, secrets=known[row.code], by=person("platform"), reason="The drill’s account",
        ))  # fmt: skip
        row.refresh_from_db()
        assert connections.test_connection(row, by=person("platform")).is_well
        resume(row, "It leads to the drill’s account")
    forget_everything()
    house.carry()
    assert len(house.made("netsuite", "invoice")) == 2
