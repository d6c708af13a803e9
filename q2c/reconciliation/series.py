"""Numbers of a source's series without a hole: of the account, or of each customer, as the source counts. Voided ones
keep their number and fill it; what neither the source nor we have is a hole, which auditors ask for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.transaction import atomic

from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.models import NumberRun

_NUMBER = re.compile(r"(?P<series>.*?)(?P<digits>\d{1,18})")
SERIES_LENGTH = 70
_HOLES = """
SELECT series, before + 1, first - 1, digits FROM (
    SELECT series, first, digits, lag(last) OVER (PARTITION BY series ORDER BY first) AS before
      FROM reconciliation_numberrun WHERE connection_code = %s AND document_type = %s) runs
 WHERE before IS NOT NULL ORDER BY series, first
"""


@dataclass(frozen=True)
class Hole:
    """Numbers of a series that no document has, between two that one has."""

    series: str
    first: int
    last: int
    digits: int

    def number(self, at: int) -> str:
        """A number as the source writes it."""
        return f"{self.series}{at:0{self.digits}}"

    def is_in(self, other: Hole) -> bool:
        """Whether another hole covers it."""
        return self.series == other.series and other.first <= self.first and self.last <= other.last

    @property
    def words(self) -> str:
        """The number, or from the first to the last one."""
        first = self.number(self.first)
        return first if self.first == self.last else f"{first} to {self.number(self.last)}"


def split(number: str) -> tuple[str, int, int] | None:
    """Series, number and digits: `INV-0017` is 17 of `INV-`. None for what doesn't end in digits."""
    found = _NUMBER.fullmatch(number)
    if found is None or len(found["series"]) > SERIES_LENGTH:
        return None
    return found["series"], int(found["digits"]), len(found["digits"])


def add_numbers(connection: str, document_type: str, numbers: Iterable[str]) -> None:
    """Put down that these numbers are there. Only runs that change are written."""
    wanted: dict[str, set[int]] = defaultdict(set)
    digits: dict[str, int] = {}
    for number in numbers:
        if (parts := split(number)) is not None:
            series, value, width = parts
            wanted[series].add(value)
            digits[series] = min(width, digits.get(series, width))
    if not wanted:
        return
    with atomic():
        rows = NumberRun.objects.filter(
            connection_code=connection, document_type=document_type, series__in=sorted(wanted)
        ).select_for_update()
        known: dict[str, list[NumberRun]] = defaultdict(list)
        for row in rows.order_by("series", "first"):
            known[row.series].append(row)
        gone, made = [], []
        for series, values in wanted.items():
            before = [(run.first, run.last) for run in known[series]]
            after = merge(before, values)
            width = min([digits[series], *(run.digits for run in known[series])])
            gone += [run.pk for run in known[series] if (run.first, run.last) not in after]
            made += [
                NumberRun(connection_code=connection, document_type=document_type, series=series, first=first,
                          last=last, digits=width)
                for first, last in after if (first, last) not in before
            ]  # fmt: skip
        NumberRun.objects.filter(pk__in=gone).delete()
        NumberRun.objects.bulk_create(made, batch_size=2000)


def merge(runs: Iterable[tuple[int, int]], values: Iterable[int]) -> list[tuple[int, int]]:
    """Runs and further numbers as runs again, in order, none touching the next."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted([*runs, *((value, value) for value in values)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def holes_of(connection: str, document_type: str) -> list[Hole]:
    """All holes of a feed's series, in order."""
    return [Hole(*values) for values in fetch_rows(_HOLES, [connection, document_type])]
