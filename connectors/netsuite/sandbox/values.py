"""Numbers, dates and lines of a body: what fits a kind, how money is rounded, how sublists are merged."""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any


def to_decimal(number: float | int) -> Decimal:
    """A JSON number as the decimal that was written."""
    return Decimal(repr(number))


def round_money(amount: Decimal, quantum: Decimal) -> Decimal:
    """Half up to the smallest amount of the currency."""
    return amount.quantize(quantum, ROUND_HALF_UP)


def merge_lines(key: str, old: list[dict], given: list[dict]) -> list[dict]:
    """Lines after a change: one with a known key changes that line, any other is added."""
    lines = [dict(line) for line in old]
    places = {_key_of(line.get(key)): number for number, line in enumerate(lines) if line.get(key) is not None}
    for line in given:
        place = places.get(_key_of(line.get(key))) if line.get(key) is not None else None
        if place is None:
            lines.append(line)
        else:
            lines[place].update(line)
    return lines


def _key_of(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_datetime(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


CHECKS = {
    "text": lambda value: isinstance(value, str),
    "number": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "date": _is_date,
    "datetime": _is_datetime,
    "enum": lambda value: isinstance(value, str) or (isinstance(value, dict) and "id" in value),
    "object": lambda value: isinstance(value, dict),
}
