"""The ERP fails at invoices: they wait behind a breaker, one call tries, then all go out, each once; others go on.
Operators are told."""

from __future__ import annotations

import pytest
from django.utils import timezone

from connectors import breaker, registry, turns
from connectors.connections import health_of
from connectors.models import BreakerTurn, Connection
from exceptions.models import ExceptionCase
from q2c.flows import watching
from q2c.flows.tasks import carry
from q2c.transactions import counting

pytestmark = pytest.mark.django_db(transaction=True)
INVOICES = 7


@pytest.fixture
def limits(house):
    """NetSuite's own limit holds, as it doesn't in other journeys."""
    house.sandboxes.control("POST", "netsuite/limits", {"enforced": True})
    yield
    house.sandboxes.control("POST", "netsuite/limits", {"enforced": False})


@pytest.mark.scenario(52, of="calls, whatever they write")
@pytest.mark.usefixtures("limits")
def test_a_backlog_waits_behind_the_breaker_and_drains_once_after_one_probe(house, monkeypatch):
    house.set_connections(settles_after_seconds="60")  # no look-up that succeeds comes between the failures
    customer = house.customer()
    house.invoice(customer)
    house.carry()
    erp = Connection.objects.get(vendor="netsuite")
    own = breaker.breaker_of(erp.code, "invoice")
    own._open_seconds = 600.0
    house.fault("netsuite", "status", status=503, when={"method": "POST", "path": "*/invoice"})
    for _ in range(INVOICES):
        house.invoice(customer)
    house.carry(until=lambda: own.state == "open")
    house.hasten()
    house.carry(until=lambda: sum(house.states("invoice_to_erp").values()) == INVOICES + 1)  # no webhook on its way
    house.carry(until=lambda: "running" not in house.states("invoice_to_erp"))
    registry.save_health()
    assert health_of(Connection.objects.get(pk=erp.pk)).says.startswith("Calls about invoice stopped")
    counting.look_at_open()
    assert watching.watch_systems(timezone.now() + watching.AWAY_AFTER) == (1, 0)
    case = ExceptionCase.objects.get(kind="system_away")
    assert f"hasn’t answered calls about invoice for 5 minutes; {INVOICES} documents wait for it" in case.summary
    house.invoice(house.customer(name="Wingtip"))
    house.carry(until=lambda: len(house.made("netsuite", "customer")) == 2)
    house.carry(until=lambda: sum(house.states("invoice_to_erp").values()) == INVOICES + 2)  # no webhook on its way
    assert len(house.made("netsuite", "invoice")) == 1

    def is_over():
        own.shared.tell_open(own.name, 0.0)
        own.open_until = own.clock()
        return len(house.arrived("netsuite", "POST", "*/invoice"))

    tried = is_over()
    house.hasten()
    carry("invoice_to_erp")
    assert len(house.arrived("netsuite", "POST", "*/invoice")) == tried + 1, "one probe"
    house.sandboxes.control("DELETE", "netsuite/faults")
    is_over()
    house.carry_to_the_end("invoice_to_erp")
    drained = house.arrived("netsuite", "POST", "*/invoice")[tried + 1 :]
    assert [e["verdict"] for e in drained] == ["done"] * (INVOICES + 1)
    assert len(house.made("netsuite", "invoice")) == INVOICES + 2
    fresh = breaker.breaker_of(erp.code, "invoice")  # of another process, as after a restart
    fresh.note_success(40)
    fresh.last_success_at += turns.TRIED_WITHIN
    registry.save_health()
    assert watching.watch_systems(timezone.now() + watching.WELL_FOR) == (0, 1)
    assert [(turn.object_type, turn.is_open) for turn in BreakerTurn.objects.order_by("id")] == [
        ("invoice", True), ("invoice", False),
    ]  # fmt: skip


@pytest.mark.scenario(52)
@pytest.mark.usefixtures("limits")
def test_look_ups_that_are_answered_let_one_write_try(house):
    """NetSuite answers reads and takes no invoice: what each document looks for before it's sent again proves
    nothing."""
    customer = house.customer()
    house.invoice(customer)
    house.carry()
    own = breaker.breaker_of(Connection.objects.get(vendor="netsuite").code, "invoice")
    own._open_seconds = 600.0
    house.fault("netsuite", "status", status=503, when={"method": "POST", "path": "*/invoice"})
    for _ in range(INVOICES):
        house.invoice(customer)
    house.carry(until=lambda: own.state == "open" and sum(house.states("invoice_to_erp").values()) == INVOICES + 1)
    house.hasten()
    house.carry(until=lambda: "running" not in house.states("invoice_to_erp"))
    posted = "POST", "*/invoice"
    tried = len(house.arrived("netsuite", *posted))
    own.shared.tell_open(own.name, 0.0)
    own.open_until = own.clock()
    house.hasten()
    house.carry(until=lambda: len(house.arrived("netsuite", *posted)) > tried)
    house.hasten()
    carry("invoice_to_erp")
    assert len(house.arrived("netsuite", *posted)) == tried + 1, "one probe, whatever was looked up"
    house.sandboxes.control("DELETE", "netsuite/faults")
    own.shared.tell_open(own.name, 0.0)
    own.open_until = own.clock()
    house.carry_to_the_end("invoice_to_erp")
    assert [e["verdict"] for e in house.arrived("netsuite", *posted)[tried + 1 :]] == ["done"] * INVOICES
    assert len(house.made("netsuite", "invoice")) == INVOICES + 1
