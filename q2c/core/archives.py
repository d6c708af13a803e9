"""Months written out before they are dropped, where mapping kind `archive` says so; checked against the audit chain;
and read again, one transaction at a time.

A row is sealed under its customer's key, so destroying that key erases it here too; what no one customer owns is sealed
under a key of the archive, which the master key seals. An archive counts once its files were read back whole; the
owner's function drops no month that an archive doesn't hold as it stands (decision 0049).
"""

from __future__ import annotations

import bisect
import datetime as dt
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import connection
from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import audit, vault
from q2c.core.archive_files import (
    BLOCK_ROWS,
    ArchiveFault,
    Row,
    Written,
    check_bytes,
    fields_of,
    open_row,
    read_block,
    read_manifest,
    see_folder,
    write_manifest,
    write_rows,
)
from q2c.core.customer_keys import ensure_keys, key_bytes, owner_of
from q2c.core.ending import is_ending
from q2c.core.models import Archive, ArchiveCheck, AuditEntry

log = structlog.get_logger(__name__)
ARCHIVE = "archive"  # the verb of the audit entry
CHECKED_AGAIN = dt.timedelta(days=30)
_LOCK = 0x51326341
_ORDER_MAX = 12  # archives of outgoing events that are read for one transaction

_OF_MESSAGE = """LEFT JOIN LATERAL (SELECT k.customer_key_id FROM public.inbox_inboundkey k WHERE k.event_id = {event}
                                     LIMIT 1) k ON true"""
_BY_TRANSACTION = """
    SELECT t.transaction_id, '/' || t.{second}, t.transaction_id, {own}, b.source_connection, b.customer_id,
           k.customer_key_id, t::text
      FROM public.{table} t LEFT JOIN public.transactions_businesstransaction b ON b.id = t.transaction_id
      {message} WHERE t.transaction_id >= %s AND t.transaction_id < %s ORDER BY t.transaction_id, t.{second}
"""
_BY_TRANSACTION_OF = partial(_BY_TRANSACTION.format, message=_OF_MESSAGE.format(event="b.event_id"))
# What asks for the rows of a table in the order of their key: key (in two parts), transaction, the customer key that
# the row has itself, the customer of its transaction, the key of its message's customer, the row.
ASKS = {
    "transactions_steprun": _BY_TRANSACTION_OF(table="transactions_steprun", second="sequence", own="NULL::uuid"),
    "transactions_lineagelink": _BY_TRANSACTION_OF(
        table="transactions_lineagelink", second="sequence", own="NULL::uuid"
    ),
    "transactions_preparedposting": _BY_TRANSACTION_OF(
        table="transactions_preparedposting", second="sequence", own="NULL::uuid"
    ),
    "connectors_exchange": _BY_TRANSACTION_OF(table="connectors_exchange", second="id", own="t.customer_key_id"),
    "inbox_inboundevent": f"""
        SELECT t.id, '', NULL::uuid, k.customer_key_id, NULL, NULL, NULL::uuid, t::text
          FROM public.inbox_inboundevent t {_OF_MESSAGE.format(event="t.id")}
         WHERE t.id >= %s AND t.id < %s ORDER BY t.id""",
    "outbox_outboxevent": f"""
        SELECT t.id, '', t.transaction_id, NULL::uuid, b.source_connection, b.customer_id, k.customer_key_id, t::text
          FROM public.outbox_outboxevent t
          LEFT JOIN public.transactions_businesstransaction b ON b.id = t.transaction_id
          {_OF_MESSAGE.format(event="b.event_id")}
         WHERE t.id >= %s AND t.id < %s ORDER BY t.id""",
}
_AS_TEXT = ("timezone = 'UTC'", "datestyle = 'ISO, MDY'", "bytea_output = 'hex'", "extra_float_digits = 1")


class ArchiveFailed(Exception):
    """Why a month couldn't be archived, in words for a case: it stays where it is."""


class Interrupted(Exception):
    """The program ends, or another one is at it: nothing was written that counts."""


@dataclass(frozen=True)
class Found:
    """An archived row: its fields as text by column, or None for one of an erased customer."""

    archive: Archive
    key: str
    fields: dict[str, str | None] | None


def folder() -> Path:
    """Where archives are written. Raises ArchiveFailed when the settings name no directory, or one with the code."""
    if not settings.ARCHIVE:
        raise ArchiveFailed("Q2C_ARCHIVE names no directory")
    found = Path(settings.ARCHIVE).absolute()
    if settings.BASE_DIR / "q2c" in (found, *found.parents) or found == settings.BASE_DIR:
        raise ArchiveFailed("Q2C_ARCHIVE lies in the portal’s own code")
    return found


