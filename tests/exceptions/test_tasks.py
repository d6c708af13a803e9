"""The sweep: empty cases resolve, late ones are noted once."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from exceptions import cases, tasks
from exceptions.models import CaseNote, ExceptionCase, Occurrence
from q2c.core.models import Person
from tests.exceptions.problems import held
from tests.factories import make_person

pytestmark = pytest.mark.django_db


def noted() -> list[str]:
    return list(CaseNote.objects.filter(verb__in=("at_risk", "breached")).order_by("id").values_list("verb", flat=True))


def test_the_sweep_resolves_a_case_that_a_crash_left_empty():
    cases.open_for_steps([held()])
    Occurrence.objects.update(closed_at=timezone.now(), closed_how="completed")
    tasks.sweep_cases()
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_case_is_noted_once_when_at_risk_and_once_when_breached():
    now = timezone.now()
    cases.open_for_steps([held(at=now)])
    assert tasks.note_standing() == 0
    ExceptionCase.objects.update(opened_at=now - dt.timedelta(hours=9), due_at=now + dt.timedelta(hours=1))
    assert [tasks.note_standing(), tasks.note_standing()] == [1, 0]
    ExceptionCase.objects.update(due_at=now - dt.timedelta(seconds=1))
    assert [tasks.note_standing(), tasks.note_standing()] == [1, 0]
    assert noted() == ["at_risk", "breached"]


def test_a_case_that_came_back_is_noted_anew():
    now = timezone.now()
    cases.open_for_steps([held(at=now - dt.timedelta(days=9))])
    assert tasks.note_standing() == 1
    ExceptionCase.objects.update(opened_at=timezone.now(), due_at=timezone.now())
    assert tasks.note_standing() == 1
    assert noted() == ["breached", "breached"]


def test_a_new_password_of_an_approver_is_told_once_however_it_was_set():
    approver, clerk = make_person("controller"), make_person("sales_ops")
    for person in (approver, clerk):
        Person.objects.filter(pk=person.pk).update(password="set past every screen")
    assert [tasks.tell_new_passwords(), tasks.tell_new_passwords()] == [1, 0]
    case = ExceptionCase.objects.get()
    assert (case.kind, case.queue, case.subject["person"]) == (
        "approver_has_new_password",
        "platform",
        approver.username,
    )
