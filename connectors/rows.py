"""Reading the rows of a page one by one: one that can't be read keeps the others back from nobody. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from connectors.fields import UNREADABLE, noting, watched

Read = TypeVar("Read")


def read_rows(rows: Iterable[Any], read: Callable[[Any], Read]) -> tuple[tuple[Read, ...], str]:
    """What the rows say, and of the first that can't be read what is wrong with it, and with how many more."""
    found, wrong = [], []
    for row in rows:
        try:
            found.append(read(row))
        except UNREADABLE as error:
            wrong.append(say_unreadable(error, path_of(row, read)))
    more = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
    return tuple(found), f"{wrong[0]}{more}" if wrong else ""


def read_every(rows: Iterable[Any], read: Callable[[Any], Read]) -> tuple[Read, ...]:
    """What the rows say. Raises ValueError with what is wrong of those that can't be read."""
    found, unread = read_rows(rows, read)
    if unread:
        raise ValueError(unread)
    return found


def path_of(row: Any, read: Callable[[Any], Any]) -> str:
    """The field that was looked at last before reading a row failed; "" where it isn't known."""
    with noting() as noted:
        try:
            read(watched(row, noted))
        except UNREADABLE:
            return noted.path
    return ""


def say_unreadable(error: Exception, path: str) -> str:
    """What is wrong, with the path of the field at fault as far as it's known."""
    says = f"field {error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return f"{says} at {path}" if path and path not in says else says
