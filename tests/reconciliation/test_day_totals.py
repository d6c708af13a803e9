"""Each day the last days' totals are checked by themselves: what doesn't add up is a case until it does."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db.transaction import atomic
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from exceptions.models import ExceptionCase
from q2c.core.hotpath import fetch_rows
from q2c.flows.intake import carry_due_events
from q2c.flows.schedules import add_missing_schedules
from q2c.inbox.receive import receive
from q2c.reconciliation import day_totals, tasks
from q2c.reconciliation.day_totals import tell_apart
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.inbox.conftest import AT, acme, arrival, posted

__all__ = ["acme"]
TODAY = AT + dt.timedelta(days=1)


@pytest.fixture
def day(acme):
    """Three invoices of a day, one of which is of nothing, and a credit memo; posted, held, ignored and on its way."""
    events = [posted(1, "100.00"), posted(2, "50.00"), posted(3, "-30.00"), posted(4, "0.00")]
    receive(acme.id, [arrival(event, f"evt_{n}") for n, event in enumerate(events)], via="webhook")
    carry_due_events()
    BusinessTransaction.objects.filter(source_id="in_1").update(state="completed")
    BusinessTransaction.objects.filter(source_id="in_2").update(state="held")
    fetch_rows("DELETE FROM transactions_workitem")
    return acme


def told():
    return list(ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).values_list("summary", flat=True))


SAYS = "Acme's invoices of 2026-11-01 don't add up: of {} received {}; posted, held, ignored and on their way {}"
LOSE = "DELETE FROM transactions_businesstransaction WHERE source_id = 'in_2'"
NOTHING = "0 over GBP 0.00"


def test_whatever_each_document_became_it_is_accounted_for(day):
    assert tell_apart(TODAY) == (0, 0)
    BusinessTransaction.objects.filter(source_id="in_3").update(state="cancelled")
    assert tell_apart(TODAY) == (0, 0)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (LOSE, ("INV-2", "1 over GBP 50.00", NOTHING)),
        ("UPDATE transactions_businesstransaction SET amount = amount + 0.01 WHERE source_id = 'in_3'",
         ("INV-3", "1 over GBP -30.00", "1 over GBP -30.01")),
        ("UPDATE transactions_businesstransaction SET line_count = 2 WHERE source_id = 'in_1'",
         ("INV-1", "1 over GBP 100.00", "1 over GBP 100.00")),
        ("DELETE FROM records_billeddocument WHERE external_id = 'in_2'", ("INV-2", NOTHING, "1 over GBP 50.00")),
        ("UPDATE transactions_businesstransaction SET amount = CASE source_id WHEN 'in_1' THEN 90 ELSE 60 END"
         " WHERE source_id IN ('in_1', 'in_2')", ("INV-1, INV-2", "2 over GBP 150.00", "2 over GBP 150.00")),  # offset
    ],
)  # fmt: skip
def test_what_is_lost_or_changed_is_a_case_with_both_sums_and_its_documents(day, spoil, says):
    fetch_rows(spoil)
    assert [tell_apart(TODAY), tell_apart(TODAY)] == [(1, 0), (0, 0)]
    assert told() == [SAYS.format(*says)]
    case = ExceptionCase.objects.get()
    assert (case.kind, case.queue, case.subject["day"]) == ("totals_apart", "platform", "2026-11-01")


def test_the_case_closes_when_the_day_adds_up_and_not_because_the_day_is_long_ago(day):
    later = TODAY + dt.timedelta(days=30)
    change = "UPDATE transactions_businesstransaction SET amount = %s WHERE source_id = 'in_2'"
    fetch_rows(change, [51])
    assert [tell_apart(later), tell_apart(TODAY), tell_apart(later)] == [(0, 0), (1, 0), (0, 0)]
    fetch_rows(change, [52])
    tell_apart(later)
    assert told() == [SAYS.format("INV-2", "1 over GBP 50.00", "1 over GBP 52.00")]
    fetch_rows(change, [50])
    assert tell_apart(later) == (0, 1)
    assert ExceptionCase.objects.get().resolution == "healed"


def test_what_a_person_has_explained_isnt_told_again_while_its_just_that(day):
    fetch_rows("UPDATE transactions_businesstransaction SET amount = 51 WHERE source_id = 'in_2'")
    tell_apart(TODAY)
    ExceptionCase.objects.update(state="waived", closed_at=timezone.now())
    assert tell_apart(TODAY) == (0, 0)
    receive(day.id, [arrival(posted(5, "10.00"), "evt_5")], via="webhook")  # which is sound
    carry_due_events()
    assert tell_apart(TODAY) == (0, 0)
    fetch_rows("UPDATE transactions_businesstransaction SET amount = 51.01 WHERE source_id = 'in_2'")
    assert tell_apart(TODAY) == (1, 0)


def test_each_entitys_days_are_its_own_case(acme):
    receive(
        acme.id,
        [arrival(posted(n, legal_entity=entity), f"evt_{n}") for n, entity in enumerate(("GB01", "US01", "US01"))],
        via="webhook",
    )
    for code in ("GB01", "US01"):
        factories.make_entity(code)
    carry_due_events()
    fetch_rows("DELETE FROM transactions_workitem")
    fetch_rows("DELETE FROM transactions_businesstransaction")
    assert tell_apart(TODAY) == (2, 0)
    assert sorted(ExceptionCase.objects.values_list("legal_entity_code", flat=True)) == ["GB01", "US01"]


def test_it_happens_daily_by_itself(day, monkeypatch):
    add_missing_schedules()
    task = PeriodicTask.objects.get(name="Check control totals")
    assert (task.task, task.interval.every, task.queue) == (tasks.check_totals.name, 24 * 3600, "reconciliation")
    fetch_rows(LOSE)
    monkeypatch.setattr(day_totals.timezone, "now", lambda: TODAY)
    tasks.check_totals()
    assert len(told()) == 1


def test_it_reads_the_days_that_it_looks_at_and_no_others(day):
    asked = {
        "sources": ["acme"], "entities": ["", "GB01"], "days": [AT.date()], "flows": day_totals.FLOWS,
        "kinds": day_totals.KINDS, "negative": list(day_totals.NEGATIVE),
    }  # fmt: skip
    with atomic():
        fetch_rows("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in fetch_rows(f"EXPLAIN {day_totals._APART}", asked))
    assert "Seq Scan on transactions_businesstransaction" not in plan
    assert "Seq Scan on records_billeddocument" not in plan
    assert "billed_day" in plan
    assert "txn_dated" in plan
    assert "txn_source" in plan
