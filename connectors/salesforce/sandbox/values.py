"""What a field takes: JSON values checked and brought into the form in which they are stored and shown."""

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from connectors.salesforce.sandbox.errors import refusal
from connectors.salesforce.sandbox.fields import NUMBERS, TEXTS, Field

EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;.]+(\.[^@\s,;.]+)+")
LARGEST = Decimal(10) ** 16


def format_moment(seconds: float) -> str:
    """An instant as Salesforce shows it: UTC with milliseconds, offset without a colon."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def parse_moment(given: str) -> datetime | None:
    """An instant from text with an offset or Z; None when it's none."""
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def read_value(column: Field, value: Any) -> Any:
    """A JSON value as it's stored in that field. References are checked elsewhere. Raises Refusal."""
    if value is None:
        if column.type == "boolean":
            raise refusal(
                "INVALID_TYPE_ON_FIELD_IN_RECORD",
                f"{column.name}: value not of required type: null",
                fields=[column.name],
            )
        return None
    if column.type in TEXTS or column.type == "reference":
        return _read_text(column, value)
    if column.type in NUMBERS:
        return _read_number(column, value)
    if column.type == "boolean":
        if isinstance(value, bool):
            return value
        if str(value).lower() in {"true", "false"}:
            return str(value).lower() == "true"
        raise _unreadable(column, value)
    if column.type == "date":
        try:
            return date.fromisoformat(str(value)[:10]).isoformat()
        except ValueError:
            raise _unreadable(column, value) from None
    found = parse_moment(str(value))
    if found is None:
        raise _unreadable(column, value)
    return format_moment(found.timestamp())


def _read_text(column: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _unreadable(column, value)
    value = value.strip()
    if not value:
        return None
    if column.length and len(value) > column.length and column.type != "reference":
        message = f"{column.name}: data value too large: {value[:80]} (max length={column.length})"
        raise refusal("STRING_TOO_LONG", message, fields=[column.name])
    if column.type == "email" and not EMAIL.fullmatch(value):
        message = f"{column.name}: invalid email address: {value}"
        raise refusal("INVALID_EMAIL_ADDRESS", message, fields=[column.name])
    if column.restricted and column.values and value not in column.values:
        message = f"{column.name}: bad value for restricted picklist field: {value}"
        raise refusal("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=[column.name])
    return value


def _read_number(column: Field, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _unreadable(column, value)
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise _unreadable(column, value) from None
    if not found.is_finite() or abs(found) >= LARGEST:
        raise refusal(
            "NUMBER_OUTSIDE_VALID_RANGE", f"{column.name}: value outside of valid range", fields=[column.name]
        )
    if column.type == "int":
        if found != found.to_integral_value():
            raise _unreadable(column, value)
        return int(found)
    return round_to(found, column.scale)


def round_to(value: Decimal, scale: int) -> float:
    """A number with that many decimals, half up, as JSON shows it."""
    return float(value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP))


def as_decimal(value: Any) -> Decimal:
    """A stored number as a decimal; null counts as zero."""
    return Decimal(str(value)) if value is not None else Decimal(0)


def _unreadable(column: Field, value: Any) -> Exception:
    kind = "VALUE_STRING" if isinstance(value, str) else f"VALUE_{type(value).__name__.upper()}"
    return refusal(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {column.type} from {kind} value {value!r}",
    )
