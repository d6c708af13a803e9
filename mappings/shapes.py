"""What keys and values of a kind look like, in words for whoever typed something else. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from mappings import scope
from mappings.kinds import Kind

_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


def key_fault(kind: Kind, key: str, *, is_fallback: bool) -> str:
    """Why this can't be a key of the kind, or ""."""
    if not key.strip() or key != key.strip():
        return "a key has neither spaces around it nor is it empty"
    if _UNSEEN.search(key):
        return "keys and values hold no line breaks, tabs or other signs that can't be seen"
    if kind.keys and key not in kind.keys:
        return f"{key} isn't one of {', '.join(kind.keys)}"
    if kind.key_is and not _LOOKS[kind.key_is][0](key):
        return f"{key} isn't {_LOOKS[kind.key_is][1]}"
    if key != "*" and not kind.keys and len(key.split("|")) != len(kind.key_fields):
        return f"a key of this kind is {'|'.join(kind.key_fields)}"
    if scope.is_pattern(key) and not (kind.allows_patterns or (is_fallback and kind.allows_fallback)):
        return f"{kind.title} takes no patterns; name the key"
    return ""


def value_fault(kind: Kind, key: str, value: str) -> str:
    """Why this can't be a value of the key, or ""; whether the target's list has it is asked elsewhere."""
    if not value.strip():
        return "say what it becomes"
    if _UNSEEN.search(value):
        return "keys and values hold no line breaks, tabs or other signs that can't be seen"
    form, says = kind.form_of(key)
    return "" if not form or re.fullmatch(form, value) else f"{value} isn't {says}"


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


_LOOKS: dict[str, tuple[Callable[[str], object], str]] = {
    "date": (_is_date, "a date such as 2026-12-25"),
    "currency": (re.compile("[A-Z]{3}").fullmatch, "a currency's code such as EUR"),
    "pair": (re.compile("(?!(...)/\\1)[A-Z]{3}/[A-Z]{3}").fullmatch, "two currencies as base/quote, such as KWD/GBP"),
}
