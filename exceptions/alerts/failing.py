"""A program that takes nothing for days, or says that it's gone, is switched off."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone

from exceptions.alerts import channels
from exceptions.models import AlertAttempt, AlertChannel

OFF_AFTER = dt.timedelta(days=5)  # so long after the first refusal in a row a program is left alone
Off = AlertChannel.Off


def give_up(channel: AlertChannel, *, is_gone: bool) -> None:
    """A message to a program was given up: it's switched off if it's gone, or has taken nothing for days."""
    if is_gone or refuses_since(channel) <= timezone.now() - OFF_AFTER:
        channels.switch_off(channel, Off.GONE if is_gone else Off.FAILING)


def refuses_since(channel: AlertChannel) -> dt.datetime:
    """When the first attempt in a row was that it didn't take; now, if it took the last one."""
    tried = AlertAttempt.objects.filter(channel=channel).order_by("at")
    taken = tried.filter(error="").last()
    first = tried.filter(at__gt=taken.at).first() if taken is not None else tried.first()
    return first.at if first is not None else timezone.now()
