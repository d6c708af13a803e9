"""How long things are kept: whole months are dropped by the owner's function, never one that holds anything unfinished.

Rows of other tables go one by one, by the same rules (`kept_since`). The months are a governed mapping kind
(`retention`), so two people agree to them. What is dropped is told in the audit chain, with the number of its rows and
their checksum.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import OperationalError, connection
from django.db.models import Model
from django.db.transaction import atomic

from q2c.core import audit
from q2c.core.models import AuditEntry

log = structlog.get_logger(__name__)
DROP = "drop_partition"


@dataclass(frozen=True)
class Dropped:
    """The ids that a dropped month held: from `low`, below `high`."""

    low: UUID
    high: UUID

    def contains(self, row_id: UUID) -> bool:
        """Whether a row of this id went with it."""
        return self.low <= row_id < self.high


def expired_partitions() -> dict[str, str]:
    """Months that are older than their policy keeps them, each with the reason that it's kept still, or empty."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT child, why_kept FROM q2c_expired_partitions() ORDER BY child")
        return dict(cursor.fetchall())


def drop_expired() -> list[str]:
    """Drop what is older than policy keeps it and isn't in use; each month in a transaction of its own, with its audit
    entry. Returns the names. A table that is busy for seconds is left for the next time.
    """
    dropped = []
    for child, why_kept in expired_partitions().items():
        if why_kept:
            log.info("an expired month is kept", partition=child, why=why_kept)
            continue
        try:
            _drop(child)
        except OperationalError as busy:
            log.warning("an expired month couldn't be dropped", partition=child, error=str(busy))
            continue
        dropped.append(child)
    return dropped


def kept_since(model: type[Model]) -> dt.datetime | None:
    """Rows of this table that ended before this instant may go; None where policy keeps them all."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now() - make_interval(months => q2c_retention_months(%s))", [model._meta.db_table])
        since: dt.datetime | None = cursor.fetchone()[0]
    return since


def dropped_ranges(table: str) -> list[Dropped]:
    """Which months of a table were dropped, as the audit chain says."""
    entries = AuditEntry.objects.filter(verb=DROP, subject_type="partition", data__table=table)
    return [Dropped(UUID(data["from"]), UUID(data["to"])) for data in entries.values_list("data", flat=True)]


def _drop(child: str) -> None:
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM q2c_drop_partition(%s)", [child])
        table, low, high, months, rows, checksum = cursor.fetchone()
        audit.record(
            audit.PORTAL, DROP, "partition", child, why=f"older than {months} months",
            data={"table": table, "from": low, "to": high, "rows": rows, "checksum": checksum},
        )  # fmt: skip
