"""The queue's order: amount at risk in reporting currency times the nearness of the close that it blocks.

The order moves with the clock, so it stands in no column. Within one entity and period the weight is the same for all,
so each such group is read from its index, largest amount first, and the groups are merged: a page costs a few rows of
each group, whichever page it is. A page's place names the instant of its weights: paging doesn't reshuffle.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

from django.core.exceptions import EmptyResultSet
from django.db import connection as database
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from exceptions.closes import Place, closes_of, weight_of
from exceptions.models import ExceptionCase

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
    SELECT blocks_entity, blocks_period FROM g
"""
_MERGE = """
    SELECT c.id, c.amount_at_risk * g.weight
      FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::bigint[])
           AS g(entity, period, weight, edge, edge_id)
     CROSS JOIN LATERAL ({group}) AS c(id, amount_at_risk)
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


def places_of_open() -> list[Place]:
    """Every entity and period that an open case blocks, from the index alone."""
    with database.cursor() as cursor:
        cursor.execute(_GROUPS)
        return cursor.fetchall()


def rank(
    rows: QuerySet[ExceptionCase], *, size: int, place: Rank | None = None, backwards: bool = False
) -> list[tuple[ExceptionCase, Rank]]:
    """Up to `size` open cases of `rows` after (or before) a place, the most pressing first; by four statements."""
    as_of = place.as_of if place else timezone.now().replace(microsecond=0)
    places = places_of_open()
    closes = closes_of(places)
    weights = [weight_of(closes.get(group), at=as_of) for group in places]
    if not places:
        return []
    edges = [_edge(weight, place, backwards=backwards) for weight in weights]
    way, beyond = ("ASC", ">") if backwards else ("DESC", "<")
    order = ("amount_at_risk", "id") if backwards else ("-amount_at_risk", "-id")
    group = rows.filter(
        closed_at__isnull=True, blocks_entity=RawSQL("g.entity", []), blocks_period=RawSQL("g.period", [])
    )
    if place is not None:
        edge = f"(exceptions_exceptioncase.amount_at_risk, exceptions_exceptioncase.id) {beyond} (g.edge, g.edge_id)"
        group = group.filter(RawSQL(edge, [], output_field=BooleanField()))
    found = group.select_related(None).order_by(*order).values_list("pk", "amount_at_risk")[:size]
    try:
        sql, params = found.query.sql_with_params()
    except EmptyResultSet:  # somebody who sees no queue at all
        return []
    arrays = [*map(list, zip(*places, strict=True)), weights, *map(list, zip(*edges, strict=True))]
    with database.cursor() as cursor:
        cursor.execute(_MERGE.format(group=sql, way=way), [*arrays, *params, size])
        scored = cursor.fetchall()
    cases = rows.in_bulk([pk for pk, _ in scored])
    listed = [(cases[pk], Rank(as_of, score, pk)) for pk, score in scored if pk in cases]
    return listed[::-1] if backwards else listed


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