def is_wanted(table: str) -> bool:
    """Whether policy wants months of this table archived before they are dropped."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT q2c_is_archived(%s)", [table])
        return bool(cursor.fetchone()[0])


def current() -> QuerySet[Archive]:
    """The newest archive of each month: one that was made again counts no more."""
    newest = Archive.objects.filter(partition=OuterRef("partition")).order_by("-id").values("pk")[:1]
    return Archive.objects.filter(pk=Subquery(newest))


def archive_month(table: str, partition: str, low: UUID, high: UUID) -> Archive | None:
    """Write a month out, read it back, and tell it in the audit chain, in one transaction; None for an empty month.

    Raises ArchiveFailed when it can't be written or isn't whole: nothing counts then. Raises Interrupted when the
    program ends meanwhile or another one is at it.
    """
    target, name = folder(), f"{partition}-{uuid4().hex[:8]}"
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in target.glob(f"{partition}-*.part"):  # of a run that was killed
            left.unlink()
        with atomic():
            return _archive(table, partition, low, high, target=target, name=name)
    except (OSError, ArchiveFault) as error:
        raise ArchiveFailed(f"{partition} couldn’t be written to {target}: {error}") from error
    except vault.Unsealable as error:
        raise ArchiveFailed(f"{partition} couldn’t be sealed: {error}") from error
    finally:
        for left in target.glob(f"{name}*.part"):
            left.unlink(missing_ok=True)


def _archive(table: str, partition: str, low: UUID, high: UUID, *, target: Path, name: str) -> Archive | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCK & 0x7FFFFFFF, partition])
        if not cursor.fetchone()[0]:
            raise Interrupted(f"{partition} is being archived by another process")
    house, rows_file, manifest_file = vault.new_key(), target / f"{name}.jsonl.gz", target / f"{name}.json"
    parts = [file.with_name(f"{file.name}.part") for file in (rows_file, manifest_file)]
    with closing(_batches(table, low, high)) as batches:  # its cursor ends before the transaction does
        written = write_rows(parts[0], batches, partial(_seal_keys, house=house))
    if not written.rows:
        return None
    made = Archive(
        table=table, partition=partition, low=low, high=high, row_count=written.rows, checksum=written.checksum,
        file_name=rows_file.name, size_bytes=written.size, sha256=written.sha256,
        house_key=vault.seal_with_master(house), made_at=timezone.now(),
    )  # fmt: skip
    made.manifest_sha256 = write_manifest(parts[1], _manifest(made, written))
    erased = _read_back(made, *parts)
    for part, file in zip(parts, (rows_file, manifest_file), strict=True):
        part.rename(file)
    see_folder(target)
    made.save()
    ArchiveCheck.objects.create(archive=made, at=timezone.now(), erased_count=erased)
    audit.record(audit.PORTAL, ARCHIVE, "partition", partition, data=_told(made))
    return made


def _told(archive: Archive) -> dict[str, Any]:
    """What the audit chain says of an archive."""
    return {
        "archive": archive.pk, "table": archive.table, "from": archive.low, "to": archive.high,
        "rows": archive.row_count, "checksum": archive.checksum, "file": archive.file_name, "size": archive.size_bytes,
        "sha256": archive.sha256, "manifest": archive.manifest_sha256,
    }  # fmt: skip


def _manifest(archive: Archive, written: Written) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [f"public.{archive.table}"],
        )
        columns = [list(row) for row in cursor.fetchall()]
        cursor.execute("SELECT app, max(name) FROM django_migrations GROUP BY app ORDER BY app")
        schema = dict(cursor.fetchall())
    return {
        "table": archive.table, "partition": archive.partition, "low": str(archive.low), "high": str(archive.high),
        "first": written.blocks[0][0], "rows": written.rows, "checksum": written.checksum, "columns": columns,
        "schema": schema, "file": archive.file_name, "size": written.size, "sha256": written.sha256,
        "made_at": archive.made_at.isoformat(), "blocks": written.blocks, "customer_keys": written.keys,
    }  # fmt: skip


def _batches(table: str, low: UUID, high: UUID) -> Generator[list[Row], None, None]:
    """The month's rows in the order of their key, a block at a time, out of one statement."""
    with connection.cursor() as cursor:
        for setting in _AS_TEXT:
            cursor.execute(f"SET LOCAL {setting}")
    with connection.chunked_cursor() as cursor:
        cursor.execute(ASKS[table], [low, high])
        while found := cursor.fetchmany(BLOCK_ROWS):
            if is_ending():
                raise Interrupted("the program ends")
            owners = {owner_of(code, customer) for _, _, _, own, code, customer, _, _ in found if not own and customer}
            ids = ensure_keys(owners)
            yield [
                Row(f"{key}{second}", str(transaction or ""), str(_owner(own, code, customer, other, ids) or ""), text)
                for key, second, transaction, own, code, customer, other, text in found
            ]


def _owner(
    own: UUID | None, code: str | None, customer: str | None, other: UUID | None, ids: Mapping[tuple[str, str], UUID]
) -> UUID | None:
    """The row's own customer's key, else that of its transaction's customer, else of its message's."""
    if own is None and code is not None and customer:
        return ids[owner_of(code, customer)]
    return own or other


def _seal_keys(owners: set[str], *, house: bytes) -> dict[str, bytes]:
    """The key per owner; of an erased customer one that nobody keeps."""
    known = key_bytes([UUID(owner) for owner in owners if owner])
    return {owner: (known[UUID(owner)] or vault.new_key()) if owner else house for owner in owners}


