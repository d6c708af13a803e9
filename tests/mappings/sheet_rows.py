"""What tests of sheets share: the ERP's list of items, a maker, and a check in one line."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone

from connectors.models import ReferenceEntry, RoleAssignment
from mappings.imports import Report, check_table
from mappings.kinds import BY_CODE
from mappings.tables import read_table, read_text
from tests import factories

TODAY = dt.date(2026, 11, 21)
ITEMS = (
    ("10482", "GTX-5G-RTR", "Router 5G"),
    ("10391", "GTX-MNT-L", "Wall mount L"),
    ("00077", "SETUP-A", "Onboarding"),
    ("10500", "TWIN-1", "Twin"),
    ("10501", "TWIN-2", "Twin"),
)


def make_items() -> None:
    """The ERP's own list, one of them inactive."""
    RoleAssignment.objects.create(family="erp", connection=factories.make_connection("netsuite"))
    for external_id, code, name in (*ITEMS, ("10999", "GONE", "Taken out")):
        ReferenceEntry.objects.create(
            connection=factories.make_connection("netsuite"), list_name="items", external_id=external_id, code=code,
            name=name, is_active=code != "GONE", read_at=timezone.now(),
        )  # fmt: skip


def check(sent: str | bytes, by, *, kind: str = "item", **facts) -> Report:
    """The report of what was pasted (text) or uploaded (bytes)."""
    read = read_text if isinstance(sent, str) else read_table
    return check_table(read(sent, BY_CODE.get(kind)), by=by, default_from=TODAY, kind=kind, **facts)


def faults(report: Report) -> list[tuple[int, str, str]]:
    """Row, column and text of each fault."""
    return [(fault.row, fault.column, fault.text) for fault in report.faults]
