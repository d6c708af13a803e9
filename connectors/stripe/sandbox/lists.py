"""Lists with cursors, `created` filters and searches, as all of Stripe's list endpoints have them."""

import re
from collections.abc import Callable
from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox.core import StripeCore, read_given
from connectors.stripe.sandbox.errors import invalid, no_such, unknown_param
from connectors.stripe.sandbox.forms import integer, text

DEFAULT_LIMIT, LARGEST_LIMIT = 10, 100
SEARCH_LAG = 60  # seconds until a new object can be found by searching
RANGES = frozenset({"gt", "gte", "lt", "lte"})
CLAUSE = re.compile(
    r"\s*(?P<not>-)?(?P<field>[a-z_.]+)(?:\[(?P<quote>[\"'])(?P<key>.+?)(?P=quote)\])?\s*"
    r"(?P<operator>:|~|>=|<=|>|<)\s*(?:(?P<mark>[\"'])(?P<value>.*?)(?P=mark)|(?P<bare>[^\s\"']+))"
)


def list_objects(
    stripe: StripeCore,
    request: Request,
    type: str,
    /,
    *,
    filters: tuple[str, ...] = (),
    ranges: tuple[str, ...] = (),
    accept: Callable[[dict], bool] | None = None,
    ignore: tuple[str, ...] = (),
    since: int | None = None,
    **fixed: Any,
) -> Answer:
    """One page, newest first. `filters` are indexed keys, `ranges` more times than `created`, `accept` a last word."""
    given = read_given(request)
    wanted: dict[str, Any] = dict(fixed)
    checks = [accept] if accept else []
    until = None
    for name, value in given.items():
        if name in filters:
            wanted[name] = text(value, name)
        elif name == "created" or name in ranges:
            low, high = read_range(value, name)
            if name == "created":
                since, until = max(low or 0, since or 0) or None, high
            else:
                checks.append(_in_range(name, low, high))
        elif name not in {"limit", "starting_after", "ending_before", "expand", *ignore}:
            raise unknown_param(name)
    limit = read_limit(given)
    after, before = given.get("starting_after"), given.get("ending_before")
    if after and before:
        raise invalid("You can only provide one of starting_after or ending_before.", param="starting_after")
    for param, cursor in (("starting_after", after), ("ending_before", before)):
        if cursor and stripe.store.get_raw(type, cursor) is None:
            raise no_such(type, cursor, param=param)
    page: list[dict] = []
    place, newest_first = before or after, not before
    while len(page) <= limit:
        found = stripe.store.find(
            type, after=place, limit=limit + 1, newest_first=newest_first, since=since, until=until, **wanted
        )
        page += [obj for obj in found if not obj.get("deleted") and all(check(obj) for check in checks)]
        if len(found) <= limit:
            break
        place = found[-1]["id"]
    more, page = len(page) > limit, page[:limit]
    if before:
        page.reverse()
    body = {
        "object": "list",
        "data": [stripe.present(type, obj) for obj in page],
        "has_more": more,
        "url": request.path,
    }
    return Answer(200, stripe.expand(body, given.get("expand")))


def read_limit(given: dict) -> int:
    """1 to 100, 10 by default."""
    limit = integer(given.get("limit"), "limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= LARGEST_LIMIT:
        raise invalid(
            f"Invalid limit: must be between 1 and {LARGEST_LIMIT}", code="parameter_invalid_integer", param="limit"
        )
    return limit


def read_range(value: Any, param: str) -> tuple[int | None, int | None]:
    """`created=5` or `created[gte]=5`: from (inclusive) and until (exclusive)."""
    if not isinstance(value, dict):
        moment = integer(value, param)
        return (None, None) if moment is None else (moment, moment + 1)
    unknown = set(value) - RANGES
    if unknown:
        raise unknown_param(f"{param}[{sorted(unknown)[0]}]")
    bounds = {name: integer(each, f"{param}[{name}]") or 0 for name, each in value.items()}
    lows = [bounds[name] + add for name, add in (("gt", 1), ("gte", 0)) if name in bounds]
    highs = [bounds[name] + add for name, add in (("lt", 0), ("lte", 1)) if name in bounds]
    return max(lows, default=None), min(highs, default=None)


def _in_range(name: str, low: int | None, high: int | None) -> Callable[[dict], bool]:
    def check(obj: dict) -> bool:
        value = obj.get(name)
        return value is not None and (low is None or value >= low) and (high is None or value < high)

    return check


def search_objects(stripe: StripeCore, request: Request, type: str) -> Answer:
    """`query` with `AND` or `OR`; finds only what is older than a minute, as a search index lags behind."""
    given = read_given(request)
    limit = read_limit(given)
    checks, together, literal = read_query(text(given.get("query"), "query") or "")
    newest = stripe.now - SEARCH_LAG
    found = [
        obj
        for obj in stripe.store.find_text(type, literal)
        if not obj.get("deleted") and obj["created"] <= newest and together(check(obj) for check in checks)
    ]
    first = integer(given.get("page"), "page") or 0
    page = found[first : first + limit]
    more = first + limit < len(found)
    body = {
        "object": "search_result",
        "url": request.path,
        "has_more": more,
        "data": [stripe.present(type, obj) for obj in page],
        "next_page": str(first + limit) if more else None,
    }
    return Answer(200, stripe.expand(body, given.get("expand")))


def read_query(query: str) -> tuple[list[Callable[[dict], bool]], Callable, str]:
    """The clauses, how they go together (all or any), and a text that every match contains."""
    checks: list[Callable[[dict], bool]] = []
    words: set[str] = set()
    literal, place = "", 0
    while place < len(query):
        match = CLAUSE.match(query, place)
        if match is None:
            raise invalid(f"We were unable to parse your search query: {query}", param="query")
        checks.append(_as_check(match))
        if match["operator"] == ":" and not match["not"] and match["value"] and match["value"].isascii():
            literal = max(literal, match["value"], key=len)
        place = match.end()
        joint = re.match(r"\s+(AND|OR)\s+|\s+|$", query[place:], re.IGNORECASE)
        if joint is None:
            raise invalid(f"We were unable to parse your search query: {query}", param="query")
        place += joint.end()
        if place < len(query):
            words.add((joint[1] or "AND").upper())
    if not checks:
        raise invalid("Missing required param: query.", code="parameter_missing", param="query")
    if len(words) > 1:
        raise invalid("You cannot combine AND and OR in one query.", param="query")
    together = any if "OR" in words else all
    return checks, together, "" if together is any or any(c in literal for c in '"\\') else literal


def _as_check(match: re.Match) -> Callable[[dict], bool]:
    field, key, operator = match["field"], match["key"], match["operator"]
    value = match["bare"] if match["value"] is None else match["value"]

    def look(obj: dict) -> Any:
        if key is not None:
            return (obj.get(field) or {}).get(key)
        found: Any = obj
        for step in field.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def holds(obj: dict) -> bool:
        found = look(obj)
        if value == "null" and match["value"] is None:
            return found is None
        if found is None:
            return False
        if operator == ":":
            return str(found).lower() == value.lower()
        if operator == "~":
            return value.lower() in str(found).lower()
        number, bound = int(found), int(value)
        return {">": number > bound, ">=": number >= bound, "<": number < bound, "<=": number <= bound}[operator]

    return (lambda obj: not holds(obj)) if match["not"] else holds
