"""The day on which rules are asked what holds today: the legal entity's own, never that of whoever asks.

A person's time zone says how times are shown to them. Who has to agree, and which limit holds, can't hang on it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from django.utils import timezone

from q2c.core.models import LegalEntity

_EVERYWHERE = "UTC"


def rules_today(legal_entity: str = "") -> dt.date:
    """Today where the entity is, in one statement; of what is about every entity, or many at once, UTC's day."""
    return rules_todays([legal_entity])[legal_entity]


def rules_todays(entities: Iterable[str]) -> dict[str, dt.date]:
    """As `rules_today`, of each of these entities, in one statement. An entity that we don't know lives in UTC."""
    codes = set(entities)
    named = codes - {""}
    rows = LegalEntity.objects.filter(code__in=named).values_list("code", "time_zone") if named else ()
    zones = dict(rows)
    return {code: today_in(zones.get(code, _EVERYWHERE)) for code in codes}


def today_in(zone: str) -> dt.date:
    """Today in a time zone."""
    return timezone.now().astimezone(ZoneInfo(zone)).date()
