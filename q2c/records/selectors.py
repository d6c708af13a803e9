"""Reads of golden records that go beyond one row."""

from __future__ import annotations

from collections.abc import Iterable

from q2c.core.hotpath import fetch_rows
from q2c.records.models import GoldenRecord
from q2c.records.store import alias_of

# UNION drops what was met before, so a ring ends.
_ABOVE = """
WITH RECURSIVE up AS (
    SELECT record_key, parent_key FROM records_goldenrecord WHERE record_type = 'customer' AND record_key = ANY(%s)
    UNION
    SELECT g.record_key, g.parent_key FROM up JOIN records_goldenrecord g
      ON g.record_type = 'customer' AND g.record_key = up.parent_key
)
SELECT record_key, parent_key FROM up
"""


def find_record(connection: str, object_id: str, *, record_type: str = "") -> tuple[str, str] | None:
    """The type and golden key of the record that a system's object is a source of, or None."""
    rows = GoldenRecord.objects.filter(aliases__contains=[alias_of(connection, object_id)])
    if record_type:
        rows = rows.filter(record_type=record_type)
    return rows.order_by("id").values_list("record_type", "record_key").first()


def parents_above(record_keys: Iterable[str]) -> dict[str, str]:
    """The parent of each of these accounts and of everyone above them, by record key; one query."""
    found: dict[str, str] = dict(fetch_rows(_ABOVE, [sorted(record_keys)]))
    return found
