"""Arrays as parameters of statements, written quickly: whole batches go to PostgreSQL as arrays of plain values.

psycopg writes each element by its own dumper and looks at each with a regular expression; for the texts, ids and
numbers of a batch that was a third of what a worker computes. Everything else is left to psycopg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.array import ListBinaryDumper, ListDumper

_NONE = type(None)


class QuickListDumper(ListDumper):
    """PostgreSQL's text form of a flat list of one plain type."""

    def _dump_list(self, obj: list[Any], tokens: list[Any], needs_quotes: Callable[[Any], object]) -> None:
        written = _write(obj) if self.delimiter == b"," else None
        if written is None:
            super()._dump_list(obj, tokens, needs_quotes)
        else:
            tokens.append(written)


def _write(values: list[Any]) -> bytes | None:
    types = set(map(type, values)) - {_NONE}
    if types == {str}:
        joined = ",".join("NULL" if v is None else f'"{v}"' for v in values)
        if "\0" in joined:
            return None  # psycopg refuses it in its own words
        if "\\" in joined or joined.count('"') != 2 * sum(v is not None for v in values):
            joined = ",".join("NULL" if v is None else f'"{_escaped(v)}"' for v in values)
        return f"{{{joined}}}".encode()
    if types == {UUID}:
        return f"{{{','.join('NULL' if v is None else v.hex for v in values)}}}".encode()
    if types == {int}:
        return f"{{{','.join('NULL' if v is None else str(v) for v in values)}}}".encode()
    return None


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def write_arrays_quickly() -> None:
    """Have psycopg write lists so. Where it may choose, it still sends them in binary form."""
    psycopg.adapters.register_dumper(list, QuickListDumper)
    psycopg.adapters.register_dumper(list, ListBinaryDumper)
