"""Opening and closing: every held document is in exactly one open case, and the counts are exact."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection as database
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from exceptions import cases, closing
from exceptions.models import CaseFix, CaseNote, CaseTally, ExceptionCase, Occurrence
from exceptions.rolling import roll_up
from q2c.core.ids import uuid7
from q2c.core.models import LegalEntity, Person
from q2c.core.problems import Category, Problem
from tests.exceptions.problems import AT, held, missing_item

pytestmark = pytest.mark.django_db


def tally(case: ExceptionCase | int) -> tuple[int, Decimal]:
    sums = CaseTally.objects.filter(case=case).aggregate(n=Sum("document_count"), m=Sum("amount"))
    return sums["n"], sums["m"]


def test_equal_failures_are_one_case_with_one_occurrence_each():
    rows = [held() for _ in range(3)]
    found = cases.open_for_steps(rows)
    case = ExceptionCase.objects.get()
    assert found == {row.transaction_id: case.pk for row in rows}
    assert Occurrence.objects.filter(case=case, closed_at=None).count() == 3
    assert tally(case) == (3, Decimal("30.00"))
    assert (case.kind, case.category, case.queue, case.state, case.severity) == (
        "missing_item_mapping", "mapping", "billing_ops", "open", 2,
    )  # fmt: skip
    assert case.summary == "NetSuite has no item for SKU GTX-1 in GB01"
    assert list(case.notes.order_by("pk").values_list("verb", flat=True)) == ["opened"]
    assert list(case.history.values_list("history_type", "history_change_reason")) == [("+", "opened")]


def test_another_sku_is_another_case():
    found = cases.open_for_steps([held(missing_item("A")), held(missing_item("B")), held(missing_item("A"))])
    assert len(found) == 3
    assert ExceptionCase.objects.count() == 2


@pytest.mark.scenario(62)
def test_a_thousand_problems_take_eleven_statements():
    rows = [held(missing_item(f"SKU-{n % 200}")) for n in range(1000)]
    with CaptureQueriesContext(database) as queries:
        cases.open_for_steps(rows)
    assert len(queries) == 11
    assert (ExceptionCase.objects.count(), Occurrence.objects.count()) == (200, 1000)
    with CaptureQueriesContext(database) as queries:
        cases.open_for_steps([held(missing_item(f"SKU-{n % 200}")) for n in range(1000)])
    assert len(queries) == 3
    assert CaseTally.objects.aggregate(n=Sum("document_count"), m=Sum("amount")) == {"n": 2000, "m": Decimal("20000")}


def test_the_same_document_for_the_same_cause_again_is_no_second_occurrence():
    row = held()
    cases.open_for_steps([row])
    cases.open_for_steps([held(transaction_id=row.transaction_id, attempt=2)])
    occurrence = Occurrence.objects.get()
    assert occurrence.attempt == 2
    assert tally(occurrence.case) == (1, Decimal("10"))


def test_a_document_held_for_another_cause_leaves_the_first_case(commits):
    row = held(missing_item("A"))
    first = cases.open_for_steps([row])[row.transaction_id]
    second = cases.open_for_steps([held(missing_item("B"), transaction_id=row.transaction_id)])[row.transaction_id]
    assert first != second
    assert Occurrence.objects.filter(transaction_id=row.transaction_id, closed_at=None).get().case_id == second
    assert (tally(first), tally(second)) == ((0, Decimal(0)), (1, Decimal(10)))
    assert closing.resolve_emptied() == [first]


def test_the_last_document_that_completes_resolves_its_case(commits):
    rows = [held(), held()]
    case_id = cases.open_for_steps(rows)[rows[0].transaction_id]
    with commits():
        assert cases.close_for_transactions([rows[0].transaction_id], "completed", worker="w2") == 1
    assert ExceptionCase.objects.get().state == "open"
    assert tally(case_id) == (1, Decimal(10))
    with commits():
        cases.close_for_transactions([rows[1].transaction_id], "completed", worker="w1")
    case = ExceptionCase.objects.get()
    assert (case.state, case.resolution, case.closed_at is None) == ("resolved", "completed", False)
    assert tally(case_id) == (0, Decimal(0))
    assert list(case.notes.order_by("pk").values_list("verb", flat=True)) == ["opened", "resolved"]


def test_closing_sixty_cases_takes_as_many_statements_as_closing_two_and_keeps_the_same_of_each(commits):
    taken = []
    for count in (2, 60):
        rows = [held(missing_item(f"SKU-{count}-{n}")) for n in range(count)]
        cases.open_for_steps(rows)
        with CaptureQueriesContext(database) as queries, commits():
            cases.close_for_transactions([row.transaction_id for row in rows], "completed")
        taken.append(len(queries))
    assert taken == [14, 14]
    why = "No document is left in it."
    for case in ExceptionCase.objects.all():
        assert (case.state, case.resolution, case.close_reason) == ("resolved", "completed", why)
        kept = case.history.order_by("history_id").values_list("history_type", "history_change_reason", "state")
        assert list(kept) == [("+", "opened", "open"), ("~", why, "resolved")]
        fix = CaseFix.objects.get(case=case)
        assert (fix.how, fix.why, fix.document_count, fix.at, fix.took) == (
            "by_itself", why, 1, case.closed_at, case.closed_at - AT,
        )  # fmt: skip
        told = CaseNote.objects.get(case=case, verb="resolved")
        assert (told.text, told.by, told.data) == (why, None, {"resolution": "completed", "fix": fix.pk})


def test_completing_twice_counts_once(commits):
    row = held()
    cases.open_for_steps([row, held()])
    with commits():
        assert cases.close_for_transactions([row.transaction_id], "completed") == 1
        assert cases.close_for_transactions([row.transaction_id], "completed") == 0
    assert tally(ExceptionCase.objects.get()) == (1, Decimal(10))


def test_a_resolved_cause_that_comes_back_is_the_same_case_regressed(commits):
    row = held()
    case_id = cases.open_for_steps([row])[row.transaction_id]
    with commits():
        cases.close_for_transactions([row.transaction_id], "completed")
    later = held(at=AT + dt.timedelta(days=3))
    assert cases.open_for_steps([later]) == {later.transaction_id: case_id}
    case = ExceptionCase.objects.get()
    assert (case.state, case.regressed_count, case.failed_fix, case.closed_at) == ("open", 1, "completed", None)
    assert list(case.notes.order_by("pk").values_list("verb", flat=True)) == ["opened", "resolved", "regressed"]


def test_a_waived_cause_that_comes_back_is_a_new_case(commits):
    row = held()
    cases.open_for_steps([row])
    with commits():
        cases.close_for_transactions([row.transaction_id], "waived")
    assert ExceptionCase.objects.get().state == "waived"
    cases.open_for_steps([held()])
    assert sorted(ExceptionCase.objects.values_list("state", flat=True)) == ["open", "waived"]


def test_a_repost_that_fails_again_comes_back_on_its_occurrence_without_a_regression(commits):
    row = held()
    cases.open_for_steps([row])
    with commits():
        cases.close_for_transactions([row.transaction_id], "reposted")
    assert Occurrence.objects.get().reposted_at is not None
    assert ExceptionCase.objects.get().state == "open"
    cases.open_for_steps([held(transaction_id=row.transaction_id, attempt=2)])
    assert Occurrence.objects.get().reposted_at is None
    case = ExceptionCase.objects.get()
    assert (case.regressed_count, tally(case)) == (0, (1, Decimal(10)))


def test_a_connection_case_is_noted_once_however_often_it_is_refused():
    problem = Problem("credentials_refused", Category.AUTHENTICATION, "NetSuite refused", connection="netsuite")
    first = cases.open_case(problem, connection_code="netsuite")
    assert cases.open_case(problem, connection_code="netsuite") == first
    assert Occurrence.objects.count() == 1
    assert tally(first) == (1, Decimal(0))


def test_a_connection_that_works_again_closes_its_case():
    problem = Problem("credentials_refused", Category.AUTHENTICATION, "NetSuite refused", connection="netsuite")
    case_id = cases.open_case(problem)
    assert cases.close_matching(problem, how="resumed", why="the token was renewed") == case_id
    assert ExceptionCase.objects.get().state == "resolved"
    assert cases.close_matching(problem, how="resumed", why="again") is None


def test_a_case_with_held_documents_does_not_close_with_its_connection():
    problem = Problem("system_unavailable", Category.AVAILABILITY, "down", connection="netsuite")
    cases.open_for_steps([held(problem)])
    assert cases.close_matching(problem, how="resumed", why="up again") is None


def test_a_refused_event_has_one_occurrence_and_closes_by_its_id(commits):
    event = uuid7()
    problem = Problem("malformed_event", Category.VALIDATION, "no id", connection="stripe", event_type="invoice.paid")
    assert cases.open_case(problem, event_id=event) == cases.open_case(problem, event_id=event)
    assert Occurrence.objects.get().event_id == event
    with commits():
        assert cases.close_for_events([event], "replayed") == 1
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_code_without_a_row_is_not_lost():
    row = held(Problem("brand_new", Category.VALIDATION, "?"))
    cases.open_for_steps([row])
    case = ExceptionCase.objects.get()
    assert (case.kind, case.queue) == ("brand_new", "platform")


def test_a_null_character_in_a_vendors_answer_does_not_refuse_the_commit():
    cases.open_for_steps([held(Problem("vendor_refused", Category.VALIDATION, "a\x00b", evidence={"raw": "\x00"}))])
    assert ExceptionCase.objects.get().summary == "ab"


def test_due_is_counted_in_the_entitys_working_hours():
    LegalEntity.objects.create(code="GB01", name="GB", country="GB", currency="GBP", time_zone="Europe/London")
    friday_afternoon = dt.datetime(2026, 11, 20, 15, 0, tzinfo=dt.UTC)
    cases.open_for_steps([held(at=friday_afternoon)])
    assert ExceptionCase.objects.get().due_at == dt.datetime(2026, 11, 23, 15, 0, tzinfo=dt.UTC)


def test_assigning_moves_the_case_into_review_and_is_in_history_and_timeline():
    cases.open_for_steps([held()])
    person = Person.objects.create(username="b")
    cases.assign(ExceptionCase.objects.get(), person, by=person)
    case = ExceptionCase.objects.get()
    assert (case.assignee, case.state) == (person, "in_review")
    assert case.history.first().history_user == person
    assert case.notes.last().verb == "assigned"


def test_last_at_is_rolled_up_from_the_tallies():
    cases.open_for_steps([held()])
    cases.open_for_steps([held(at=AT + dt.timedelta(hours=1))])
    assert ExceptionCase.objects.get().last_at == AT
    assert roll_up() == 1
    assert ExceptionCase.objects.get().last_at == AT + dt.timedelta(hours=1)
