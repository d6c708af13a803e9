"""Reading a whole table a piece at a time, whatever its size.

By the key of the piece before, not by a cursor of the server: behind a pooler such a cursor doesn't outlive its
transaction, so Django reads the whole answer into memory there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Model, QuerySet

T = TypeVar("T", bound=Model)


def in_pieces(rows: QuerySet[T], size: int, *, by: str = "pk") -> Iterator[list[T]]:
    """The rows in the order of a unique, rising field, in lists of at most `size`; each is one query along its
    index."""
    ordered, after = rows.order_by(by), None
    while piece := list((ordered if after is None else ordered.filter(**{f"{by}__gt": after}))[:size]):
        yield piece
        after = getattr(piece[-1], by)