def _read_back(archive: Archive, rows_file: Path, manifest_file: Path) -> int:
    """Check both files to the last row. Returns how many rows nobody can read any more; raises ArchiveFault."""
    manifest = read_manifest(manifest_file, archive.manifest_sha256)
    check_bytes(rows_file, size=archive.size_bytes, sha256=archive.sha256)
    house = vault.open_with_master(bytes(archive.house_key))
    count = total = erased = 0
    for block in manifest["blocks"]:
        if is_ending():
            raise Interrupted("the program ends")
        lines = list(read_block(rows_file, block))
        keys = key_bytes({UUID(line["c"]) for line in lines if line["c"]})
        for line in lines:
            key = keys[UUID(line["c"])] if line["c"] else house
            if key is None:
                erased += 1
            else:
                open_row(line, key)
            total += line["h"]
        count += len(lines)
    if (count, str(total)) != (archive.row_count, archive.checksum):
        raise ArchiveFault(f"it holds {count:,} rows of checksum {total}, and was to hold {archive.row_count:,}")
    return erased


def check(archive: Archive) -> ArchiveCheck:
    """Look whether an archive is whole, against its row and against the audit chain, and keep what was found."""
    fault, erased = "", 0
    try:
        place = folder()
        told = AuditEntry.objects.filter(
            verb=ARCHIVE, subject_type="partition", subject_id=archive.partition, data__archive=archive.pk
        ).first()
        if told is None or {k: str(v) for k, v in told.data.items()} != {k: str(v) for k, v in _told(archive).items()}:
            raise ArchiveFault("the audit chain says something else of it")
        erased = _read_back(archive, *_files(archive, place))
    except (ArchiveFault, ArchiveFailed, vault.Unsealable) as found:
        fault = str(found)
        log.error("an archive isn't whole", archive=archive.pk, file=archive.file_name, fault=fault)
    return ArchiveCheck.objects.create(archive=archive, at=timezone.now(), fault=fault[:300], erased_count=erased)


def check_due(limit: int = 20) -> list[ArchiveCheck]:
    """Check the archives that nobody has looked at for 30 days, the longest first."""
    before = timezone.now() - CHECKED_AGAIN
    due = current().annotate(seen=Max("checks__at")).filter(seen__lt=before).order_by("seen")
    return [check(archive) for archive in due[:limit]]


def _files(archive: Archive, place: Path) -> tuple[Path, Path]:
    rows_file = place / archive.file_name
    return rows_file, rows_file.with_name(archive.file_name.replace(".jsonl.gz", ".json"))


def find_rows(transaction: UUID, event: UUID | None = None) -> list[Found]:
    """What archives hold of a transaction and of the message that it came of. Raises ArchiveFault."""
    found = []
    for archive in (
        current()
        .filter(low__lte=transaction, high__gt=transaction)
        .exclude(table__in=("inbox_inboundevent", "outbox_outboxevent"))
    ):
        found += _rows_in(archive, transaction, lambda line: line["t"] == str(transaction))
    if event is not None:
        for archive in current().filter(table="inbox_inboundevent", low__lte=event, high__gt=event):
            found += _rows_in(archive, event, lambda line: line["k"] == str(event))
    told = current().filter(table="outbox_outboxevent", high__gt=transaction).order_by("low")
    for archive in told[:_ORDER_MAX]:
        found += _rows_in(archive, None, lambda line: line["t"] == str(transaction))
    return found


def _rows_in(archive: Archive, at: UUID | None, wanted: Callable[[Mapping[str, Any]], bool]) -> list[Found]:
    """The rows of an archive that are wanted: of the blocks that may hold a key, or of all."""
    try:
        rows_file, manifest_file = _files(archive, folder())
    except ArchiveFailed as failed:
        raise ArchiveFault(str(failed)) from failed
    manifest = read_manifest(manifest_file, archive.manifest_sha256)
    blocks = manifest["blocks"]
    if at is not None:
        firsts = [block[0] for block in blocks]
        blocks = blocks[max(0, bisect.bisect_left(firsts, str(at)) - 1) : bisect.bisect_right(firsts, f"{at}~")]
    names = [name for name, _ in manifest["columns"]]
    found = []
    for block in blocks:
        lines = [line for line in read_block(rows_file, block) if wanted(line)]
        keys = key_bytes({UUID(line["c"]) for line in lines if line["c"]})
        for line in lines:
            key = keys[UUID(line["c"])] if line["c"] else vault.open_with_master(bytes(archive.house_key))
            fields = dict(zip(names, fields_of(open_row(line, key)), strict=True)) if key else None
            found.append(Found(archive, line["k"], fields))
    return found


def plain(value: str | None) -> Any:
    """A field as a person reads it: text as it is, JSON as what it says, other bytes by their size."""
    if value is None:
        return None
    if value.startswith("\\x"):
        try:
            value = bytes.fromhex(value[2:]).decode()
        except ValueError:
            return f"{len(value) // 2 - 1:,} bytes, sealed"
    if value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value, parse_float=str)  # its digits as they are
    except ValueError:
        return value  # PostgreSQL's own text of an array
