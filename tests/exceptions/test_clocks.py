"""The clock of a case: stored standings, told once and higher up, stopped while somebody outside is waited for."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.db import connection as database
from django.db.transaction import atomic
from django.db.utils import DatabaseError
from django.test.utils import CaptureQueriesContext

from exceptions import cases, clocks, closing
from exceptions.models import CaseNote, CasePause, ExceptionCase
from q2c.core.models import StatDelta
from tests.exceptions.problems import held, missing_item
from tests.factories import make_entity, make_period, make_person

pytestmark = pytest.mark.django_db
UTC = dt.UTC
MONDAY = dt.datetime(2026, 11, 16, 9, tzinfo=UTC)  # eight hours are promised: due at 17:00, at risk from 15:00


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def case():
    make_entity("GB01")
    cases.open_for_steps([held(at=MONDAY)])
    return ExceptionCase.objects.get()


def run(moment: dt.datetime) -> int:
    with time_machine.travel(moment, tick=False):
        return clocks.note_standing()


def notes() -> list[tuple[str, str]]:
    found = CaseNote.objects.filter(verb__in=("at_risk", "breached", "escalated")).order_by("id")
    return [(note.verb, note.text.partition("told ")[2]) for note in found]


def test_a_case_is_told_once_each_time_it_stands_worse_and_higher_up_each_time(case):
    moments = [at(16, 14, 59), at(16, 15), at(16, 16), at(16, 17), at(17, 12, 59), at(17, 13), at(17, 17), at(30, 9)]
    assert [run(moment) for moment in moments] == [0, 1, 0, 1, 0, 1, 1, 0]
    assert notes() == [
        ("at_risk", "its queue"), ("breached", "Mapping administration"), ("escalated", "Controllership"),
        ("escalated", "Platform"),
    ]  # fmt: skip
    case.refresh_from_db()
    assert (case.standing, case.escalation, case.turns_at) == ("breached", 4, None)


def test_one_who_leads_the_queue_and_controllership_at_once_is_told_once(case):
    ExceptionCase.objects.update(queue="controllership")
    assert [run(at(16, 17)), run(at(17, 13)), run(at(17, 17))] == [1, 0, 1]
    assert notes() == [("breached", "Controllership"), ("escalated", "Platform")]


def test_whoever_has_a_case_at_risk_is_told(case):
    ExceptionCase.objects.update(assignee=make_person("billing_ops", username="anna"))
    run(at(16, 15))
    assert notes() == [("at_risk", "anna")]


def test_a_run_reads_only_cases_whose_time_has_come(case):
    cases.open_for_steps([held(missing_item(f"SKU-{n}"), at=MONDAY + dt.timedelta(hours=1)) for n in range(50)])
    with time_machine.travel(at(16, 15), tick=False), CaptureQueriesContext(database) as queries:
        assert clocks.note_standing() == 1
    read = next(q["sql"] for q in queries if "FOR NO KEY UPDATE" in q["sql"])
    with atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {read}")
        assert any("case_turns" in row[0] for row in cursor.fetchall())


def test_a_case_that_comes_back_has_a_new_clock(case, django_capture_on_commit_callbacks):
    run(at(18, 9))
    txn = case.occurrences.get().transaction_id
    with django_capture_on_commit_callbacks(execute=True):
        cases.close_for_transactions([txn], "completed")
    cases.open_for_steps([held(at=at(23, 9))])
    case.refresh_from_db()
    assert (case.standing, case.escalation, case.turns_at) == ("on_time", 0, at(23, 15))
    assert [run(at(23, 15)), run(at(23, 17))] == [1, 1]


def test_a_case_around_a_close_is_promised_sooner():
    make_period("GB01", "2026-10")
    cases.open_for_steps([held(at=at(2, 9))])  # WD1
    case = ExceptionCase.objects.get()
    assert (case.due_at, case.turns_at) == (at(2, 13), at(2, 12))


def test_the_promise_moves_by_the_working_time_that_was_waited(case):
    anna = make_person("billing_ops")
    with time_machine.travel(at(16, 14), tick=False):
        clocks.pause(case, waits_for="customer", why="asked for the tax number", by=anna)
    assert run(at(18, 9)) == 0
    with time_machine.travel(at(18, 12), tick=False):
        waited = clocks.resume(case, why="they answered", by=anna)
    assert waited == dt.timedelta(hours=3 + 8 + 3)
    case.refresh_from_db()
    assert (case.due_at, case.turns_at, case.paused_for) == (at(18, 15), at(18, 13), "")
    assert [run(at(18, 12, 59)), run(at(18, 13)), run(at(18, 15))] == [0, 1, 1]
    assert list(case.pauses.order_by("id").values_list("is_stop", "due_at")) == [
        (True, at(16, 17)), (False, at(18, 15)),
    ]  # fmt: skip
    assert [note.verb for note in case.notes.order_by("id")][1:3] == ["paused", "resumed"]


@pytest.mark.parametrize(
    ("stopped", "goes_on", "closed", "kept"),
    [
        (at(16, 14), None, at(18, 9), "in_time"),
        (at(16, 17), None, at(18, 9), "in_time"),
        (at(16, 17, 1), None, at(18, 9), "late"),
        (None, None, at(16, 17), "in_time"),
        (None, None, at(16, 17, 1), "late"),
        (at(16, 14), at(16, 15), at(17, 9), "in_time"),  # due an hour later, at ten the next day
        (at(16, 14), at(16, 15), at(17, 10, 1), "late"),
    ],
)
def test_a_case_that_closes_while_its_clock_stands_still_kept_its_promise_up_to_then(
    case, django_capture_on_commit_callbacks, stopped, goes_on, closed, kept
):
    anna = make_person("billing_ops")
    if stopped:
        with time_machine.travel(stopped, tick=False):
            clocks.pause(case, waits_for="customer", why="asked for the tax number", by=anna)
    if goes_on:
        with time_machine.travel(goes_on, tick=False):
            clocks.resume(case, why="they answered", by=anna)
    txn = case.occurrences.get().transaction_id
    with time_machine.travel(closed, tick=False), django_capture_on_commit_callbacks(execute=True):
        cases.close_for_transactions([txn], "completed")
    counted = [row["a"] for delta in StatDelta.objects.all() for row in delta.rows if row["m"] == closing.RESOLVED]
    assert counted == [kept]


def test_a_broken_promise_stays_broken_and_is_told_no_higher_while_it_waits(case):
    anna = make_person("billing_ops")
    run(at(16, 17))
    case.refresh_from_db()
    with time_machine.travel(at(17, 9), tick=False):
        clocks.pause(case, waits_for="vendor", why="a ticket with them", by=anna)
    assert run(at(20, 9)) == 0
    with time_machine.travel(at(20, 9), tick=False):
        clocks.resume(case, why="it is mended", by=anna)
    assert [run(at(20, 9)), run(at(20, 13))] == [0, 1]


def test_a_clock_is_stopped_once_and_goes_on_once(case):
    anna = make_person("billing_ops")
    clocks.pause(case, waits_for="vendor", why="a ticket", by=anna)
    with pytest.raises(clocks.ClockRefused, match="waits for the vendor"):
        clocks.pause(case, waits_for="customer", why="a mail", by=anna)
    clocks.resume(case, why="it is mended", by=anna)
    with pytest.raises(clocks.ClockRefused, match="runs already"):
        clocks.resume(case, why="it is mended", by=anna)


def test_stops_are_append_only(case):
    clocks.pause(case, waits_for="vendor", why="a ticket", by=make_person("billing_ops"))
    with pytest.raises(DatabaseError, match="append_only"), atomic():
        CasePause.objects.update(why="another")


def test_lists_and_counts_filter_by_standing(case, client):
    cases.open_for_steps([held(missing_item("B"), at=MONDAY), held(missing_item("C"), at=at(16, 12))])
    run(at(16, 15))
    paused = ExceptionCase.objects.get(summary__contains="SKU B")
    clocks.pause(paused, waits_for="customer", why="asked them", by=make_person("billing_ops"))
    client.force_login(make_person("controller"))
    with time_machine.travel(at(16, 16), tick=False):
        pages = {due: client.get(f"/exceptions/cases/?due={due}") for due in ("at_risk", "paused", "late", "today")}
    found = {due: sorted(c.subject["key"] for c in page.context["cases"]) for due, page in pages.items()}
    assert found == {"at_risk": ["GTX-1"], "paused": ["B"], "late": [], "today": ["C", "GTX-1"]}
    assert pages["at_risk"].context["counts"]["at_risk"].number == 1
    assert "Paused: customer" in pages["paused"].content.decode()


def test_the_role_that_was_told_may_open_the_case(case, client):
    client.force_login(make_person("platform"))
    assert client.get(f"/exceptions/cases/{case.pk}/").status_code == 404
    run(at(30, 9))
    assert client.get(f"/exceptions/cases/{case.pk}/").status_code == 200


def test_the_clock_is_stopped_and_let_go_on_by_the_page(case, client):
    client.force_login(make_person("billing_ops"))
    page = f"/exceptions/cases/{case.pk}/"
    assert client.post(f"{page}pause/", {"pause-waits_for": "customer", "pause-why": ""}).status_code == 422
    client.post(f"{page}pause/", {"pause-waits_for": "customer", "pause-why": "asked for the tax number"})
    shown = client.get(page).content.decode()
    assert "while we wait for the customer: asked for the tax number" in shown
    client.post(f"{page}resume/", {"resume-why": "they answered"})
    case.refresh_from_db()
    assert (case.paused_for, case.pauses.count()) == ("", 2)
