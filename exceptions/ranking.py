"""The queue's order: amount at risk in reporting currency times the nearness of the close that it blocks.

The order moves with the clock, so it stands in no column. Within one entity and period the weight is the same for all,
so each such group is read from its index, largest amount first, and the groups are merged: a page costs a few rows of
each group, whichever page it is. A page's place names the instant of its weights: paging doesn't reshuffle.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection as database
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.closes import Known, Place, closes_of, weight_of
from exceptions.models import ExceptionCase

FEW = 1000  # sorted in any case
_CENT = Decimal("0.01")
_LAST_ID = 2**62
_GROUPS = """
    WITH RECURSIVE g AS (
        (SELECT blocks_entity, blocks_period FROM exceptions_exceptioncase WHERE closed_at IS NULL
          ORDER BY blocks_entity, blocks_period LIMIT 1)
        UNION ALL
        SELECT n.blocks_entity, n.blocks_period FROM g CROSS JOIN LATERAL (
            SELECT c.blocks_entity, c.blocks_period FROM exceptions_exceptioncase c
             WHERE c.closed_at IS NULL AND (c.blocks_entity, c.blocks_period) > (g.blocks_entity, g.blocks_period)
             ORDER BY c.blocks_entity, c.blocks_period LIMIT 1) n)
    SELECT blocks_entity, blocks_period, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'case_ranked'::regclass)
      FROM g
"""
_MERGE = """
    SELECT c.id, c.amount_at_risk * g.weight, g.entity, g.period
      FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::bigint[])
           AS g(entity, period, weight, edge, edge_id)
     CROSS JOIN LATERAL ({group}) AS c(id, amount_at_risk)
     ORDER BY 2 {way}, 1 {way}
"""


# Found by their own conditions first: joined at once, the planner may go through whole groups to find a few.
_SORT = """
    WITH c(id, amount_at_risk, entity, period) AS MATERIALIZED ({rows})
    SELECT c.id, c.amount_at_risk * g.weight
      FROM c
      JOIN unnest(%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::bigint[])
           AS g(entity, period, weight, edge, edge_id) ON (g.entity, g.period) = (c.entity, c.period)
     {beyond}
     ORDER BY 2 {way}, 1 {way} LIMIT %s
"""


@dataclass(frozen=True)
class Rank:
    """A place in the order: as of an instant, so much by so much weight, and the case's id."""

    as_of: dt.datetime
    score: Decimal
    id: int

    def write(self) -> str:
        """As it stands in an address."""
        return f"{self.as_of.timestamp():.0f}_{self.score}_{self.id}"

    @classmethod
    def read(cls, text: str) -> Rank | None:
        """What `write` wrote; None for anything else."""
        try:
            at, score, number = text.split("_")
            as_of = dt.datetime.fromtimestamp(int(at), dt.UTC)
            rank = cls(as_of, Decimal(score), int(number))
        except (ValueError, OverflowError, OSError, InvalidOperation):
            return None
        return rank if rank.score.is_finite() and 0 <= rank.score < 10**20 and 0 < rank.id < _LAST_ID else None


def places_of_open() -> tuple[list[Place], int]:
    """Every entity and period that an open case blocks, from the index alone, and about how many cases are open."""
    with database.cursor() as cursor:
        cursor.execute(_GROUPS)
        rows = cursor.fetchall()
    return [(entity, period) for entity, period, _ in rows], rows[0][2] if rows else 0


def rank(
    rows: QuerySet[ExceptionCase],
    *,
    size: int,
    place: Rank | None = None,
    backwards: bool = False,
    total: int | None = None,
    known: Known | None = None,
) -> list[tuple[ExceptionCase, Rank]]:
    """Up to `size` open cases of `rows` after (or before) a place, the most pressing first.

    `total`: how many `rows` has at most, where that is known: a narrow choice is sorted rather than looked for along
    the order. `known` as of `closes_of`.
    """
    as_of = place.as_of if place else timezone.now().replace(microsecond=0)
    places, open_count = places_of_open()
    if not places:
        return []
    closes = closes_of(places, known=known)
    is_few = total is not None and _is_few(total, of=open_count, size=size, group_count=len(places))
    weights = [weight_of(closes.get(group), at=as_of) for group in places]
    edges = [_edge(weight, place, backwards=backwards) for weight in weights]
    groups: list[Any] = [*map(list, zip(*places, strict=True)), weights, *map(list, zip(*edges, strict=True))]
    way, sign = ("ASC", ">") if backwards else ("DESC", "<")
    wanted = rows.filter(closed_at__isnull=True).select_related(None)
    facts = wanted.order_by().values_list("pk", "amount_at_risk", "blocks_entity", "blocks_period")
    try:
        with database.cursor() as cursor:
            if is_few:
                sql, params = facts.query.sql_with_params()
                beyond = f"WHERE (c.amount_at_risk, c.id) {sign} (g.edge, g.edge_id)" if place else ""
                cursor.execute(_SORT.format(rows=sql, way=way, beyond=beyond), [*params, *groups, size])
                scored = cursor.fetchall()
            else:
                of_group = _of_group(wanted, place is not None, sign)
                with _along_the_order(cursor):
                    scored = _merge(cursor, of_group, groups, size=size, backwards=backwards)
    except EmptyResultSet:  # somebody who sees no queue at all
        return []
    cases = rows.in_bulk([pk for pk, _ in scored])
    listed = [(cases[pk], Rank(as_of, score, pk)) for pk, score in scored if pk in cases]
    return listed[::-1] if backwards else listed


