"""Schedules: what beat runs and when, editable by the platform's people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from q2c.core import access, audit
from q2c.core.access import requires
from q2c.core.filters import dress


@require_GET
@requires("portal.view_home")
def schedule_list(request: HttpRequest) -> HttpResponse:
    """Every schedule with its last run."""
    tasks = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").order_by("name")
    tasks = [task for task in tasks if task.name != "celery.backend_cleanup"]
    for task in tasks:
        task.runs = runs_words(task)
    context = {
        "tasks": tasks,
        "off_count": sum(not task.enabled for task in tasks),
        "may_change": access.may(request.user, "schedules.change_schedule"),
    }
    return render(request, "portal/schedule_list.html", context)


def runs_words(task: PeriodicTask) -> str:
    """When a schedule runs, as people say it: "every 10 minutes", "at 30 4 * * * (UTC)"."""
    if task.crontab:
        return f"at {' '.join(_fields(task.crontab))} (UTC)"
    if task.interval is None:
        return str(task.scheduler)
    seconds = int(task.interval.schedule.run_every.total_seconds())
    for unit, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            count = seconds // unit
            return f"every {noun}" if count == 1 else f"every {count:,} {noun}s"
    return f"every {seconds} seconds"


def _fields(crontab: CrontabSchedule) -> list[str]:
    return [crontab.minute, crontab.hour, crontab.day_of_month, crontab.month_of_year, crontab.day_of_week]


class ScheduleForm(forms.Form):
    """On or off, and either every so many seconds or a crontab in UTC."""

    enabled = forms.BooleanField(label="On", required=False)
    every = forms.IntegerField(
        label="Every so many seconds",
        min_value=1,
        max_value=31 * 86_400,
        required=False,
        help_text="60 is a minute, 3600 an hour",
    )
    crontab = forms.CharField(
        label="Or at",
        required=False,
        max_length=120,
        help_text="Minute, hour, day of the month, month, weekday: 30 4 * * *",
    )
    why = forms.CharField(label="Reason", min_length=3, max_length=500)

    def clean_crontab(self) -> list[str]:
        """The five fields. Raises ValidationError saying which part can't be read."""
        parts = self.cleaned_data["crontab"].split()
        if parts and len(parts) != 5:
            raise ValidationError(f"A crontab has five parts; this has {len(parts)}.")
        return parts

    def clean(self) -> dict[str, Any]:
        """One of the two ways, not both and not none."""
        data = super().clean() or self.cleaned_data
        if "crontab" in data and "every" in data and bool(data["every"]) == bool(data["crontab"]):
            raise ValidationError("Fill in either the seconds or the crontab.")
        return data


def _now(task: PeriodicTask) -> dict[str, Any]:
    """The form's values as the schedule stands."""
    return {
        "enabled": task.enabled,
        "every": int(task.interval.schedule.run_every.total_seconds()) if task.interval else None,
        "crontab": " ".join(_fields(task.crontab)) if task.crontab else "",
    }


@require_http_methods(["GET", "POST"])
@requires("schedules.change_schedule")
def schedule_edit(request: HttpRequest, task_id: int) -> HttpResponse:
    """Change when a schedule runs, with a reason."""
    task = PeriodicTask.objects.select_related("interval", "crontab").filter(pk=task_id).first()
    if task is None:
        raise Http404
    form = ScheduleForm(request.POST or None, initial=_now(task))
    dress(form)
    if request.method == "POST" and form.is_valid():
        try:
            save_schedule(task, by=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error("crontab", " ".join(error.messages))
        else:
            messages.success(
                request, f"“{task.name}” is {'on' if task.enabled else 'off'}: {runs_words(task)}.", extra_tags="done"
            )
            return redirect("portal:schedule_list")
    status = 422 if request.method == "POST" else 200
    return render(
        request, "portal/schedule_edit.html", {"task": task, "runs": runs_words(task), "form": form}, status=status
    )


@atomic
def save_schedule(
    task: PeriodicTask, *, by: Any, enabled: bool, every: int | None, crontab: list[str], why: str
) -> None:
    """Store the new times; beat reads them within seconds. Raises ValidationError for a crontab that can't be read."""
    task.enabled = enabled
    if every:
        task.crontab = None
        task.interval = IntervalSchedule.objects.get_or_create(every=every, period=IntervalSchedule.SECONDS)[0]
    else:
        fields = dict(zip(("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), crontab, strict=True))
        wanted = CrontabSchedule(**fields)
        wanted.full_clean()
        task.interval = None
        task.crontab = CrontabSchedule.objects.filter(**fields, timezone="UTC").first() or wanted
        task.crontab.save()
    task.save()
    audit.record(by, "change", "schedule", task.pk, why=why, data={"enabled": enabled, "runs": str(task.scheduler)})
