"""Alerts are told again while a case of them is open: by how pressing it is, to whom it concerns, in their time."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core import mail
from django.utils import timezone

from exceptions.alerts import grouping, planning, reminding, sending, telling
from exceptions.kind_words import HIGH, LOW, MEDIUM, URGENT
from exceptions.models import AlertDelivery, AlertGroup, ExceptionCase
from tests.exceptions.test_alerts import calm, channel, room, storm, subscribe  # noqa: F401 - fixtures
from tests.factories import make_person

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)
TUESDAY = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)  # a working day, in working hours


@pytest.fixture
def clock(time_machine):
    """A clock that is moved by hand; what is due by then is told."""

    def move(**span):
        time_machine.shift(dt.timedelta(**span))
        telling.tell()

    time_machine.move_to(TUESDAY, tick=False)
    return move


ROUND_THE_CLOCK = "credentials_refused"  # of a kind that the platform's people answer for


def press(severity: int, *, kind: str = ROUND_THE_CLOCK, **which) -> None:
    """Make the open cases so pressing, and of that kind."""
    ExceptionCase.objects.filter(**which).update(severity=severity, kind=kind)


def begin(severity: int, count: int = 1, **fields) -> list:
    rows = storm(count)
    press(severity, **fields)
    telling.tell()
    return rows


@pytest.mark.parametrize(
    ("severity", "quiet", "told"),
    [
        (URGENT, {"hours": 3, "minutes": 59}, {"minutes": 1}),
        (HIGH, {"hours": 23, "minutes": 59}, {"minutes": 1}),
        (MEDIUM, {"days": 6, "hours": 23, "minutes": 59}, {"minutes": 1}),
        (LOW, {"days": 6, "hours": 23, "minutes": 59}, {"minutes": 1}),
    ],
)
def test_what_stays_open_is_told_again_by_how_pressing_it_is_again_and_again(
    room, channel, clock, severity, quiet, told  # noqa: F811
):  # fmt: skip
    begin(severity, 2)
    for n in range(3):
        clock(**quiet)
        assert len(room.got) == 1 + n
        clock(**told)
        assert room.texts[1 + n :] == ["Still open: Credentials refused. 2 cases of it wait."]
    rounds = AlertDelivery.objects.filter(what="reminder").order_by("pk").values_list("round", flat=True)
    assert list(rounds) == [1, 2, 3]


def test_a_case_every_fifty_minutes_is_told_again_and_again(room, channel, clock):  # noqa: F811
    """Each case made the alert grow, so nothing of a whole day was told but the first."""
    begin(URGENT)
    for n in range(1, 12):
        clock(minutes=50)
        storm(1, first=n)
        press(URGENT)
        telling.tell()
    assert AlertGroup.objects.count() == 1
    assert room.texts == [
        "Credentials refused: 1 case opened.",
        "Still open: Credentials refused. 5 cases of it wait.",
        "Still open: Credentials refused. 10 cases of it wait.",
    ]


def test_what_is_told_anew_each_hour_hides_nobodys_open_case(clock):
    """A new alert every 61 minutes of another entity: the first entity's people are reminded of theirs, and told when
    it's over."""
    subscribe(make_person("billing_ops", entities=("DE01",), email="de@example.test"))
    rows = storm(1, legal_entity_code="DE01")
    press(URGENT)
    telling.tell()
    for n in range(1, 5):
        clock(minutes=61)
        rows += storm(1, first=n)
        press(URGENT)
        telling.tell()
    assert AlertGroup.objects.count() == 5
    subjects = [m.subject.partition(": ")[2] for m in mail.outbox]
    assert subjects == ["Credentials refused: 1 case opened.", "Still open: Credentials refused. 1 case of it waits."]
    calm(rows)
    telling.tell()
    assert len(mail.outbox) == 3
    assert "Over: Credentials refused. 1 case of it is closed." in mail.outbox[2].subject


def test_nothing_is_told_again_once_it_is_over_or_set_aside(room, channel, clock):  # noqa: F811
    rows = begin(URGENT, 2)
    ExceptionCase.objects.update(snoozed_at=timezone.now())
    clock(hours=5)
    assert len(room.got) == 1
    ExceptionCase.objects.filter(summary__contains="0").update(snoozed_at=None)
    clock(minutes=31)
    assert room.texts[1:] == ["Still open: Credentials refused. 1 case of it waits."]
    calm(rows)
    clock(minutes=3)
    clock(hours=5)
    assert room.texts[2:] == ["Over: Credentials refused. 2 cases of it are closed."]


@pytest.mark.parametrize(
    ("role", "entities", "fields", "told"),
    [
        ("billing_ops", (), {}, "2 cases of it wait"),
        ("billing_ops", ("DE01",), {}, "1 case of it waits"),
        ("auditor", (), {"entities": ["DE01"]}, "2 cases of it wait"),  # the mail says what they may see, as ever
        ("billing_ops", ("FR01",), {}, ""),  # doesn't see them
        ("platform", (), {}, ""),
        ("billing_ops", (), {"queues": ["controllership"]}, ""),  # doesn't want them
        ("billing_ops", (), {"severity": 1}, ""),  # only of one that is urgent: there's none
        ("billing_ops", (), {"is_active": False}, ""),
    ],
)
def test_a_reminder_reaches_whom_the_alert_reaches(clock, role, entities, fields, told):
    subscribe(make_person(role, entities=entities, email="a@example.test"), **fields)
    storm(1)
    storm(1, first=1, legal_entity_code="DE01")
    press(HIGH)
    telling.tell()
    clock(hours=24)
    expected = [f"Still open: Credentials refused. {told}."] if told else []
    assert [m.subject.partition(": ")[2] for m in mail.outbox][1:] == expected


