"""A channel that takes nothing is told as everything else is: as a case, which closes by itself."""

from __future__ import annotations

import datetime as dt

from exceptions import cases
from exceptions.alerts.failing import refuses_since
from exceptions.models import AlertAttempt, AlertChannel, AlertDelivery, ExceptionCase
from q2c.core.problems import Category, Problem

FAILING = "channel_failing"


def watch_channels() -> tuple[int, int]:
    """Open a case for each channel that takes nothing, but where somebody has waived it since that began; close those
    of channels that take messages again, or needn't. Both counts."""
    failing = [(channel, said) for channel in AlertChannel.objects.order_by("pk") if (said := _failing(channel))]
    due = {channel.name: said for channel, said in failing}
    open_cases = ExceptionCase.objects.filter(kind=FAILING, state__in=ExceptionCase.OPEN_STATES)
    known = {str(case.subject.get("channel")) for case in open_cases}
    opened = closed = 0
    for name in known - due.keys():
        why = "It takes messages again, or isn’t told any more."
        closed += cases.close_matching(_problem(name, "over"), how="mended", why=why) is not None
    for channel, said in failing:
        problem = _problem(channel.name, said)
        if channel.name not in known and not cases.is_waived_since(problem, _since(channel)):
            cases.open_case(problem)
            opened += 1
    return opened, closed


def _since(channel: AlertChannel) -> dt.datetime:
    """When its trouble began: it was switched off, or it refused the first message in a row."""
    off = channel.history.order_by("-history_date").values_list("history_date", flat=True).first()
    return off if channel.off_because and off is not None else refuses_since(channel)


def _failing(channel: AlertChannel) -> str:
    """What is wrong, in words; "" where nothing is: what was given up since the last message that was taken counts."""
    if channel.off_because:
        return f"{AlertChannel.Off(channel.off_because).label}, and was switched off"
    if not channel.is_active:
        return ""
    given_up = AlertDelivery.objects.filter(channel=channel, state=AlertDelivery.State.FAILED).order_by("-pk").first()
    if given_up is None:
        return ""
    tried = AlertAttempt.objects.filter(channel=channel)
    taken = tried.filter(error="").order_by("-at").first()
    since = tried.filter(at__gt=taken.at) if taken is not None else tried
    if not since.filter(delivery=given_up).exists():  # it took another one since, or that was before we kept a log
        return ""
    return f"{given_up.attempts} attempts; the last one: {given_up.error}"


def _problem(name: str, said: str) -> Problem:
    return Problem(FAILING, Category.AVAILABILITY, f"{name} takes no alerts: {said}", channel=name)
