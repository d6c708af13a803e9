"""The clock in the frame of every page: the nearest close of the person's entities."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from exceptions.closes import Close, next_close
from q2c.core import access
from q2c.core.models import AccountingPeriod


def clock(request: Any) -> dict[str, Any]:
    """Context of templates/base.html: `closing`, asked for only where the frame is drawn."""
    return {"closing": SimpleLazyObject(lambda: _next(request.user))}


def _next(user: Any) -> Close | None:
    periods = access.visible_to(user, AccountingPeriod.objects.all(), "subsidiary__legal_entity__code")
    return next_close(periods, now=timezone.now())
