"""Out of office: what is new goes to whoever stands in, and their own rights with it, nobody else's."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from django.utils import timezone

from exceptions import cases
from exceptions.models import ExceptionCase
from mappings.kinds import ROUTING
from q2c.core import absences, approvals
from q2c.core.models import AuditEntry
from tests.exceptions.problems import held
from tests.factories import make_case, make_person, make_proposal
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
UTC = zoneinfo.ZoneInfo("UTC")


def away(person, deputy, *, first: int = 0, back: int = 3):
    today = timezone.localdate()
    first_day, back_on = (today + dt.timedelta(days=n) for n in (first, back))
    return absences.note_absence(person, first_day=first_day, back_on=back_on, deputy=deputy, why="leave", zone=UTC)


@pytest.fixture
def anna():
    return make_person("billing_ops", username="anna")


@pytest.fixture
def ben():
    return make_person("billing_ops", username="ben")


def test_a_case_for_somebody_who_is_away_goes_to_whoever_stands_in_with_a_note(anna, ben):
    absence, case, cora = away(anna, ben), make_case(), make_person("controller")
    said = cases.assign(case, anna, by=cora)
    case.refresh_from_db()
    assert (case.assignee, said) == (ben, f"ben stands in for anna until {absence.ends_at:%Y-%m-%d}")
    assert case.notes.latest("id").text == f"ben: {said}"
    cases.assign(case, anna, by=anna)  # who takes it is here
    case.refresh_from_db()
    assert case.assignee == anna


def test_whoever_stands_in_gets_nothing_that_they_do_not_work_themselves(anna):
    sally, case = make_person("sales_ops", username="sally"), make_case()
    away(anna, sally)
    said = cases.assign(case, anna, by=make_person("controller"))
    case.refresh_from_db()
    assert (case.assignee, said) == (anna, "anna is away, and sally, who stands in, doesn’t work this queue")
    make_rule(ROUTING, "*", "billing_ops to anna")
    cases.open_for_steps([held()])
    assert ExceptionCase.objects.latest("id").assignee is None


def test_of_many_cases_given_at_once_those_that_the_deputy_works_go_there(anna):
    cora = make_person("sales_ops", username="sally")
    away(anna, cora)
    both = [make_case(queue="sales_ops"), make_case(queue="billing_ops")]
    cases.assign_all(both, anna, by=make_person("controller"), why="")
    assert [ExceptionCase.objects.get(pk=case.pk).assignee for case in both] == [cora, anna]
    assert both[0].notes.latest("id").text.startswith("sally: sally stands in for anna until")


def test_a_rule_that_names_somebody_who_is_away_reaches_whoever_stands_in(anna, ben):
    away(anna, ben)
    make_rule(ROUTING, "*", "billing_ops to anna")
    cases.open_for_steps([held()])
    case = ExceptionCase.objects.get()
    assert case.assignee == ben
    assert list(case.notes.order_by("id").values_list("verb", "text")) == [
        ("opened", "NetSuite has no item for SKU GTX-1 in GB01"), ("assigned", "ben, who stands in for anna"),
    ]  # fmt: skip


def test_of_two_who_are_away_the_last_one_who_is_here_stands_in(anna, ben):
    cora = make_person("controller", username="cora")
    away(anna, ben)
    away(ben, cora, back=5)
    assert absences.reached(anna)[0] == cora
    away(cora, anna)
    assert absences.reached(anna) == (anna, "")  # nobody is left


def test_it_begins_and_ends_on_its_days_and_when_they_are_back(anna, ben):
    away(anna, ben, first=1)
    assert absences.reached(anna) == (anna, "")
    absence = away(ben, anna)
    absences.end_absence(absence, by=ben)
    absences.end_absence(absence, by=ben)
    assert absences.reached(ben) == (ben, "")
    assert list(AuditEntry.objects.order_by("sequence").values_list("actor", "verb")) == [
        ("anna", "away"), ("ben", "away"), ("ben", "back"),
    ]  # fmt: skip


@pytest.mark.parametrize(("first", "back"), [(3, 3), (-5, -2), (0, 400), (1, 9)])
def test_what_cannot_be_an_absence_is_refused(anna, ben, first, back):
    away(anna, ben, first=2)
    with pytest.raises(absences.AbsenceRefused):
        away(anna, ben, first=first, back=back)
    with pytest.raises(absences.AbsenceRefused):
        away(ben, ben)


def test_nobody_signs_for_somebody_else(anna):
    cora = make_person("controller", username="cora")
    away(cora, anna)
    refused = approvals.why_not(make_proposal(), anna)
    assert getattr(refused, "code", "") == "not_permitted"


def test_the_page_says_who_stands_in_and_ends_it(client, anna, ben):
    client.force_login(anna)
    today = timezone.localdate()
    answer = client.post("/you/absences/", {"first_day": f"{today}", "back_on": f"{today}", "deputy": ben.pk})
    assert answer.status_code == 422
    back = today + dt.timedelta(days=2)
    client.post("/you/absences/", {"first_day": f"{today}", "back_on": f"{back}", "deputy": ben.pk, "why": "leave"})
    page = client.get("/you/absences/")
    assert "ben stands in: leave" in page.content.decode()
    client.post(f"/you/absences/{anna.absences.get().pk}/end/")
    assert absences.reached(anna) == (anna, "")
    assert "You’re here" in client.get("/you/absences/").content.decode()
