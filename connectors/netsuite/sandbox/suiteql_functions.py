"""Oracle's functions that SuiteQL statements use, for SQLite, and how values are shown.

A date is text with a mark before it: `YYYY-MM-DD[ HH:MM:SS]`. The mark keeps dates apart from other text, so that a
date that is selected bare comes out as the user's preference shows it (M/D/YYYY), and only TO_CHAR gives another
format.
"""

import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast

MARK = "\x02"
ELEMENT = re.compile(
    r'"[^"]*"|YYYY|MONTH|MON|MM|DD|DAY|HH24|HH12|HH|MI|SSXFF|SS|FF\d?|AM|PM|TZH|TZM|Q|.', re.IGNORECASE
)
PARSERS = {
    "YYYY": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d{1,2})",
    "MON": r"(?P<mon>[A-Za-z]{3})",
    "DD": r"(?P<day>\d{1,2})",
    "HH24": r"(?P<hour>\d{1,2})",
    "HH12": r"(?P<hour>\d{1,2})",
    "HH": r"(?P<hour>\d{1,2})",
    "MI": r"(?P<minute>\d{1,2})",
    "SS": r"(?P<second>\d{1,2})",
    "SSXFF": r"(?P<second>\d{1,2})(?:\.\d+)?",
    "AM": r"(?P<half>[AaPp][Mm])",
    "PM": r"(?P<half>[AaPp][Mm])",
    "TZH": r"(?P<zone>[+-]\d{2}|Z)",
    "TZM": r"(?P<zone_minute>\d{2})?",
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_date(text: str | None, form: str | None = None) -> str | None:
    """TO_DATE, TO_TIMESTAMP and TO_TIMESTAMP_TZ: text in an Oracle format as a marked date in UTC."""
    if text is None or text.startswith(MARK):
        return text
    if form is None:
        form = "MM/DD/YYYY"
    pattern = ""
    for element in ELEMENT.findall(form):
        known = PARSERS.get(element.upper())
        if known is None and element.upper().startswith("FF"):
            known = r"\d{1,9}"
        pattern += known or re.escape(element.strip('"'))
    match = re.fullmatch(pattern, text.strip())
    if match is None:
        raise ValueError(f"the date '{text}' does not fit the format '{form}'")
    found = match.groupdict()
    hour = int(found.get("hour") or 0)
    if found.get("half"):
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    month = MONTHS.index(found["mon"].title()) + 1 if found.get("mon") else int(found.get("month") or 1)
    moment = datetime(
        int(found["year"]),
        month,
        int(found.get("day") or 1),
        hour,
        int(found.get("minute") or 0),
        int(found.get("second") or 0),
        tzinfo=UTC,
    )
    zone = found.get("zone")
    if zone and zone != "Z":
        offset = timedelta(hours=int(zone), minutes=int(zone[0] + (found.get("zone_minute") or "0")))
        moment = moment.replace(tzinfo=timezone(offset)).astimezone(UTC)
    return mark_date(moment)


def mark_date(moment: datetime) -> str:
    """A moment as the tables hold it; midnight is the day itself."""
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    return MARK + (text[:10] if text.endswith("00:00:00") else text)


def read_date(value: str) -> datetime:
    """The moment of a marked date."""
    return datetime.fromisoformat(value.lstrip(MARK)).replace(tzinfo=UTC)


def show_date(value: str) -> str:
    """A marked date in the user's format."""
    moment = read_date(value)
    return f"{moment.month}/{moment.day}/{moment.year}"


