"""The sweep: empty cases resolve, new passwords of approvers are told."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.utils import timezone

from exceptions import cases, tasks
from exceptions.models import ExceptionCase, Occurrence
from q2c.core.models import Person
from tests.exceptions.problems import held
from tests.factories import make_person

pytestmark = pytest.mark.django_db


def test_the_sweep_resolves_a_case_that_a_crash_left_empty():
    cases.open_for_steps([held()])
    Occurrence.objects.update(closed_at=timezone.now(), closed_how="completed")
    tasks.sweep_cases()
    assert ExceptionCase.objects.get().state == "resolved"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda p: Person.objects.filter(pk=p.pk).update(password="x"), "a new password"),
        (lambda p: Authenticator.objects.create(user=p, type="totp", data={}), "second factor"),
        (lambda p: SocialAccount.objects.create(user=p, provider="c", uid="1"), "single sign-on"),
    ],
)
def test_the_case_says_what_of_their_signing_in_changed(act, said):
    act(make_person("controller"))
    assert tasks.tell_new_passwords() == 1
    assert said in Occurrence.objects.get().problem["summary"]


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
