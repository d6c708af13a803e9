"""How a view answers: a page or its fragment, an event after a change, and one page of a keyset-ordered list."""

from __future__ import annotations

import base64
import binascii
import functools
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value
from django.db.models.lookups import GreaterThan, LessThan
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.utils.cache import patch_vary_headers

EXACT_UP_TO = 10_000
FEW = 1_000
FAR_MORE = 2  # times


def wants_fragment(request: HttpRequest) -> bool:
    """A fragment is asked for by htmx itself, not by a boosted link and not when history is restored."""
    htmx: Any = getattr(request, "htmx", None)
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def page(
    request: HttpRequest, full: str, fragment: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """The whole page, or for htmx only its fragment. The page includes exactly that fragment."""
    template = fragment if wants_fragment(request) else full
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-Boosted", "HX-History-Restore-Request"])
    return response


def changed(request: HttpRequest, event: str, *, back_to: Any) -> HttpResponse:
    """After a change: 204 and the event for htmx; without JavaScript 303 back to the thing."""
    if wants_fragment(request):
        return HttpResponse(status=204, headers={"HX-Trigger": event})
    return HttpResponseRedirect(resolve_url(back_to), status=303)


def refuse(request: HttpRequest, said: str, to: str, *args: Any) -> HttpResponse:
    """Nothing was done, and why: back to where that is seen. A form that carries a key may be sent again (`once`)."""
    messages.warning(request, said, extra_tags="act")
    response = redirect(to, *args)
    response.was_refused = True  # type: ignore[attr-defined]
    return response


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, where it stands, and the addresses of its neighbours ("" where there's none)."""

    rows: list[Any]
    first: int
    total: int
    total_is_exact: bool
    next_url: str
    previous_url: str

    @property
    def last(self) -> int:
        """The place of the last row shown."""
        return self.first + len(self.rows) - 1

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def paginate(
    request: HttpRequest, rows: QuerySet, *others: QuerySet, order: tuple[str, ...] = ("-id",), size: int = 50,
    counted: Counted | None = None,
) -> Page:  # fmt: skip
    """One page by keyset: no OFFSET, so page 1,000 costs what page 1 costs. `order` names fields or annotations of the
    rows, and must end in a unique field. `others`: rows of the same kind that are in the list too and are none of
    `rows`. Each is read along an index of its own, which an OR of both would keep the database from, and merged.

    The place is in the URL (`after=`, `before=`, and `at=` for the number of the first row); a place that can't be read
    counts as the start. Totals above 10,000 are the planner's estimate. `counted`: the rows, where they were counted.
    """
    query = request.GET.copy()
    query._mutable = True
    after, before = query.pop("after", [""])[-1], query.pop("before", [""])[-1]
    at = query.pop("at", ["1"])[-1]
    first = int(at) if at.isdecimal() and len(at) < 10 else 1
    parts = (rows, *others)
    total, is_exact = counted or _sum(count_rows(part) for part in parts)
    backwards = bool(before)
    place = _read_place(before or after, rows, order)
    if place is None:
        backwards, first = False, 1
    way = _turn(order) if backwards else order
    found = [part.order_by(*way) for part in parts]
    if place is not None:
        found = [part.filter(_beyond(order, place, backwards=backwards)) for part in found]
    listed = _merged([list(part[: size + 1]) for part in found], way)[: size + 1]
    has_more = len(listed) > size
    listed = listed[:size]
    if backwards:
        listed.reverse()
        first = max(1, first) if has_more else 1
    has_next = bool(listed) and (backwards or has_more)
    has_previous = bool(listed) and ((has_more and backwards) or (not backwards and place is not None))

    def url(key: str, row: Any, start: int) -> str:
        link = query.copy()
        link[key] = write_place(row, order)
        link["at"] = str(max(1, start))
        return f"?{link.urlencode()}"

    return Page(
        rows=listed,
        first=first if listed else 0,
        total=total,
        total_is_exact=is_exact,
        next_url=url("after", listed[-1], first + len(listed)) if has_next else "",
        previous_url=url("before", listed[0], first - size) if has_previous else "",
    )


class Counted(NamedTuple):
    """How many, and whether that's exact or the planner's estimate."""

    number: int
    is_exact: bool

    def __bool__(self) -> bool:
        return self.number > 0

    @property
    def words(self) -> str:
        """As it's shown: 1,204, or about 1,240,000."""
        return f"{self.number:,}" if self.is_exact else f"about {round(self.number, -4):,}"


def count_rows(rows: QuerySet) -> Counted:
    """How many rows there are: exact up to 10,000, else the planner's estimate (at least that many). Where there are
    more than a few and the planner expects far more than 10,000 it's believed without counting so many."""
    for most in (FEW, EXACT_UP_TO):
        counted = rows.order_by()[: most + 1].count()
        if counted <= most:
            return Counted(counted, True)
        plan = json.loads(_slim(rows).explain(format="json"))
        estimate = int(plan[0]["Plan"]["Plan Rows"])
        if estimate > FAR_MORE * EXACT_UP_TO:
            break
    return Counted(max(counted, EXACT_UP_TO + 1, estimate), False)


def _sum(counts: Iterable[Counted]) -> Counted:
    numbers, exact = zip(*counts, strict=True)
    return Counted(sum(numbers), all(exact))


def _merged(parts: list[list[Any]], order: tuple[str, ...]) -> list[Any]:
    """Rows of several lists in this order: sorted by its last name first, since a later sort keeps what is equal."""
    if len(parts) == 1:
        return parts[0]
    rows = [row for part in parts for row in part]
    for name in reversed(order):
        rows.sort(key=operator.attrgetter(name.lstrip("-")), reverse=name.startswith("-"))
    return rows


def _slim(rows: QuerySet) -> QuerySet:
    """As many rows, their columns left out where that's the same: a plan of thirty columns is long to write."""
    is_plain = rows.query.group_by is None and not rows.query.distinct and not rows.query.combinator
    return (rows.values("pk") if is_plain else rows).order_by()


def _turn(order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name[1:] if name.startswith("-") else f"-{name}" for name in order)


class _Row(Func):
    """Several columns compared as one, which an index over them bounds on both ends."""

    function = "ROW"
    output_field = BooleanField()


def _beyond(order: tuple[str, ...], place: list[Any], *, backwards: bool) -> Any:
    """(a, b) after (x, y) in this order: compared as a row where all columns go the same way, else written so that the
    leading column bounds the index scan."""
    ways = [name.startswith("-") != backwards for name in order]
    names = [name.lstrip("-") for name in order]
    if len(set(ways)) == 1 and len(order) > 1:
        return (LessThan if ways[0] else GreaterThan)(_Row(*map(F, names)), _Row(*map(Value, place)))
    choices = []
    for i, name in enumerate(names):
        same = Q(**{names[j]: place[j] for j in range(i)}) if i else Q()
        choices.append(same & Q(**{f"{name}__{'lt' if ways[i] else 'gt'}": place[i]}))
    return Q(**{f"{names[0]}__{'lte' if ways[0] else 'gte'}": place[0]}) & functools.reduce(operator.or_, choices)


def write_place(row: Any, order: tuple[str, ...]) -> str:
    """A row's place in this order, as it stands in the address of the page after it."""
    values = [getattr(row, name.lstrip("-")) for name in order]
    text = json.dumps([v.isoformat() if hasattr(v, "isoformat") else str(v) for v in values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_place(text: str, rows: QuerySet, order: tuple[str, ...]) -> list[Any] | None:
    if not text:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(values, list) or len(values) != len(order):
            return None
        fields = [_field_of(rows, name.lstrip("-")) for name in order]
        place = [field.to_python(value) for field, value in zip(fields, values, strict=True)]
    except (ValueError, TypeError, OverflowError, binascii.Error, ValidationError, FieldDoesNotExist):
        return None
    return None if None in place else place


def _field_of(rows: QuerySet, name: str) -> Any:
    known = rows.query.annotations.get(name)
    return rows.model._meta.get_field(name) if known is None else known.output_field