def _is_few(total: int, *, of: int, size: int, group_count: int) -> bool:
    """Whether to sort so many costs less than to look for a page of them along the order, which looks at as many rows
    of each group as hold an eighth of a page, and a whole page in about as many of the groups: size / 4 x of / total.
    Looking at one costs a little less than sorting it."""
    return total <= FEW or 6 * total * total <= size * group_count * max(of, total)


def _merge(
    cursor: Any, of_group: QuerySet[ExceptionCase, Any], groups: list[Any], *, size: int, backwards: bool
) -> list[tuple[int, Decimal]]:
    """The first `size` of all groups: a few of each, then a whole page of those whose last one was still among the
    first, since only they may have more. Most groups have none on a page, and looking for `size` of each is dear where
    a condition finds one in twenty."""
    few = max(4, size // 8)
    found = _first_of_groups(cursor, of_group[:few], groups, backwards=backwards)
    fetched = Counter(place for _, _, place in found)
    least = {place: (score, pk) for pk, score, place in found}  # the last of each group, since they come in order
    edge = found[size - 1][1::-1] if len(found) >= size else None
    open_ended = [
        number for number, place in enumerate(zip(groups[0], groups[1], strict=True))
        if fetched[place] == few
        and (edge is None or (least[place] <= edge if backwards else least[place] >= edge))
    ]  # fmt: skip
    if open_ended:
        again = [[column[number] for number in open_ended] for column in groups]
        places = set(zip(again[0], again[1], strict=True))
        kept = [row for row in found if row[2] not in places]
        found = kept + _first_of_groups(cursor, of_group[:size], again, backwards=backwards)
        found.sort(key=lambda row: (row[1], row[0]), reverse=not backwards)
    return [(pk, score) for pk, score, _ in found[:size]]


def _first_of_groups(
    cursor: Any, of_group: QuerySet[ExceptionCase, Any], groups: list[Any], *, backwards: bool
) -> list[tuple[int, Decimal, Place]]:
    sql, params = of_group.query.sql_with_params()
    cursor.execute(_MERGE.format(group=sql, way="ASC" if backwards else "DESC"), [*groups, *params])
    return [(pk, score, (entity, period)) for pk, score, entity, period in cursor.fetchall()]


@contextmanager
def _along_the_order(cursor: Any) -> Iterator[None]:
    """Each group is read in the order of its index, whatever the planner thinks of the other conditions."""
    with atomic():
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        yield
        cursor.execute("SET LOCAL enable_bitmapscan = on")
        cursor.execute("SET LOCAL enable_sort = on")


def _of_group(rows: QuerySet[ExceptionCase], is_beyond: bool, sign: str) -> QuerySet[ExceptionCase, Any]:
    """The cases of the group g that the merge stands at, in its order: id and amount."""
    own = rows.filter(blocks_entity=RawSQL("g.entity", []), blocks_period=RawSQL("g.period", []))
    if is_beyond:
        edge = f"(exceptions_exceptioncase.amount_at_risk, exceptions_exceptioncase.id) {sign} (g.edge, g.edge_id)"
        own = own.filter(RawSQL(edge, [], output_field=BooleanField()))
    order = ("amount_at_risk", "id") if sign == ">" else ("-amount_at_risk", "-id")
    return own.order_by(*order).values_list("pk", "amount_at_risk")


def _edge(weight: Decimal, place: Rank | None, *, backwards: bool) -> tuple[Decimal, int]:
    """The amount and id in a group of this weight beyond which its cases come after (or before) the place."""
    if place is None:
        return Decimal(0), 0
    amount = (place.score / weight).quantize(_CENT, ROUND_FLOOR)
    if amount * weight == place.score:
        return amount, place.id
    if backwards:
        return amount, _LAST_ID
    return (place.score / weight).quantize(_CENT, ROUND_CEILING), 0
