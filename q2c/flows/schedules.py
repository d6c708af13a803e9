"""The schedules that a new portal begins with. Once added they belong to the admin, who edits or stops them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from q2c.core.clocks import HOSTS_APART_SECONDS


@dataclass(frozen=True)
class Schedule:
    """A task that beat nudges every so many seconds. What isn't picked up for two minutes longer is dropped."""

    name: str
    task: str
    every_seconds: int
    queue: str = "flows"


SCHEDULES = (
    Schedule("Take up due work", "q2c.flows.tasks.resume_due", 2),
    Schedule("Let old work go first", "q2c.flows.tasks.raise_old", 60),
    Schedule("Translate what was received", "q2c.inbox.carry_events", 2, queue="doors"),
    Schedule("Move back-fills on", "q2c.flows.tasks.run_backfills", 2, queue="reconciliation"),
    Schedule("Move bill runs on", "q2c.flows.tasks.run_bill_runs", 5, queue="reconciliation"),
    Schedule("Start summaries of days that are over", "q2c.flows.tasks.start_summaries", 60),
    Schedule("Check sheets that wait", "mappings.tasks.check_waiting_sheets", 60, queue="reconciliation"),
    Schedule("Count which suggestions were right", "mappings.tasks.count_suggestions", 600, queue="reconciliation"),
    Schedule("Add up what was counted", "q2c.core.tasks.roll_up_stats", 5, queue="reconciliation"),
    Schedule("Look how much is open", "q2c.flows.tasks.look_at_open", 15, queue="reconciliation"),
    Schedule("Watch service levels and expiries", "q2c.flows.tasks.warn_operators", 60, queue="reconciliation"),
    Schedule("Rank the cases", "exceptions.tasks.roll_up_cases", 15, queue="reconciliation"),
    Schedule("Begin bulk actions", "exceptions.tasks.run_bulk_actions", 2),
    Schedule("Follow corrections, tell what is held", "exceptions.tasks.tell_sources", 5, queue="reconciliation"),
    Schedule("Tell people of alerts", "exceptions.tasks.tell_people", 15, queue="reconciliation"),
    Schedule("Sweep the cases", "exceptions.tasks.sweep_cases", 60, queue="reconciliation"),
    Schedule("Anchor the audit chain", "q2c.core.tasks.anchor_audit", 60, queue="reconciliation"),
    Schedule("Anchor the workers' seals", "q2c.flows.tasks.anchor_seals", 60, queue="reconciliation"),
    Schedule("Roll up the uses of rules", "q2c.flows.tasks.roll_up_rule_uses", 3600, queue="reconciliation"),
    Schedule("Let go of expired answers", "q2c.flows.tasks.forget_answers", 3600, queue="reconciliation"),
    Schedule("Let fields follow their owners", "q2c.flows.tasks.follow_field_owners", 60, queue="reconciliation"),
    Schedule("Look for duplicates", "q2c.flows.tasks.find_duplicates", 3600, queue="reconciliation"),
    Schedule("Compare feeds with their registers", "q2c.reconciliation.tasks.check_feeds", 300, queue="reconciliation"),
    Schedule("Count what feeds bring", "q2c.reconciliation.tasks.roll_up_feeds", 300, queue="reconciliation"),
    Schedule("Check control totals", "q2c.reconciliation.tasks.check_totals", 24 * 3600, queue="reconciliation"),
    Schedule("Count lost webhooks", "q2c.reconciliation.tasks.count_lost_webhooks", 900, queue="reconciliation"),
    Schedule("Make partitions ahead", "q2c.core.tasks.make_partitions", 6 * 3600, queue="reconciliation"),
    Schedule("Let go of old alerts and bulk rows", "exceptions.tasks.let_go_of_old", 24 * 3600, queue="reconciliation"),
    Schedule("Let go of old figures", "q2c.core.tasks.let_go_of_old_stats", 24 * 3600, queue="reconciliation"),
    Schedule("Check archives", "q2c.core.tasks.check_archives", 24 * 3600, queue="reconciliation"),
    Schedule("Carry out erasures that waited", "q2c.core.tasks.carry_erasures", 3600, queue="reconciliation"),
    Schedule("Drop expired months", "q2c.core.tasks.drop_expired_partitions", 24 * 3600, queue="reconciliation"),
)  # fmt: skip

QUEUES = tuple(sorted({schedule.queue for schedule in SCHEDULES}))  # each has to have a worker that lives


def add_missing_schedules() -> list[str]:
    """Add the schedules that aren't there yet, by name; returns the names added. Those of an earlier release, which a
    worker whose clock is ahead of beat's would drop unread, last longer from now on."""
    short = PeriodicTask.objects.filter(expire_seconds__lt=HOSTS_APART_SECONDS)
    short.update(expire_seconds=F("expire_seconds") + HOSTS_APART_SECONDS)
    return [s.name for s in SCHEDULES if add_schedule(s.name, s.task, s.every_seconds, queue=s.queue)]


def add_schedule(name: str, task: str, every_seconds: int, *, queue: str, args: Sequence[str] = ()) -> bool:
    """Add one schedule unless one of that name is there. Returns whether it's new."""
    every, _ = IntervalSchedule.objects.get_or_create(every=every_seconds, period=IntervalSchedule.SECONDS)
    _, is_new = PeriodicTask.objects.get_or_create(
        name=name,
        defaults={
            "task": task,
            "interval": every,
            "queue": queue,
            "args": json.dumps(list(args)),
            "expire_seconds": every_seconds + HOSTS_APART_SECONDS,
        },
    )
    return is_new
