"""Anchors that can't be written are told: a case, a gauge, and how far they reach."""

import datetime as dt
import os

import pytest
import time_machine
from django.utils import timezone

from exceptions.models import ExceptionCase
from q2c.core import audit
from q2c.core.metrics import scrape
from q2c.core.models import StatNow
from q2c.core.tasks import anchor_audit
from q2c.flows import watching
from q2c.flows.tasks import warn_operators
from q2c.transactions import counting
from tests.core.test_audit import cut_after, declare, note

pytestmark = pytest.mark.django_db
LATER = dt.timedelta(minutes=11)


def ago(minutes):
    return time_machine.travel(timezone.now() - dt.timedelta(minutes=minutes))


@pytest.fixture
def file(settings, tmp_path):
    """Where the chain's first two entries are anchored."""
    settings.ANCHOR_FILE = str(tmp_path / "volume" / "chain.jsonl")
    with ago(60):
        note(2)
        anchor_audit()
    return tmp_path / "volume" / "chain.jsonl"


def seconds_unanchored():
    (line,) = [line for line in scrape().decode().splitlines() if line.startswith("q2c_audit_unanchored_seconds ")]
    return float(line.rpartition(" ")[2])


def spoil(file, how):
    """What happens to a volume: returns the words that operators are told."""
    if how == "gone":
        file.unlink()
        file.parent.rmdir()
        file.parent.write_text("the volume isn't there")
        return "Not a directory"
    file.unlink()
    file.mkdir()
    return "Is a directory"


def anchor_fails():
    with pytest.raises(OSError):
        anchor_audit()


@pytest.mark.parametrize("how", ["gone", "not a file"])
def test_anchors_that_cannot_be_written_are_a_case_that_says_why_and_closes_when_they_can_be(file, how):
    assert (watching.watch_anchors(), seconds_unanchored()) == ((0, 0), 0)
    with ago(5):
        note(1)
    says = spoil(file, how)
    anchor_fails()
    assert watching.watch_anchors() == (0, 0)  # a minute's fault wakes nobody
    assert seconds_unanchored() == pytest.approx(300, abs=30)
    counting.look_at_open()  # which replaces all else that was found
    with time_machine.travel(timezone.now() + LATER):
        anchor_fails()
        warn_operators()
        assert watching.watch_anchors() == (0, 0)
        case = ExceptionCase.objects.get()
        assert (case.kind, case.subject["file"]) == ("audit_not_anchored", str(file))
        assert f"is anchored outside the database: {says}" in case.summary
        file.rmdir() if how == "not a file" else file.parent.unlink()
        assert anchor_audit() is None
        assert watching.watch_anchors() == (0, 1)
    assert ExceptionCase.objects.get().state not in ExceptionCase.OPEN_STATES
    assert (audit.verify().newest_anchor, seconds_unanchored()) == (3, 0)


def test_a_file_that_only_its_owner_may_write_to_is_told_too(file, monkeypatch):
    note(1)

    def refused(*args, **kwargs):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(audit.os, "open", refused)
    anchor_fails()
    since, why = audit.unguarded_since()
    assert why == "Permission denied"
    assert since == audit.AuditEntry.objects.get(sequence=3).at


def test_a_case_that_was_waived_is_not_opened_again(file):
    note(1)
    spoil(file, "gone")
    with time_machine.travel(timezone.now() + LATER):
        watching.watch_anchors()
        ExceptionCase.objects.update(state=ExceptionCase.State.WAIVED, closed_at=timezone.now())
        assert watching.watch_anchors() == (0, 0)


def test_nobody_is_told_of_entries_from_before_the_first_look_until_they_had_their_time(settings, tmp_path):
    settings.ANCHOR_FILE = str(tmp_path / "chain.jsonl")
    with ago(300 * 24 * 60):
        note(3)
    assert StatNow.objects.count() == 0
    assert watching.watch_anchors() == (0, 0)  # a release that didn't note it was replaced a moment ago
    with time_machine.travel(timezone.now() + LATER):  # and nobody anchors: its schedule is off
        assert watching.watch_anchors() == (1, 0)
        anchor_audit()
        assert watching.watch_anchors() == (0, 1)


def test_a_restore_that_nobody_told_of_is_a_case_once_the_chain_goes_on(file):
    note(6)
    anchor_audit()
    cut_after(3)
    StatNow.objects.filter(measure=audit.ANCHORED).update(count=2)  # as the backup has it
    anchor_audit()
    with time_machine.travel(timezone.now() + LATER):
        assert watching.watch_anchors() == (1, 0)
        assert "it ends before its newest anchor" in ExceptionCase.objects.get().summary
        declare()
        anchor_audit()
        assert watching.watch_anchors() == (0, 1)
    assert audit.verify().holds
