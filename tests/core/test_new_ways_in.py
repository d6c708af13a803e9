"""Who gets into an account by something new can't approve as its person for a day, however it came there."""

from __future__ import annotations

import datetime as dt

import pgtrigger
import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.utils import timezone

from q2c.core.models import Person
from tests.core.people import make_person
from tests.core.test_approvals import code, make_proposal, sign

pytestmark = pytest.mark.django_db


@pytest.fixture
def maker():
    return make_person("maker", "controller")


@pytest.fixture
def checker():
    return make_person("checker", "controller")


def let_days_pass():
    """As long after everything that was changed as if nothing had been."""
    with pgtrigger.ignore("core.Person:new_password_waits"):
        Person.objects.update(approves_from=None, sign_in_changed="")


def tie_account(person):
    return SocialAccount.objects.create(user=person, provider="company", uid="subject-1")


def add_factor(person):
    return Authenticator.objects.create(user=person, type="totp", data={"secret": "one"})


def move_to(other):
    """A change that gives what somebody has to another person, past every screen."""
    return lambda row: type(row).objects.filter(pk=row.pk).update(user=other)


@pytest.mark.parametrize(("make", "way"), [(tie_account, "single sign-on"), (add_factor, "second factor")])
@pytest.mark.parametrize("act", ["made", "changed", "moved", "deleted"])
def test_a_new_or_changed_way_to_sign_in_cannot_approve_for_a_day_and_alarms(maker, checker, make, way, act):
    proposal = make_proposal(maker)
    if act != "made":
        row = make(maker if act == "moved" else checker)
        let_days_pass()
    match act:
        case "made":
            make(checker)
        case "changed":
            changes = {"uid": "subject-2"} if make is tie_account else {"data": {"secret": "two"}}
            type(row).objects.filter(pk=row.pk).update(**changes)
        case "moved":
            move_to(checker)(row)
        case "deleted":
            row.delete()
    checker.refresh_from_db()
    assert checker.sign_in_changed == way
    assert dt.timedelta(hours=23) < checker.approves_from - timezone.now() <= dt.timedelta(hours=24)
    alarms = []
    assert code(lambda: sign(proposal, checker, alarms)) == "after_reset"
    assert way in alarms[0].summary
    Person.objects.filter(pk=checker.pk).update(approves_from=None)
    checker.refresh_from_db()
    assert checker.approves_from is not None


def test_signing_in_by_a_factor_or_an_account_that_one_has_is_nothing_new(checker):
    account, factor = tie_account(checker), add_factor(checker)
    codes = Authenticator.objects.create(user=checker, type="recovery_codes", data={"seed": "s", "used_mask": 0})
    let_days_pass()
    account.extra_data = {"seen": "again"}
    account.save()
    factor.record_usage()
    codes.data["used_mask"] = 1
    codes.save()
    checker.refresh_from_db()
    assert (checker.approves_from, checker.sign_in_changed) == (None, "")


def test_somebody_with_a_second_factor_can_be_deleted():
    person = make_person("leaver")
    tie_account(person)
    add_factor(person)
    person.delete()
    assert not Person.objects.filter(username="leaver").exists()


def test_the_admin_shows_nothing_by_which_one_could_sign_in_as_somebody_else():
    assert {m for m in (SocialApp, SocialAccount, SocialToken, Authenticator) if admin.site.is_registered(m)} == set()
