"""Any number of beats, one that fires; and schedules that belong to the admin."""

import datetime as dt

import pytest
import structlog
import time_machine
from celery.beat import SchedulingError
from django.db import OperationalError
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from q2c.celery import app
from q2c.flows import beat
from q2c.flows.schedules import SCHEDULES, add_missing_schedules

pytestmark = pytest.mark.django_db


@pytest.fixture
def beats_broker():
    """Why the broker can't be reached; empty while it can."""
    return []


@pytest.fixture
def beats(monkeypatch, beats_broker):
    """Two beats of different processes over one due task; what each has fired."""
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(
        name="ping", task="ping", interval=every, last_run_at=timezone.now() - dt.timedelta(hours=1)
    )
    PeriodicTasks.update_changed()
    monkeypatch.setattr(beat, "close_old_connections", lambda: None)
    monkeypatch.setattr("django_celery_beat.schedulers.close_old_connections", lambda: None)
    fired = []
    broker_says = beats_broker

    class Named(beat.OneBeatScheduler):
        def __init__(self, name):
            self.name = name
            super().__init__(app=app, lazy=True)

        def tick(self):
            monkeypatch.setattr(beat, "this_process", lambda: self.name)
            return super().tick()

        def close(self):
            monkeypatch.setattr(beat, "this_process", lambda: self.name)
            super().close()

        def apply_async(self, entry, **_):
            if broker_says:
                raise SchedulingError(broker_says[0])
            fired.append((self.name, entry.task))

        producer = None

    both = Named("first"), Named("second")
    yield *both, fired
    for one in both:
        one._finalize.cancel()  # it would write to the test's database when the process ends


@pytest.mark.scenario(58)
def test_one_of_two_beats_fires_until_it_gives_up(beats):
    first, second, fired = beats
    first.tick()
    assert second.tick() == beat.TICK_SECONDS_MAX
    assert fired == [("first", "ping")]

    first.close()  # it notes when it last fired
    PeriodicTask.objects.update(last_run_at=timezone.now() - dt.timedelta(hours=1))
    second.tick()
    assert first.tick() == beat.TICK_SECONDS_MAX
    assert fired == [("first", "ping"), ("second", "ping")]


def test_a_beat_without_a_database_stands_by(beats, monkeypatch):
    first, _, fired = beats

    def away(*_args, **_kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(beat, "take_lease", away)
    assert first.tick() == beat.TICK_SECONDS_MAX
    assert fired == []


def test_a_beat_goes_on_where_one_left_off_whose_clock_is_a_minute_ahead(beats):
    first, second, fired = beats
    now = timezone.now()
    with time_machine.travel(now + dt.timedelta(seconds=60), tick=False):
        first.tick()
        first.close()
    assert PeriodicTask.objects.get(name="ping").last_run_at > now + dt.timedelta(seconds=59)
    fired.clear()

    with time_machine.travel(now, tick=False) as clock:
        ticks_of(second, clock, seconds=58)
        assert fired == []
        ticks_of(second, clock, seconds=4)
    assert fired == [("second", "ping")]


def test_a_beat_whose_clock_is_set_back_by_an_hour_fires_on(beats):
    first, _, fired = beats
    now = timezone.now()
    with time_machine.travel(now, tick=False) as clock:
        first.tick()
        fired.clear()
        clock.move_to(now - dt.timedelta(hours=1))
        ticks_of(first, clock, seconds=130)
    assert fired == [("first", "ping")] * 2


def ticks_of(one, clock, *, seconds):
    """As its process does: a tick every two seconds, at once again where something was fired."""
    for _ in range(seconds // 2):
        while one.tick() == 0:
            pass
        clock.shift(2)


def test_a_broker_that_is_away_is_told_in_a_line_a_minute_with_the_reason(beats, beats_broker, monkeypatch):
    first, _, fired = beats
    beats_broker.append("Error 111 connecting to valkey:6379. Connection refused.")
    uptime = [1000.0]
    monkeypatch.setattr(beat, "since_boot", lambda: uptime[0])
    monkeypatch.setattr(beat, "_wall_since_boot", lambda: 0.0)
    entry = first.schedule["ping"]
    with structlog.testing.capture_logs() as lines:
        for _ in range(150):  # of five minutes
            first.apply_entry(entry)
            uptime[0] += 2
        assert [(line["event"], line["unsent"]) for line in lines] == [
            ("nudges can't be sent", count) for count in (1, 31, 61, 91, 121)
        ]
        assert {line["reason"] for line in lines} == {beats_broker.pop()}
        assert not any("exc_info" in line for line in lines)
        first.apply_entry(entry)
        first.apply_entry(entry)
    assert [line["event"] for line in lines[5:]] == ["nudges are sent again"]
    assert fired == [("first", "ping")] * 2


def test_default_schedules_are_added_once_and_left_to_the_admin():
    assert set(add_missing_schedules()) == {schedule.name for schedule in SCHEDULES}
    changed = PeriodicTask.objects.get(name=SCHEDULES[0].name)
    changed.enabled = False
    changed.save()
    assert add_missing_schedules() == []
    assert PeriodicTask.objects.get(name=SCHEDULES[0].name).enabled is False


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    assert [schedule.task for schedule in SCHEDULES if schedule.task not in app.tasks] == []
