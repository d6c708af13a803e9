"""One page of the ranked queue, with its place in the address."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from exceptions.closes import Known
from exceptions.models import ExceptionCase
from exceptions.ranking import Rank, rank
from q2c.core.htmx import Counted, Page, count_rows


def ranked_page(
    request: HttpRequest, rows: QuerySet[ExceptionCase], *, size: int = 50, counted: Counted | None = None,
    known: Known | None = None,
) -> Page:  # fmt: skip
    """One page by amount at risk and nearness of the close. As `q2c.core.htmx.paginate`, but for an order that no
    column holds: `after=` and `before=` name the instant of the weights, the score and the case. `known` as of
    `closes_of`."""
    query = request.GET.copy()
    query._mutable = True
    after, before = query.pop("after", [""])[-1], query.pop("before", [""])[-1]
    at = query.pop("at", ["1"])[-1]
    first = int(at) if at.isdecimal() and len(at) < 10 else 1
    place = Rank.read(before or after)
    backwards = bool(before) and place is not None
    if place is None:
        first = 1
    total, is_exact = counted or count_rows(rows)
    found = rank(rows, size=size + 1, place=place, backwards=backwards, total=total, known=known)
    has_more = len(found) > size
    found = found[-size:] if backwards else found[:size]
    if backwards:
        first = max(1, first) if has_more else 1

    def url(key: str, edge: Rank, start: int) -> str:
        link = query.copy()
        link[key], link["at"] = edge.write(), str(max(1, start))
        return f"?{link.urlencode()}"

    has_next = bool(found) and (backwards or has_more)
    has_previous = bool(found) and (has_more if backwards else place is not None)
    return Page(
        rows=[case for case, _ in found],
        first=first if found else 0,
        total=total,
        total_is_exact=is_exact,
        next_url=url("after", found[-1][1], first + len(found)) if has_next else "",
        previous_url=url("before", found[0][1], first - size) if has_previous else "",
    )
