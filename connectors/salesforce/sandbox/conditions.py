"""SOQL's WHERE as functions of a record: comparisons typed by their field, AND, OR, NOT, lists and semi-joins."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from connectors.salesforce.sandbox.errors import refusal
from connectors.salesforce.sandbox.fields import NUMBERS, TEXTS, Field
from connectors.salesforce.sandbox.ids import read_id
from connectors.salesforce.sandbox.records import Records
from connectors.salesforce.sandbox.schema import SObject
from connectors.salesforce.sandbox.soql import Condition, Group, Literal, Query, malformed
from connectors.salesforce.sandbox.values import format_moment, parse_moment

Row = dict[str, Any]
Test = Callable[[Row], bool]
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and a < b,
    ">": lambda a, b: a is not None and a > b,
    "<=": lambda a, b: a is not None and a <= b,
    ">=": lambda a, b: a is not None and a >= b,
}


class Conditions:
    """The part of a search that decides which records fulfil WHERE."""

    records: Records
    resolve: Callable[[SObject, str], tuple[list[Field], Field]]
    follow: Callable[[Row, list[Field]], Row | None]
    find_object: Callable[[str], SObject]
    find_rows: Callable[..., list[Row]]

    def compile(self, target: SObject, where: Any) -> Test:
        """A condition as a function of a record."""
        if isinstance(where, Group):
            tests = [self.compile(target, part) for part in where.parts]
            if where.operator == "NOT":
                return lambda row: not tests[0](row)
            if where.operator == "AND":
                return lambda row: all(test(row) for test in tests)
            return lambda row: any(test(row) for test in tests)
        steps, column = self.resolve(target, where.path)
        if column.type == "textarea" and column.length > 255:
            raise refusal("INVALID_FIELD", f"field '{column.name}' can not be filtered in a query call")
        test = self.compile_comparison(column, where)

        def check(row: Row) -> bool:
            end = self.follow(row, steps)
            return test(_comparable(column, end.get(column.name) if end else None))

        return check

    def compile_comparison(self, column: Field, condition: Condition) -> Callable[[Any], bool]:
        """The comparison of one field's value."""
        operator, value = condition.operator, condition.value
        if operator in {"IN", "NOT IN"}:
            wanted = self.choices(column, value)
            return (lambda given: given in wanted) if operator == "IN" else (lambda given: given not in wanted)
        if operator == "LIKE":
            if value.kind != "string" or column.type not in TEXTS:
                raise refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on field {column.name}: LIKE")
            pattern = re.compile(
                "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in value.value.lower()), re.DOTALL
            )
            return lambda given: given is not None and pattern.fullmatch(given) is not None
        low, high = self.bounds(column, value)
        if low is None and operator not in {"=", "!="}:
            raise malformed(f"null can't be compared with {operator}")
        if low != high:  # a span of time
            spans: dict[str, Callable[[Any], bool]] = {
                "=": lambda given: given is not None and low <= given < high,
                "!=": lambda given: given is None or not low <= given < high,
                "<": lambda given: given is not None and given < low,
                ">": lambda given: given is not None and given >= high,
                "<=": lambda given: given is not None and given < high,
                ">=": lambda given: given is not None and given >= low,
            }
            return spans[operator]
        compare = COMPARE[operator]
        return lambda given: compare(given, low)

    def choices(self, column: Field, value: Any) -> set:
        """The values behind IN."""
        if not isinstance(value, Query):
            return {self.bounds(column, each)[0] for each in value}
        target = self.find_object(value.source)
        if len(value.selected) != 1 or not isinstance(value.selected[0], str):
            raise malformed("a subquery of IN selects one field")
        steps, inner = self.resolve(target, value.selected[0])
        rows = self.find_rows(value, target)
        return {_comparable(inner, (self.follow(row, steps) or {}).get(inner.name)) for row in rows}

    def bounds(self, column: Field, literal: Literal) -> tuple[Any, Any]:
        """The literal as the field's values compare: twice the same, or the begin and end of a span."""
        kind, value = literal.kind, literal.value
        if kind == "null":
            return None, None
        if kind == "span" and column.type in {"date", "datetime"}:
            return self.span(column, value)
        fits = {
            "string": column.type in TEXTS or column.type in {"id", "reference"},
            "number": column.type in NUMBERS,
            "boolean": column.type == "boolean",
            "date": column.type == "date",
            "datetime": column.type == "datetime",
        }
        if not fits.get(kind):
            message = f"value of filter criterion for field '{column.name}' must be of type {column.type}"
            if column.type in TEXTS:
                message += " and should be enclosed in quotes"
            raise refusal("INVALID_FIELD", message)
        if column.type in {"id", "reference"}:
            id = read_id(value)
            if id is None and value:
                raise refusal("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {value}")
            return id, id
        if kind == "datetime":
            moment = parse_moment(value)
            if moment is None:
                raise malformed(f"{value} is no time")
            return (text := format_moment(moment.timestamp())), text
        if kind == "number":
            return float(value), float(value)
        plain = value.lower() if kind == "string" else value
        return (plain or None if kind == "string" else plain,) * 2

    def span(self, column: Field, word: str) -> tuple[str, str]:
        """TODAY, YESTERDAY and LAST_N_DAYS:n of the sandbox's clock, in UTC."""
        now = self.records.clock.now()
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        back = {"TODAY": 0, "YESTERDAY": 1}.get(word)
        begin = today - timedelta(days=back if back is not None else int(word.partition(":")[2]))
        end = today if word == "YESTERDAY" else today + timedelta(days=1)
        if column.type == "date":
            return begin.date().isoformat(), end.date().isoformat()
        return format_moment(begin.timestamp()), format_moment(end.timestamp())


def _comparable(column: Field, value: Any) -> Any:
    if value is None:
        return None
    if column.type in NUMBERS:
        return float(value)
    if isinstance(value, str) and column.type in TEXTS:
        return value.lower()
    return value
