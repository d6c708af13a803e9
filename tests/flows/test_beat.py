"""Any number of beats, one that fires; and schedules that belong to the admin."""

import datetime as dt

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from q2c.celery import app
from q2c.flows import beat
from q2c.flows.schedules import SCHEDULES, add_missing_schedules

pytestmark = pytest.mark.django_db


@pytest.fixture
def beats(monkeypatch):
    """Two beats of different processes over one due task; what each has fired."""
    every, _ = IntervalSchedule.objects.get_or_create(every=60, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(
        name="ping", task="ping", interval=every, last_run_at=timezone.now() - dt.timedelta(hours=1)
    )
    PeriodicTasks.update_changed()
    monkeypatch.setattr(beat, "close_old_connections", lambda: None)
    monkeypatch.setattr("django_celery_beat.schedulers.close_old_connections", lambda: None)
    fired = []

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

        def apply_entry(self, entry, producer=None):
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
