"""Which close a case stands in the way of, when that close is, and how much the nearness of it weighs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import QuerySet

from mappings.calendars import EntityCalendar, read_calendar, rules_of
from mappings.days import rules_today
from q2c.core.models import AccountingPeriod

Place = tuple[str, str]  # legal entity, period
FAR = Decimal(24 * 30)  # hours: what blocks no close weighs as if it were a month away
NEAR = Decimal(1)  # hours: the last hour of a close, and whatever is late, weigh the same
LATEST_CLOSE = dt.timedelta(days=62)  # after a period's end
_PLACES = Decimal("0.000001")
_ENTITY, _ZONE = "subsidiary__legal_entity__code", "subsidiary__legal_entity__time_zone"


@dataclass(frozen=True)
class Close:
    """The close of receivables of an entity's month."""

    entity: str
    period: str
    name: str  # as the ERP calls the period
    closes_at: dt.datetime
    is_open: bool  # the ERP still takes documents in it


Known = dict[Place, Close | None]  # None: no ERP's list has it


def closes_of(places: Iterable[Place], *, known: Known | None = None) -> dict[Place, Close]:
    """The closes of these entities' periods, by one statement; a period that no ERP's list has is left out. `known`
    keeps what was read, for whoever asks again within the same request."""
    known = {} if known is None else known
    wanted = {place for place in places if all(place)}
    missing = wanted - known.keys()
    if missing:
        rows = AccountingPeriod.objects.filter(
            **{f"{_ENTITY}__in": {entity for entity, _ in missing}}, code__in={code for _, code in missing}
        )
        found = _read(rows)
        known |= {place: found.get(place) for place in missing}
    return {place: close for place in wanted if (close := known[place]) is not None}


def next_close(periods: QuerySet[AccountingPeriod], *, now: dt.datetime) -> Close | None:
    """The nearest close that is still to come, of those of these periods that have begun and are open."""
    rows = periods.filter(
        is_receivables_open=True, start_date__lte=now.date() + dt.timedelta(days=1),  # somewhere it's tomorrow already
        end_date__gte=now.date() - LATEST_CLOSE,
    )  # fmt: skip
    coming = [close for close in _read(rows).values() if close.closes_at > now]
    return min(coming, key=lambda close: (close.closes_at, close.entity), default=None)


def _read(rows: QuerySet[AccountingPeriod]) -> dict[Place, Close]:
    rows = rows.annotate(rules=rules_of(_ENTITY, on=rules_today()))
    names = (_ENTITY, "code", "name", "end_date", "is_receivables_open", _ZONE, "rules")
    found: dict[Place, Close] = {}
    of: dict[str, EntityCalendar] = {}
    for entity, code, name, end, is_open, zone, rules in rows.values_list(*names):
        other = found.get((entity, code))  # an entity may keep books in two ERPs: it's open while one of them is
        is_open = is_open or (other is not None and other.is_open)
        if entity not in of:
            of[entity] = read_calendar(zone, rules)
        found[entity, code] = Close(entity, code, name, of[entity].closes_at(end), is_open)
    return found


def weight_of(close: Close | None, *, at: dt.datetime) -> Decimal:
    """What an amount is multiplied by when cases are ranked: one over the hours that are left, never less than one."""
    if close is None:
        return (1 / FAR).quantize(_PLACES)
    left = Decimal((close.closes_at - at).total_seconds()) / 3600
    return (1 / min(max(left, NEAR), FAR)).quantize(_PLACES)