def test_each_is_reminded_by_how_pressing_their_own_cases_are(clock):
    for code in ("GB01", "DE01"):
        subscribe(make_person("billing_ops", entities=(code,), email=f"{code.lower()}@example.test"))
    storm(1)
    storm(1, first=1, legal_entity_code="DE01")
    press(URGENT, legal_entity_code="DE01")
    press(HIGH, legal_entity_code="GB01")
    telling.tell()
    mail.outbox.clear()
    clock(hours=4)
    assert [m.to for m in mail.outbox] == [["de01@example.test"]]


def test_a_digest_has_what_is_still_open_each_day_once(clock):
    subscribe(make_person("billing_ops", email="a@example.test"), rhythm="digest", digest_at=dt.time(8))
    begin(LOW)
    for n in range(1, 4):
        for _ in range(24):
            clock(hours=1)
        assert len(mail.outbox) == n
    assert [m.subject.rpartition(": ")[2] for m in mail.outbox] == [
        "1 case opened.", *["Credentials refused. 1 case of it waits."] * 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("digest_at", "told"),
    [
        (dt.time(8), ["27 08:00", "30 08:00", "01 08:00"]),  # before anybody works: the day counts, not the hour
        (dt.time(20), ["26 20:00", "27 20:00", "30 20:00"]),
    ],
)
def test_a_digest_tells_what_is_still_open_on_working_days_and_not_at_the_weekend(clock, digest_at, told):
    """Saturday's digest told it and Monday's didn't: what was pushed to Monday's opening went into Tuesday's."""
    anna = make_person("billing_ops", email="a@example.test", preferences={"time_zone": "UTC"})
    subscribe(anna, rhythm="digest", digest_at=digest_at)
    begin(LOW, kind="outcome_unknown")
    for _ in range(24 * 8):
        clock(hours=1)
    sent = AlertDelivery.objects.filter(what="reminder", state="sent").order_by("pk").values_list("sent_at", flat=True)
    assert [f"{at:%d %H:%M}" for at in sent][-4:][:3] == told


def test_who_is_quiet_is_reminded_afterwards_and_once(clock):
    anna = make_person("billing_ops", email="a@example.test", preferences={"time_zone": "UTC"})
    subscribe(anna, quiet_from=dt.time(13), quiet_until=dt.time(17))
    begin(URGENT)
    for _ in range(3):
        clock(hours=2)
    assert len(mail.outbox) == 1  # it's 16:00
    clock(hours=1)
    assert len(mail.outbox) == 2
    assert AlertDelivery.objects.filter(what="reminder").count() == 1


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (ROUND_THE_CLOCK, ["24 14:00", "24 18:00", "24 22:00", "25 02:00", "25 06:00", "25 10:00"]),
        ("outcome_unknown", ["24 14:00", "25 09:00"]),  # at night nobody of GB01 works
    ],
)
def test_nobody_is_reminded_at_night_but_of_what_the_platform_answers_for(
    room, channel, clock, kind, told  # noqa: F811
):  # fmt: skip
    begin(URGENT, kind=kind)
    for _ in range(48):
        clock(minutes=30)
    sent = AlertDelivery.objects.filter(what="reminder", state="sent").order_by("pk").values_list("sent_at", flat=True)
    assert [f"{at:%d %H:%M}" for at in sent] == told
    assert len(room.got) == 1 + len(told)


def test_whoever_subscribes_later_is_reminded_of_what_is_open(clock):
    begin(URGENT)
    clock(hours=5)
    subscribe(make_person("billing_ops", email="a@example.test"))
    clock(minutes=31)
    assert [m.subject.partition(": ")[2] for m in mail.outbox] == [
        "Still open: Credentials refused. 1 case of it waits."
    ]


def test_who_was_sent_it_by_a_sender_that_died_is_told_that_it_is_over(room, channel, monkeypatch):  # noqa: F811
    rows = storm(1)
    grouping.take_opened()
    planning.plan()
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_note", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sending.send_due()
    assert len(room.got) == 1
    calm(rows)
    AlertDelivery.objects.update(taken_until=timezone.now() - HOUR)
    telling.tell()
    assert room.texts == ["Outcome unknown: 1 case opened.", "Over: Outcome unknown. 1 case of it is closed."]


def test_two_rounds_at_once_make_one_reminder(clock):
    subscribe(make_person("billing_ops", email="a@example.test"))
    begin(URGENT)
    later = timezone.now() + 4 * HOUR
    assert reminding.plan_reminders(later) == 1
    AlertGroup.objects.update(remind_at=None)
    assert reminding.plan_reminders(later) == 0
