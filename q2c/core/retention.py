"""How long things are kept: whole months are dropped by the owner's function, never one that holds anything unfinished.

Rows of other tables go one by one, by the same rules (`kept_since`). The months are a governed mapping kind
(`retention`), so two people agree to them. What a legal hold covers stays; where kind `archive` says so, a month is
written out and read back before it goes (`archives`). What is dropped is told in the audit chain, with the number of
its rows and their checksum.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import DatabaseError, OperationalError, connection
from django.db.models import Model
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import archives, audit
from q2c.core.archives import ArchiveFailed, Interrupted
from q2c.core.models import AuditEntry, ExpiredMonth

log = structlog.get_logger(__name__)
DROP = "drop_partition"
# What retention knows (as q2c_retention_months has it), and whether it goes by whole months.
TABLES = {
    "transactions_steprun": True, "transactions_lineagelink": True, "transactions_preparedposting": True,
    "inbox_inboundevent": True, "connectors_exchange": True, "outbox_outboxevent": True,
    "exceptions_alertgroup": False, "exceptions_bulkitem": False,
}  # fmt: skip


@dataclass(frozen=True)
class Dropped:
    """The ids that a dropped month held: from `low`, below `high`."""

    low: UUID
    high: UUID

    def contains(self, row_id: UUID) -> bool:
        """Whether a row of this id went with it."""
        return self.low <= row_id < self.high


@dataclass(frozen=True)
class Expired:
    """A month that is older than policy keeps it; `why_kept` is empty for one that is due."""

    table: str
    partition: str
    low: UUID
    high: UUID
    months: int
    why_kept: str


def expired_months() -> list[Expired]:
    """Months that are older than their policy keeps them, by name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT parent, child, low, high, months, why_kept FROM q2c_expired_partitions() ORDER BY child")
        return [Expired(*row) for row in cursor.fetchall()]


def expired_partitions() -> dict[str, str]:
    """The same by name, each with the reason that it's kept still, or empty."""
    return {month.partition: month.why_kept for month in expired_months()}


def drop_expired() -> list[str]:
    """Drop what is older than policy keeps it and isn't in use, archived first where policy says so; each month in a
    transaction of its own, with its audit entry. Returns the names. A table that is busy for seconds is left for the
    next time, as is a month that can't be archived: `ExpiredMonth` says why, and operators are told.
    """
    dropped, left = [], []
    for month in expired_months():
        why_left = month.why_kept
        failure = ""
        if not why_left:
            try:
                _let_go(month)
            except Interrupted as interrupted:
                log.info("an expired month waits", partition=month.partition, why=str(interrupted))
            except OperationalError as busy:
                log.warning("an expired month couldn't be dropped", partition=month.partition, error=str(busy))
            except (ArchiveFailed, DatabaseError) as error:
                failure = str(error).partition("\n")[0]
                log.error("an expired month couldn't be let go", partition=month.partition, error=failure)
            else:
                dropped.append(month.partition)
                continue
        else:
            log.info("an expired month is kept", partition=month.partition, why=why_left)
        left.append(_seen(month, failure))
    _note(left)
    return dropped


def look_again() -> None:
    """Note what is expired and why it stays, without dropping anything."""
    failures = dict(ExpiredMonth.objects.values_list("partition", "failure"))
    _note([_seen(month, "" if month.why_kept else failures.get(month.partition, "")) for month in expired_months()])


@atomic
def _note(months: list[ExpiredMonth]) -> None:
    """What was seen takes the place of what was; two workers at once do no harm."""
    ExpiredMonth.objects.exclude(partition__in=[month.partition for month in months]).delete()
    fields = ["table", "months", "why_kept", "failure", "holds", "looked_at"]
    ExpiredMonth.objects.bulk_create(months, update_conflicts=True, unique_fields=["partition"], update_fields=fields)


def _seen(month: Expired, failure: str) -> ExpiredMonth:
    """What a hold covers by now hasn't failed, it's kept: the database refused it by the hold's name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT held, q2c_hold_words(held) FROM q2c_holds_on(%s, %s, %s) AS held",
            [month.table, month.low, month.high],
        )
        holds, words = cursor.fetchone()
    return ExpiredMonth(
        partition=month.partition, table=month.table, months=month.months, why_kept=words or month.why_kept,
        failure="" if holds else failure, holds=holds, looked_at=timezone.now(),
    )  # fmt: skip


def _let_go(month: Expired) -> None:
    """Archive a month where that is wanted, unless an archive holds it already, and drop it. Whether it does is the
    owner's function's word: a row that came later has the month archived again."""
    if not archives.is_wanted(month.table):
        _drop(month.partition)
        return
    made = archives.current().filter(partition=month.partition).first()
    if made is not None and not archives.check(made).fault:
        try:
            _drop(month.partition)
            return
        except OperationalError:
            raise
        except DatabaseError as refused:
            log.warning("a month is archived again", partition=month.partition, why=str(refused))
    archives.archive_month(month.table, month.partition, month.low, month.high)
    _drop(month.partition)


@dataclass
class Policy:
    """How long a table's rows are kept (None: for good), whether a month is archived first (None: it has no months),
    and the oldest month here."""

    table: str
    months: int | None
    is_archived: bool | None
    oldest: str | None


def policies() -> list[Policy]:
    """What policy says today of every table that retention knows; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, q2c_retention_months(name), CASE WHEN months THEN q2c_is_archived(name) END,"
            " (SELECT min(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            "   WHERE months AND i.inhparent = to_regclass('public.' || name) AND c.relname ~ '_[0-9]{4}_[0-9]{2}$')"
            " FROM unnest(%s::text[], %s::boolean[]) WITH ORDINALITY AS t (name, months, place) ORDER BY place",
            [list(TABLES), list(TABLES.values())],
        )
        return [Policy(*row) for row in cursor.fetchall()]


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


def _drop(partition: str) -> None:
    with atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM q2c_drop_partition(%s)", [partition])
        table, low, high, months, rows, checksum = cursor.fetchone()
        data = {"table": table, "from": low, "to": high, "rows": rows, "checksum": checksum}
        held_by = archives.current().filter(partition=partition, row_count=rows, checksum=checksum).first()
        if held_by is not None:
            data["archive"] = held_by.pk
        audit.record(audit.PORTAL, DROP, "partition", partition, why=f"older than {months} months", data=data)
