"""What several of the org's rules need: a record's parent, and the end of a term."""

import calendar
from datetime import date, timedelta
from typing import Any

from connectors.salesforce.sandbox.errors import missing_fields, refusal


def find_parent(records: Any, kind: str, id: str | None, name: str) -> dict:
    """The parent that a required reference names. Raises Refusal when it's missing or gone."""
    if id is None:
        raise missing_fields([name])
    found = records.peek(kind, id)
    if found is None or found["IsDeleted"]:
        raise refusal("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {id}", fields=[name])
    return found


def save_parent(records: Any, kind: str, parent: dict) -> None:
    """Store a parent whose sums or defaults a child has changed; only the system's stamp moves."""
    records.save(records.schema.objects[kind], parent, is_by_user=False)


def add_months(start: date, months: int) -> date:
    """The last day of a term that begins at `start`: 2026-03-01 and 12 give 2027-02-28."""
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    return date(year, month, min(start.day, calendar.monthrange(year, month)[1])) - timedelta(days=1)
