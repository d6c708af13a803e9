"""Whether more documents are held than usual, of each flow and entity: many small causes are no case of their own.

Usual is the median of the same hour (and the same 24 hours) of the weeks before, as for feeds that bring too little.
Everything is read from the added-up hours, for as many weeks as those are kept; hours are UTC's.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Min, Sum
from django.utils import timezone

from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core import stats
from q2c.core.models import StatDay, StatHour
from q2c.core.problems import Category, Problem
from q2c.core.usual import usual_of
from q2c.flows.catalog import BY_CODE, TELLING
from q2c.transactions.counting import BEGUN, COMPLETED, HELD

MANY = "more_held_than_usual"
WEEKS = stats.HOURS_KEPT // dt.timedelta(weeks=1)
SPANS = {1: "in the last full hour", 24: "in 24 hours"}  # a storm, and a drip
LEAST = 10  # below which nobody is woken
TIMES = 2  # so many times the usual, or it's a busy day
LATE = dt.timedelta(minutes=2)  # after an hour's end, until its counts are added up
WAIVED_FOR = dt.timedelta(days=1)

Place = tuple[str, str]  # flow, entity


@dataclass(frozen=True)
class Judged:
    """How often documents were held in a span, and how often usually; None while nothing is usual."""

    count: int
    usual: float | None

    @property
    def is_many(self) -> bool:
        """More than chance explains (three standard deviations of a count), and at least twice the usual."""
        if self.usual is None or self.count < LEAST:
            return False
        return self.count >= TIMES * self.usual and self.count >= self.usual + 3 * math.sqrt(self.usual)


def judge(now: dt.datetime) -> dict[Place, dict[int, Judged]]:
    """Each flow's and entity's spans up to the last full hour, where anything was held in the longest. Two statements,
    whatever was carried."""
    until = (now - LATE).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    ends = [until - dt.timedelta(weeks=back) for back in range(WEEKS + 1)]
    longest = max(SPANS)
    hours = [end - dt.timedelta(hours=back) for end in ends for back in range(1, longest + 1)]
    rows = StatHour.objects.filter(measure=HELD, hour__in=hours).exclude(flow__in=TELLING).order_by()
    counts: dict[Place, dict[dt.datetime, int]] = defaultdict(dict)
    for flow, entity, hour, count in rows.values_list("flow", "legal_entity_code", "hour").annotate(Sum("count")):
        counts[flow, entity][hour] = count
    begun = _begun(hours[-1].date())
    found = {}
    for place, by_hour in counts.items():
        began = begun.get(place)
        known = [end for end in ends[1:] if began is not None and (end - dt.timedelta(hours=longest)).date() > began]
        of_place = {}
        for span in SPANS:
            held = {end: sum(by_hour.get(end - dt.timedelta(hours=n), 0) for n in range(1, span + 1)) for end in ends}
            of_place[span] = Judged(held[until], usual_of(held[end] for end in known))
        if of_place[longest].count:
            found[place] = of_place
    return found


def tell_of_many(now: dt.datetime | None = None) -> tuple[int, int]:
    """Open a case for each flow and entity of which more is held than usual; close those of which as few are as usual
    again. Both counts."""
    now = now or timezone.now()
    judged = judge(now)
    open_cases = ExceptionCase.objects.filter(kind=MANY, state__in=ExceptionCase.OPEN_STATES)
    known = {(case.flow, case.subject.get("legal_entity", "")): case for case in open_cases}
    opened = closed = 0
    for place, spans in sorted(judged.items()):
        span = next((span for span, found in spans.items() if found.is_many), None)
        if span is None or place in known:
            continue
        problem = _many(place, spans[span], SPANS[span])
        if not cases.is_waived_since(problem, now - WAIVED_FOR, flow=place[0], legal_entity_code=place[1]):
            cases.open_case(problem, flow=place[0], legal_entity_code=place[1])
            opened += 1
    for place in known:
        if not any(found.is_many for found in judged.get(place, {}).values()):
            problem = _many(place, Judged(0, 0), "")
            why = "As few are held as usual, in the last hour and in 24."
            found = cases.close_matching(problem, how="calm", why=why, flow=place[0], legal_entity_code=place[1])
            closed += found is not None
    return opened, closed


def _many(place: Place, judged: Judged, when: str) -> Problem:
    flow, entity = place
    title = BY_CODE[flow].title if flow in BY_CODE else flow
    of_entity = f" of {entity}" if entity else ""
    says = f"{title} held documents{of_entity} {judged.count:,} times {when}; usual is {judged.usual or 0:,.0f}"
    return Problem(MANY, Category.DRIFT, says, flow=flow, legal_entity=entity)


def _begun(first: dt.date) -> dict[Place, dt.date]:
    """The first day on which anything of a flow and entity was counted, from a week before a day on: who carried
    nothing in that week counts as new."""
    rows = StatDay.objects.filter(measure__in=(BEGUN, COMPLETED), day__gte=first - dt.timedelta(days=7)).order_by()
    return {
        (flow, entity): day for flow, entity, day in rows.values_list("flow", "legal_entity_code").annotate(Min("day"))
    }