def format_value(value: Any, form: str | None = None) -> str | None:
    """TO_CHAR of a date in an Oracle format, or of a number."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(MARK):
        return show_number(value) if isinstance(value, int | float) else str(value)
    if form is None:
        return show_date(value)
    moment = read_date(value)
    known: dict[str, Callable[[], str]] = {
        "YYYY": lambda: f"{moment.year:04d}",
        "MM": lambda: f"{moment.month:02d}",
        "MON": lambda: MONTHS[moment.month - 1],
        "MONTH": lambda: moment.strftime("%B"),
        "DD": lambda: f"{moment.day:02d}",
        "HH24": lambda: f"{moment.hour:02d}",
        "HH12": lambda: f"{(moment.hour - 1) % 12 + 1:02d}",
        "HH": lambda: f"{(moment.hour - 1) % 12 + 1:02d}",
        "MI": lambda: f"{moment.minute:02d}",
        "SS": lambda: f"{moment.second:02d}",
        "SSXFF": lambda: f"{moment.second:02d}.000",
        "AM": lambda: "am" if moment.hour < 12 else "pm",
        "PM": lambda: "am" if moment.hour < 12 else "pm",
        "TZH": lambda: "+00",
        "TZM": lambda: "00",
        "Q": lambda: str((moment.month - 1) // 3 + 1),
    }
    text = ""
    for element in ELEMENT.findall(form):
        if element.upper() in known:
            text += known[element.upper()]()
        elif re.fullmatch(r"FF\d?", element, re.IGNORECASE):
            text += "0" * int(element[2:] or 3)
        else:
            text += element.strip('"')
    return text


def show_number(value: float | int) -> str:
    """A number as SuiteQL prints it: no exponent, no trailing zeros, no noise of binary fractions."""
    if isinstance(value, int):
        return str(value)
    text = format(Decimal(repr(round(value, 8))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_value(value: Any) -> str:
    """Any value of a row as the string that SuiteQL gives."""
    if isinstance(value, str):
        return show_date(value) if value.startswith(MARK) else value
    return show_number(value)


class ExactSum:
    """SUM over decimals as they were written, so that thousands of amounts add up to the cent."""

    def __init__(self) -> None:
        self.total: Decimal | None = None

    def step(self, value: Any) -> None:
        """Add one value; nulls don't count."""
        if value is not None:
            self.total = (self.total or Decimal(0)) + Decimal(str(value))

    def finalize(self) -> float | int | None:
        """The sum, or null when there was nothing to add."""
        if self.total is None:
            return None
        return int(self.total) if self.total == self.total.to_integral_value() else float(self.total)


def register_functions(db: sqlite3.Connection, *, now: Callable[[], datetime], name_of: Callable) -> None:
    """Make the functions known to a connection."""
    for name in ("to_date", "to_timestamp", "to_timestamp_tz"):
        db.create_function(name, -1, parse_date, deterministic=True)
    db.create_function("to_char", -1, format_value, deterministic=True)
    db.create_function("to_number", 1, lambda value: None if value is None else float(value), deterministic=True)
    db.create_function("nvl", 2, lambda value, other: other if value is None else value, deterministic=True)
    db.create_function("nvl2", 3, lambda value, some, none: none if value is None else some, deterministic=True)
    db.create_function("decode", -1, _decode, deterministic=True)
    db.create_function("concat", 2, lambda one, other: f"{one or ''}{other or ''}", deterministic=True)
    db.create_function("trunc", -1, _truncate, deterministic=True)
    db.create_function("mod", 2, lambda one, other: one % other, deterministic=True)
    db.create_function("greatest", -1, max, deterministic=True)
    db.create_function("least", -1, min, deterministic=True)
    db.create_function("sysdate", 0, lambda: mark_date(now()))
    db.create_function("builtin_df", 2, name_of)
    db.create_aggregate("sum", 1, cast(Any, ExactSum))


def _decode(value: Any, *pairs: Any) -> Any:
    for index in range(0, len(pairs) - 1, 2):
        if pairs[index] == value:
            return pairs[index + 1]
    return pairs[-1] if len(pairs) % 2 else None


def _truncate(value: Any, _: Any = None) -> Any:
    if isinstance(value, str) and value.startswith(MARK):
        return value[:11]
    return None if value is None else int(value)
