"""A system that is away is a case after five minutes, and closes by itself."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from connectors.models import BreakerTurn, Connection, ConnectionHealth
from exceptions import closing
from exceptions.fixes import Ending
from exceptions.models import ExceptionCase
from q2c.flows import watching
from q2c.transactions import counting
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def erp():
    return factories.make_connection("netsuite")


def stop(connection, *types, minutes=6, why="answered 503"):
    """Its calls stopped so many minutes ago: about these types, or all."""
    at = timezone.now() - dt.timedelta(minutes=minutes)
    for name in types or ("",):
        BreakerTurn.objects.create(connection=connection, object_type=name, is_open=True, at=at, why=why)
    values = {"stopped": list(types)} if types else {"breaker": "open"}
    ConnectionHealth.objects.filter(connection=connection).update(breaker_until=timezone.now(), **values)


def go_on(connection, *types, seconds=90):
    at = timezone.now() - dt.timedelta(seconds=seconds)
    for name in types or ("",):
        BreakerTurn.objects.create(connection=connection, object_type=name, is_open=False, at=at, why="again")
    ConnectionHealth.objects.filter(connection=connection).update(breaker="closed", stopped=[], breaker_until=None)


@pytest.mark.parametrize(("minutes", "told"), [(4, 0), (5, 1), (60, 1)])
def test_it_is_told_once_after_five_minutes(erp, minutes, told):
    stop(erp, minutes=minutes)
    assert watching.watch_systems() == (told, 0)
    assert watching.watch_systems() == (0, 0)
    assert ExceptionCase.objects.count() == told


@pytest.mark.parametrize(
    ("waiting", "types", "says"),
    [
        (0, (), "NetSuite hasn’t answered for 6 minutes; nothing waits for it"),
        (1, (), "NetSuite hasn’t answered for 6 minutes; 1 document waits for it"),
        (3, ("invoice",), "NetSuite hasn’t answered calls about invoice for 6 minutes; 3 documents wait for it"),
        (2, ("invoice", "credit_memo"), "calls about credit memo, invoice for 6 minutes; 2 documents wait for it"),
        (2, ("invoice", ""), "NetSuite hasn’t answered for 6 minutes; 2 documents wait for it"),
    ],
)
def test_it_says_what_is_stopped_how_much_waits_and_the_last_failure(erp, waiting, types, says):
    for state in ("waiting", "running", "unknown")[:waiting]:
        factories.make_transaction(state, target_connection="netsuite")
    factories.make_transaction("held", target_connection="netsuite")
    factories.make_transaction("waiting", target_connection="salesforce")
    counting.look_at_open()
    stop(erp, *types)
    if "" in types:
        ConnectionHealth.objects.update(breaker="open", stopped=["invoice"])
    watching.watch_systems()
    case = ExceptionCase.objects.get()
    assert says in case.summary
    assert case.summary.endswith("The last failure: answered 503")
    assert (case.kind, case.severity, case.queue, case.connection_code) == ("system_away", 2, "platform", "netsuite")


def test_while_it_lasts_the_case_says_how_it_is_now(erp):
    stop(erp, "invoice")
    watching.watch_systems()
    factories.make_transaction("unknown", target_connection="netsuite")
    counting.look_at_open()
    BreakerTurn.objects.create(connection=erp, object_type="customer", is_open=True, at=timezone.now(), why="503")
    ConnectionHealth.objects.update(stopped=["customer", "invoice"])
    assert watching.watch_systems(timezone.now() + dt.timedelta(minutes=5)) == (0, 0)
    summary = ExceptionCase.objects.get().summary
    assert "calls about customer, invoice for 11 minutes; 1 document waits for it" in summary


@pytest.mark.parametrize(("flow", "ends"), [("invoice_to_erp", ""), ("payment_to_erp", "not_tried")])
def test_what_is_answered_about_other_objects_is_no_all_clear_for_the_one_that_nobody_tried(erp, flow, ends):
    factories.make_transaction("unknown", flow=flow, target_connection="netsuite")
    counting.look_at_open()
    stop(erp, "invoice", minutes=50)
    watching.watch_systems()
    ConnectionHealth.objects.update(breaker_until=timezone.now() - dt.timedelta(minutes=21))
    watching.watch_systems()
    ConnectionHealth.objects.update(last_success_at=timezone.now())
    watching.watch_systems(timezone.now() + dt.timedelta(minutes=2))
    assert ExceptionCase.objects.get().resolution == ends


def test_it_closes_when_it_has_been_well_for_a_minute_and_not_before(erp):
    stop(erp, minutes=30)
    watching.watch_systems()
    go_on(erp, seconds=30)
    assert watching.watch_systems() == (0, 0)
    assert watching.watch_systems(timezone.now() + dt.timedelta(minutes=1)) == (0, 1)
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_system_that_comes_and_goes_stays_one_case(erp):
    stop(erp, minutes=30)
    watching.watch_systems()
    go_on(erp, seconds=40)
    stop(erp, minutes=0)
    assert watching.watch_systems() == (0, 0)
    assert ExceptionCase.objects.get().is_open


def test_a_paused_one_says_so_itself(erp):
    stop(erp)
    watching.watch_systems()
    Connection.objects.update(state="paused")
    assert watching.watch_systems() == (0, 1)
    assert watching.watch_systems() == (0, 0)


def test_what_a_person_waived_is_told_again_only_with_the_next_outage(erp):
    stop(erp, minutes=30)
    watching.watch_systems()
    closing.close_cases([Ending(ExceptionCase.objects.get(), "waived", "waived", "they told us of it")], by=None)
    assert watching.watch_systems() == (0, 0)
    go_on(erp)
    stop(erp, minutes=0)
    assert watching.watch_systems(timezone.now() + dt.timedelta(minutes=6)) == (1, 0)


@pytest.mark.parametrize(
    ("waits", "answered", "ends"),
    [
        ("", False, "not_tried"),
        ("waiting", False, ""),
        ("held", False, ""),
        ("held", True, "healed"),
    ],
)
def test_one_that_nobody_tries_any_more_is_no_all_clear_while_work_for_it_is_there(erp, waits, answered, ends):
    if waits:
        factories.make_transaction(waits, target_connection="netsuite")
    counting.look_at_open()
    stop(erp, minutes=30)
    watching.watch_systems()
    ConnectionHealth.objects.update(breaker_until=timezone.now() - dt.timedelta(minutes=21))
    watching.watch_systems()
    if answered:
        ConnectionHealth.objects.update(last_success_at=timezone.now())
    assert watching.watch_systems(timezone.now() + dt.timedelta(minutes=2)) == (0, 1 if ends else 0)
    case = ExceptionCase.objects.get()
    assert (case.is_open, case.resolution) == (not ends, ends)
    if ends:
        words = {"not_tried": "Nobody has tried a call for 20 minutes", "healed": "Calls go through again."}[ends]
        assert words in case.notes.latest("pk").text


def test_a_person_who_resumed_it_is_what_ended_it(erp):
    stop(erp, minutes=30)
    watching.watch_systems()
    go_on(erp)
    BreakerTurn.objects.create(connection=erp, object_type="", is_open=True, at=timezone.now(), why="503")
    at = timezone.now() + dt.timedelta(seconds=1)
    BreakerTurn.objects.create(connection=erp, object_type="", is_open=False, at=at, why="Ann resumed it: mended")
    assert watching.watch_systems(at + dt.timedelta(minutes=2)) == (0, 1)
    assert "Ann resumed it: mended." in ExceptionCase.objects.get().notes.latest("pk").text
