"""House-keeping of cases, on a schedule: each task may run at any time and twice."""

import datetime as dt

from celery import shared_task
from django.db.models import DateTimeField, ExpressionWrapper, F
from django.utils import timezone

from exceptions import (
    bulk,
    cases,
    clocks,
    closing,
    counting,
    doubles,
    keeping,
    overtaken,
    regrouping,
    releases,
    rerouting,
    resolutions,
    rolling,
    silent_channels,
    writeback,
)
from exceptions.alerts import telling
from exceptions.models import ExceptionCase
from exceptions.resolving import agreeing, edits, snoozes
from exceptions.sheets import carrying
from q2c.core import access
from q2c.core.models import Person
from q2c.core.problems import Category, Problem
from q2c.core.roles import PERMISSION_WORDS
from q2c.core.sign_on import new_way
from q2c.flows import corrections
from q2c.flows.done import portal_person

NEW_PASSWORD = "approver_has_new_password"
APPROVING = tuple(name for name in PERMISSION_WORDS if ".approve_" in name)
PASSWORD_IS_NEW = dt.timedelta(hours=24)  # as the trigger on core_person has it


@shared_task(ignore_result=True)
def sweep_cases() -> None:
    """Let corrected documents pass and decided doubles go on, wake what was snoozed, resolve what is empty, note who is
    at risk or late, end emergencies, and finish what was cut off."""
    releases.end_emergencies()
    resolutions.make_way()
    overtaken.bring_back()
    edits.end_emergencies(by=portal_person())
    snoozes.wake_due()
    agreeing.end_stale()
    doubles.go_on_decided(by=None, why="the records aren’t suspected to be one any more")
    resolutions.follow_parents()
    regrouping.finish_merges()
    closing.resolve_emptied()
    rerouting.reroute()
    clocks.note_standing()
    tell_new_passwords()
    releases.finish_change_sets()
    bulk.run_due()
    bulk.forget_drafts()
    carrying.forget_sheets()


@shared_task(ignore_result=True)
def run_bulk_actions() -> None:
    """Begin the bulk actions whose time to undo is over."""
    bulk.run_due()


@shared_task(ignore_result=True)
def roll_up_cases() -> None:
    """Bring what lists are sorted and summed by up to date, and where an amount sends its case."""
    rolling.roll_up(then=rerouting.follow_amounts)
    counting.add_up()


@shared_task(ignore_result=True)
def reroute_cases() -> None:
    """Bring rules of routing that changed to the open cases."""
    rerouting.reroute()


@shared_task(ignore_result=True)
def tell_sources() -> None:
    """Let documents that were corrected outside pass, and write on the records outside what holds them."""
    corrections.read_held_again()
    resolutions.make_way(also_sent_back=False)
    writeback.tell_sources()


@shared_task(ignore_result=True)
def tell_people() -> None:
    """Put what is new into alerts, and send what is due; a channel that takes nothing is a case."""
    telling.tell()
    silent_channels.watch_channels()


@shared_task(ignore_result=True)
def let_go_of_old() -> None:
    """Drop the alerts and the rows of bulk actions that are older than policy keeps them."""
    keeping.let_go()


@shared_task(ignore_result=True)
def gather_evidence(change_set_id: int) -> None:
    """Find out what a large change set would do; its page shows how far it is."""
    releases.gather_evidence(change_set_id)


def tell_new_passwords() -> int:
    """Open a case for each person who may approve and whose password, second factor or single sign-on was changed
    within a day. Returns how many.

    Read from what the database set, so that what was changed past every screen is told too."""
    people = Person.objects.filter(
        access.role_q(*APPROVING, prefix="memberships__"), access.in_force("memberships__"),
        approves_from__gt=timezone.now(),
    ).distinct()  # fmt: skip
    changed = ExpressionWrapper(F("approves_from") - PASSWORD_IS_NEW, output_field=DateTimeField())
    known = ExceptionCase.objects.filter(kind=NEW_PASSWORD)
    told = 0
    for person in people.annotate(changed=changed).only("username", "sign_in_changed"):
        name, since = person.username, f"{person.changed:%Y-%m-%d %H:%M} UTC"
        if not known.filter(subject__contains={"person": name, "since": since}).exists():
            said = f"{name}, who may approve, has {new_way(person.sign_in_changed)} since {since}"
            cases.open_case(Problem(NEW_PASSWORD, Category.AUTHENTICATION, said, person=name, since=since))
            told += 1
    return told
