"""The two files of an archived month: its rows, sealed one by one and written in zipped blocks, and what tells of them.

`<name>.jsonl.gz` is a plain gzip file of one JSON object a line: `k` the row's key, `t` its transaction, `c` the id of
the customer key that it's sealed under ("": the archive's own), `h` its share of the month's checksum, `s` the row,
zipped, sealed (`vault`) and in base64. The row is PostgreSQL's own text of it, so the checksum can be reckoned from the
file alone, as the database reckons it. `<name>.json` names columns, blocks, keys and the hash of the first. Nothing is
held in memory but one block.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from q2c.core import vault

FORMAT = 1
BLOCK_ROWS = 1000
_READ = 1 << 20


class ArchiveFault(Exception):
    """What is wrong with an archive's files, in words for a screen."""


class Row(NamedTuple):
    """A row on its way to a file: the key that finds it, its transaction's id or "", whose key seals it ("": nobody's),
    and PostgreSQL's text of it."""

    key: str
    transaction: str
    owner: str
    text: str


@dataclass(frozen=True)
class Written:
    """What is in a file: rows, their checksum, bytes, SHA-256, and the key ids that open it."""

    rows: int
    checksum: str
    size: int
    sha256: str
    blocks: list[list[Any]]
    keys: list[str]


def share_of(text: str) -> int:
    """A row's share of its month's checksum: the first 60 bits of the MD5 of PostgreSQL's text of it."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def write_rows(
    path: Path, batches: Iterable[list[Row]], seal_keys: Callable[[set[str]], Mapping[str, bytes]]
) -> Written:
    """Write all rows to a file and see it on the disk. `seal_keys` gives the key per owner. Raises OSError."""
    digest, offset, count, total = hashlib.sha256(), 0, 0, 0
    blocks: list[list[Any]] = []
    owners: set[str] = set()
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        for rows in batches:
            keys = seal_keys({row.owner for row in rows})
            lines = []
            for row in rows:
                share = share_of(row.text)
                sealed = vault.seal(zlib.compress(row.text.encode()), keys[row.owner])
                facts = {"k": row.key, "t": row.transaction, "c": row.owner, "h": share,
                         "s": base64.b64encode(sealed).decode()}  # fmt: skip
                lines.append(json.dumps(facts, separators=(",", ":")))
                total += share
            block = gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=1, mtime=0)
            file.write(block)
            digest.update(block)
            blocks.append([rows[0].key, offset, len(block), len(rows)])
            offset, count = offset + len(block), count + len(rows)
            owners |= {row.owner for row in rows if row.owner}
        file.flush()
        os.fsync(file.fileno())
    return Written(count, str(total), offset, digest.hexdigest(), blocks, sorted(owners))


def write_manifest(path: Path, facts: Mapping[str, Any]) -> str:
    """Write what tells of the rows, see it on the disk, and return its SHA-256. Raises OSError."""
    body = json.dumps({"format": FORMAT, **facts}, indent=1, sort_keys=True).encode()
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(body).hexdigest()


def see_folder(folder: Path) -> None:
    """See the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(path: Path, sha256: str) -> dict[str, Any]:
    """What tells of the rows. Raises ArchiveFault when it's gone or isn't what was written."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ArchiveFault(f"{path.name} can’t be read: {error.strerror}") from error
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ArchiveFault(f"{path.name} was changed")
    found: dict[str, Any] = json.loads(body)
    return found


def check_bytes(path: Path, *, size: int, sha256: str) -> None:
    """Raises ArchiveFault when the file of the rows is gone, cut short or changed."""
    digest, read = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ):
                digest.update(chunk)
                read += len(chunk)
    except OSError as error:
        raise ArchiveFault(f"{path.name} can’t be read: {error.strerror}") from error
    if read != size:
        raise ArchiveFault(f"{path.name} has {read:,} bytes where {size:,} were written")
    if digest.hexdigest() != sha256:
        raise ArchiveFault(f"{path.name} was changed")


def read_block(path: Path, block: list[Any]) -> Iterator[dict[str, Any]]:
    """The lines of one block. Raises ArchiveFault."""
    try:
        with path.open("rb") as file:
            file.seek(block[1])
            lines = gzip.decompress(file.read(block[2])).splitlines()
        yield from (json.loads(line) for line in lines)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ArchiveFault(f"{path.name} can’t be read at byte {block[1]:,}") from error


def open_row(line: Mapping[str, Any], key: bytes) -> str:
    """PostgreSQL's text of a row. Raises ArchiveFault when the key isn't its own or the bytes were changed."""
    try:
        text = zlib.decompress(vault.open_sealed(base64.b64decode(line["s"]), key)).decode()
    except (vault.Unsealable, ValueError, zlib.error) as error:
        raise ArchiveFault(f"row {line['k']} can’t be opened: {error}") from error
    if share_of(text) != line["h"]:
        raise ArchiveFault(f"row {line['k']} isn’t what its checksum says")
    return text


def fields_of(text: str) -> list[str | None]:
    """The fields of PostgreSQL's text of a row, each as text; None where there's no value."""
    fields: list[str | None] = []
    value, was_quoted, in_quotes, at = "", False, False, 1
    while at < len(text):
        sign = text[at]
        if in_quotes and sign in '"\\' and (sign == "\\" or text[at + 1] == '"'):  # doubled, or behind a backslash
            value, at = value + text[at + 1], at + 1
        elif sign == '"':
            in_quotes = not in_quotes
            was_quoted = True
        elif sign in ",)" and not in_quotes:
            fields.append(value if value or was_quoted else None)
            value, was_quoted = "", False
        else:
            value += sign
        at += 1
    return fields
