"""Governed rows are saved one by one, with who and why in their history."""

from __future__ import annotations

from typing import Any

from q2c.core.models import Person


def save_with_reason(row: Any, *, why: str, by: Person | None) -> None:
    """Save a row that simple_history keeps; `by` is None where the portal itself acts."""
    row._change_reason = why
    row._history_user = by
    row.save()
