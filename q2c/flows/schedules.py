"""The schedules that a new portal begins with. Once added they belong to the admin, who edits or stops them."""

from __future__ import annotations

from dataclasses import dataclass

from django_celery_beat.models import IntervalSchedule, PeriodicTask


@dataclass(frozen=True)
class Schedule:
    """A task that beat nudges every so many seconds. What isn't picked up before the next nudge is dropped."""

    name: str
    task: str
    every_seconds: int
    queue: str = "flows"


SCHEDULES = (
    Schedule("Make partitions ahead", "q2c.core.tasks.make_partitions", 6 * 3600, queue="reconciliation"),
)  # fmt: skip


def add_missing_schedules() -> list[str]:
    """Add the schedules that aren't there yet, by name; returns the names added."""
    added = []
    for schedule in SCHEDULES:
        every, _ = IntervalSchedule.objects.get_or_create(every=schedule.every_seconds, period=IntervalSchedule.SECONDS)
        _, is_new = PeriodicTask.objects.get_or_create(
            name=schedule.name,
            defaults={
                "task": schedule.task,
                "interval": every,
                "queue": schedule.queue,
                "expire_seconds": schedule.every_seconds,
            },
        )
        if is_new:
            added.append(schedule.name)
    return added
