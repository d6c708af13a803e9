"""The `q` of collections: `field OPERATOR value`, joined by AND and OR, evaluated over records.

Source: help section 1545222128 as the fact sheet quotes it. Dates are in the user's format, M/D/YYYY with an optional
time.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from connectors.netsuite.sandbox.errors import invalid_parameter

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\(|\)|[^\s()\[\]"]+)')
FORMS = ("%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M", "%Y-%m-%d")
SIMPLE = re.compile(r'\s*externalId\s+IS\s+"?([^"\s]+)"?\s*', re.IGNORECASE)
TEXT: dict[str, Callable[[str, str], bool]] = {
    "IS": lambda have, want: have == want,
    "IS_NOT": lambda have, want: have != want,
    "START_WITH": lambda have, want: have.startswith(want),
    "START_WITH_NOT": lambda have, want: not have.startswith(want),
    "END_WITH": lambda have, want: have.endswith(want),
    "CONTAIN": lambda have, want: want in have,
    "CONTAIN_NOT": lambda have, want: want not in have,
}
NUMBER: dict[str, Callable[[float, float], bool]] = {
    "EQUAL": lambda have, want: have == want,
    "EQUAL_NOT": lambda have, want: have != want,
    "GREATER": lambda have, want: have > want,
    "GREATER_OR_EQUAL": lambda have, want: have >= want,
    "LESS": lambda have, want: have < want,
    "LESS_OR_EQUAL": lambda have, want: have <= want,
}
DATE: dict[str, Callable[[datetime, datetime], bool]] = {
    "AFTER": lambda have, want: have > want,
    "ON_OR_AFTER": lambda have, want: have >= want,
    "BEFORE": lambda have, want: have < want,
    "ON_OR_BEFORE": lambda have, want: have <= want,
    "ON": lambda have, want: have.date() == want.date(),
}
Test = Callable[[dict], bool]


def find_simple(q: str) -> str | None:
    """The external id that a filter asks for, when it asks for nothing else."""
    match = SIMPLE.fullmatch(q)
    return match.group(1) if match else None


def parse_filter(q: str) -> Test:
    """A test for records out of a filter; refuses what can't be read."""
    tokens = TOKEN.findall(q)
    if not tokens or TOKEN.sub("", q).strip():
        raise _refuse()
    test = _parse_or(tokens)
    if tokens:
        raise _refuse()
    return test


def _parse_or(tokens: list[str]) -> Test:
    tests = [_parse_and(tokens)]
    while tokens and tokens[0].upper() == "OR":
        tokens.pop(0)
        tests.append(_parse_and(tokens))
    return lambda obj: any(test(obj) for test in tests)


def _parse_and(tokens: list[str]) -> Test:
    tests = [_parse_one(tokens)]
    while tokens and tokens[0].upper() == "AND":
        tokens.pop(0)
        tests.append(_parse_one(tokens))
    return lambda obj: all(test(obj) for test in tests)


def _parse_one(tokens: list[str]) -> Test:
    if not tokens:
        raise _refuse()
    field = tokens.pop(0)
    if field == "(":
        test = _parse_or(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise _refuse()
        return test
    if not tokens:
        raise _refuse()
    operator = tokens.pop(0).upper()
    if operator in {"EMPTY", "EMPTY_NOT"}:
        return lambda obj: (_read(obj, field) is None) == (operator == "EMPTY")
    if not tokens:
        raise _refuse()
    raw = tokens.pop(0)
    values = (
        [part.strip().strip('"') for part in raw.strip("[]").split(",")] if raw.startswith("[") else [raw.strip('"')]
    )
    return _build_test(field, operator, values)


def _build_test(field: str, operator: str, values: list[str]) -> Test:
    if operator in {"ANY_OF", "ANY_OF_NOT"}:
        wanted = set(values)
        return lambda obj: (str(_read(obj, field)) in wanted) == (operator == "ANY_OF")
    if operator == "BETWEEN" and len(values) == 2:
        low, high = (_number(value) for value in values)
        return lambda obj: _read(obj, field) is not None and low <= float(_read(obj, field)) <= high
    if operator in NUMBER:
        compare, number = NUMBER[operator], _number(values[0])
        return lambda obj: isinstance(_read(obj, field), int | float) and compare(float(_read(obj, field)), number)
    if operator in DATE:
        compare_dates, moment = DATE[operator], _moment(values[0])
        return lambda obj: _read(obj, field) is not None and compare_dates(_as_moment(_read(obj, field)), moment)
    if operator in TEXT:
        compare_text, wanted_text = TEXT[operator], values[0].lower()
        return lambda obj: compare_text(_as_text(_read(obj, field)), wanted_text)
    raise _refuse()


def _read(obj: dict, field: str) -> Any:
    value: Any = obj
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value["id"] if isinstance(value, dict) and "id" in value else value


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).lower()


def _as_moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _refuse() from None


def _moment(text: str) -> datetime:
    for form in FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise _refuse()


def _refuse() -> Exception:
    return invalid_parameter("q", "Invalid search query. The value of the query parameter 'q' cannot be parsed.")
