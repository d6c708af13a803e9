"""The freeze around a period's end: for how long no rule comes into force without a second signature of controllership.

Posting policy `close_freeze` says it by entity: from which working day before the period's end (WD-1 is its last) to
which after it (WD+1 is the first), or until the ERP has closed the period. Drafts and proposals stay possible.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone

from mappings.calendars import calendars
from mappings.days import rules_today, rules_todays, today_in
from mappings.drafts import RETIRE, Line
from mappings.kinds import BY_CODE, FREEZE_PATTERN
from mappings.resolve import Snapshot
from q2c.core.models import AccountingPeriod, LegalEntity
from q2c.core.workdays import WorkCalendar

FIELD = "close_freeze"
_KIND = "posting_policy"
_FAR = dt.timedelta(days=70)  # no window begins earlier before, or ends later after, a period's end


@dataclass(frozen=True)
class Freeze:
    """One entity's freeze around one period's end, on the entity's own clock. `ends_at` is None: until it's closed."""

    legal_entity: str
    period: str
    begins_at: dt.datetime
    ends_at: dt.datetime | None

    @property
    def until(self) -> str:
        """Its end in words, in the entity's zone."""
        if self.ends_at is None:
            return f"until {self.period} is closed in the ERP"
        last = self.ends_at - dt.timedelta(seconds=1)
        return f"until the end of {last:%a} {last.day} {last:%b %Y} ({last:%Z})"

    def holds(self, at: dt.datetime) -> bool:
        """Whether it holds at an instant."""
        return self.begins_at <= at and (self.ends_at is None or at < self.ends_at)


def entities_of(lines: Iterable[Line]) -> set[str]:
    """The entities that rows are about; "" stands for every entity."""
    return {_entity_of(line) for line in lines}


def _entity_of(line: Line) -> str:
    return line.legal_entity if "legal_entity" in BY_CODE[line.kind].scope else ""


def frozen_now(entities: Iterable[str]) -> list[Freeze]:
    """The freezes that hold now for these entities ("" for all of them), by entity. Four statements at most."""
    now = timezone.now()
    return [freeze for freeze in _freezes(set(entities)) if freeze.holds(now)]


def scheduled_into(lines: Sequence[Line]) -> list[str]:
    """In words, each row that would come into force, or end, inside a freeze that hasn't begun yet."""
    near = rules_today()
    ahead = [line for line in lines if line.effective_from >= near]  # somewhere it's yesterday still
    days = rules_todays(entities_of(ahead))
    said: dict[str, None] = {}
    for freeze in _freezes(entities_of(ahead)) if ahead else ():
        for line in ahead:
            entity = _entity_of(line)
            if line.effective_from <= days[entity]:
                continue
            at = dt.datetime.combine(line.effective_from, dt.time(), freeze.begins_at.tzinfo)
            if entity in ("", freeze.legal_entity) and freeze.holds(at):
                verb = "ends" if line.act == RETIRE else "begins"
                key = (
                    f"{line.key} {verb} on {line.effective_from}, while {freeze.legal_entity} is frozen {freeze.until}"
                )
                said[key] = None
    return list(said)[:20]


def words_of(freezes: Sequence[Freeze]) -> str:
    """Which entities are frozen and until when."""
    return "; ".join(f"{f.legal_entity} is frozen around the end of {f.period}, {f.until}" for f in freezes)


def _freezes(entities: set[str]) -> list[Freeze]:
    """Every freeze of these entities around the periods that end near today."""
    rows = LegalEntity.objects.filter(is_active=True).order_by("code")
    zones = dict((rows if "" in entities else rows.filter(code__in=entities)).values_list("code", "time_zone"))
    rules = Snapshot.load([(_KIND, FIELD, {})])
    said: dict[str, tuple[int, int | None]] = {}
    for code, zone in zones.items():
        rule = rules.find(_KIND, FIELD, on=today_in(zone), legal_entity=code)
        if rule is not None and (match := re.fullmatch(FREEZE_PATTERN, rule.value)):
            said[code] = (int(match[1]), int(match[3]) if match[3] else None)
    if not said:
        return []
    today = rules_today()
    works = {code: found.work for code, found in calendars(said, on=today).items()}
    return [_freeze(code, name, end, *said[code], work=works[code]) for code, name, end in _periods(said, today)]


def _freeze(code: str, name: str, end: dt.date, before: int, after: int | None, *, work: WorkCalendar) -> Freeze:
    begins = dt.datetime.combine(work.working_day(end, -before), dt.time(), work.zone)
    ends = None
    if after is not None:
        ends = dt.datetime.combine(work.working_day(end, after) + dt.timedelta(days=1), dt.time(), work.zone)
    return Freeze(code, name, begins, ends)


def _periods(codes: Iterable[str], today: dt.date) -> list[tuple[str, str, dt.date]]:
    """The periods of these entities that end near a day and that the ERP hasn't closed: entity, name, last day."""
    is_open = Q(is_receivables_open=True) | Q(is_ledger_open=True)
    rows = AccountingPeriod.objects.filter(
        is_open, subsidiary__legal_entity__code__in=list(codes), end_date__range=(today - _FAR, today + 6 * _FAR)
    ).order_by("subsidiary__legal_entity__code", "end_date")
    return list(rows.values_list("subsidiary__legal_entity__code", "name", "end_date"))
