"""What can be done with rows that are ticked, in the queue and among a case's documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from exceptions.bulk_results import ways_of
from exceptions.freezing import ASSIGN, WAYS, Way
from exceptions.kinds import Kind
from exceptions.models import ExceptionCase
from q2c.core.htmx import Counted

_PLACE = ("after", "before", "at", "sort")


@dataclass(frozen=True)
class Picks:
    """What the bar offers: ways, the words of "all of them", and what the form must say to mean the same."""

    ways: list[Way]
    all_words: str
    filter: str = ""
    of_case: int = 0


def picks_of_queue(request: HttpRequest, total: Counted) -> Picks | None:
    """For the filtered queue; None for who may do nothing in bulk."""
    ways = ways_of(request.user)
    query = request.GET.copy()
    for name in _PLACE:
        query.pop(name, None)
    return Picks(ways, f"All {total.words} matching", filter=query.urlencode()) if ways else None


def picks_of_case(request: HttpRequest, case: ExceptionCase, kind: Kind) -> Picks | None:
    """For the documents of an open case, by what its kind allows; None for who may do none of it."""
    if not case.is_open:
        return None
    solved_by: Any = [code for code, way in WAYS.items() if code != ASSIGN and set(way.solves) & set(kind.may)]
    ways = ways_of(request.user, solved_by)
    return Picks(ways, f"All documents of {case.number}", of_case=case.pk) if ways else None
