"""One row says how a connection is, many processes call it: what each stores, and that every turn is kept."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.db import ProgrammingError
from django.db import connection as database
from django.db.transaction import atomic
from django.utils import timezone

from connectors import breaker, connections, registry, turns
from connectors.breaker import breaker_of
from connectors.models import BreakerTurn, Connection, ConnectionHealth
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def connection():
    return factories.make_connection("netsuite")


@pytest.fixture
def process(monkeypatch, connection):
    """Switch to a process of that name, with breakers of its own."""
    known = {"first": breaker._breakers}

    def switch(name):
        monkeypatch.setattr(breaker, "_breakers", known.setdefault(name, {}))

    return switch


def fail(object_type="", times=5):
    for _ in range(times):
        breaker_of("netsuite", object_type).note_failure("answered 503")
    registry.save_health()


def answer(object_type=""):
    for name in {object_type, ""}:
        breaker_of("netsuite", name).note_success(40)
    registry.save_health()


def begin_probe():
    """The time until a call tries is over."""
    own = breaker_of("netsuite")
    own.shared.tell_open(own.name, 0.0)
    own.open_until = own.clock()
    assert own.let_through()


def stored():
    row = ConnectionHealth.objects.get()
    return row.breaker, row.stopped


def kept():
    return list(BreakerTurn.objects.order_by("id").values_list("object_type", "is_open", "why"))


def after(**span):
    return time_machine.travel(timezone.now() + dt.timedelta(**span))


def test_an_opening_and_a_closing_are_kept_once_each_with_why(process):
    process("first")
    fail()
    fail(times=1)
    assert stored() == ("open", [])
    begin_probe()
    fail(times=1)  # the probe
    assert kept() == [("", True, "answered 503")]
    answer()
    assert stored() == ("closed", [])
    assert kept() == [("", True, "answered 503"), ("", False, turns.WELL_AGAIN)]


def test_a_process_that_carries_other_things_says_nothing_of_what_another_has_stopped(process):
    process("first")
    fail("invoice")
    for _ in range(3):
        process("second")
        answer("payment")
    assert stored() == ("closed", ["invoice"])
    assert kept() == [("invoice", True, "answered 503")]


def test_a_success_elsewhere_ends_it_once_whoever_stopped_has_had_time_to_try(process):
    process("first")
    fail()
    process("second")
    answer()  # an answer that was on its way
    assert stored() == ("open", [])
    with after(minutes=3):
        answer()
    assert stored() == ("closed", [])
    process("first")
    breaker_of("netsuite").is_changed = True
    registry.save_health()
    assert stored() == ("closed", [])  # it's open there from before
    begin_probe()
    fail(times=1)
    assert stored() == ("open", [])
    assert [is_open for _, is_open, _ in kept()] == [True, False, True]


def test_a_person_who_resumes_it_ends_it_and_no_process_that_was_slow_brings_it_back(process, connection):
    process("first")
    fail("invoice")
    Connection.objects.update(state="paused")
    connections.resume(connection, by="Ann", reason="they mended it")
    assert stored() == ("closed", [])
    breaker_of("netsuite", "invoice").is_changed = True
    registry.save_health()
    assert stored() == ("closed", [])
    assert kept()[-1] == ("invoice", False, "Ann resumed it: they mended it")


def test_what_this_process_calls_about_something_else_is_no_try_of_what_is_stopped(process):
    process("first")
    fail("invoice")
    own = breaker_of("netsuite", "invoice")
    own.open_until = own.clock()  # until then it had asked others to wait
    with after(minutes=19):
        answer("payment")
    turns.settle(timezone.now() + dt.timedelta(minutes=21))
    assert kept()[-1] == ("invoice", False, turns.NOT_TRIED)


@pytest.mark.parametrize(("minutes", "is_stopped"), [(19, True), (21, False)])
def test_what_nobody_tries_for_long_is_not_known_any_more(process, minutes, is_stopped):
    process("first")
    fail("invoice")
    turns.settle(timezone.now() + dt.timedelta(minutes=minutes))
    assert turns.is_stopped(ConnectionHealth.objects.get()) is is_stopped
    assert [why for _, is_open, why in kept() if not is_open] == ([] if is_stopped else [turns.NOT_TRIED])


def test_what_the_release_before_stored_gets_its_turns(connection):
    ConnectionHealth.objects.update(breaker="open", stopped=["invoice"], last_failure="answered 502")
    turns.settle(timezone.now())
    turns.settle(timezone.now())
    assert kept() == [("", True, "answered 502"), ("invoice", True, "answered 502")]
    ConnectionHealth.objects.update(breaker="closed", stopped=[])
    turns.settle(timezone.now())
    assert [is_open for _, is_open, _ in kept()] == [True, True, False, False]


def test_outages_pair_what_began_with_its_end_the_newest_first(process, connection):
    process("first")
    fail()
    answer()
    fail("invoice")
    still, past = turns.outages(connection)
    assert (still.object_type, still.until, still.seconds, still.why) == ("invoice", None, None, "answered 503")
    assert (past.object_type, past.how) == ("", turns.WELL_AGAIN)
    assert past.seconds >= 0


def test_turns_are_never_changed(process):
    process("first")
    fail()
    for change in (lambda rows: rows.update(why="nothing"), lambda rows: rows.delete()):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), atomic():
            change(BreakerTurn.objects.all())


def test_what_the_last_turns_cost_doesnt_grow_with_the_turns_that_are_kept(process, connection):
    other = factories.make_connection("salesforce")
    now = timezone.now()
    ConnectionHealth.objects.get_or_create(connection=connection)
    ConnectionHealth.objects.get_or_create(connection=other)
    BreakerTurn.objects.bulk_create(
        BreakerTurn(connection=row, object_type=name, is_open=n % 2 == 0, at=now, why="503")
        for n in range(1000) for row in (connection, other) for name in ("", "credit_memo", "invoice")
    )  # fmt: skip
    with database.cursor() as cursor:
        cursor.execute("ANALYZE connectors_breakerturn")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {turns._LATEST}", {"only": None})
        ((plan,),) = cursor.fetchall()
    assert rows_read(plan[0]["Plan"]) < 40
    found = [(turn.connection_id, turn.object_type, turn.is_open) for turn in turns.latest_turns()]
    names = ("", "credit_memo", "invoice")
    assert found == [(pk, name, False) for pk in sorted([connection.pk, other.pk]) for name in names]
    assert [turn.connection_id for turn in turns.latest_turns(other.pk)] == [other.pk] * 3


def rows_read(node) -> float:
    own = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "connectors_breakerturn" else 0
    return own + sum(rows_read(below) for below in node.get("Plans", []))
