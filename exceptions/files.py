"""Files beside a note: a few harmless sorts, told by what they hold and not only by their name, hashed and audited.

A file is never shown in the portal, only handed out to be saved: nothing in it runs here. Where `Q2C_CLAMD` names a
scanner, a file is kept only once that found nothing; where none is named each file says that it wasn't scanned. It's
sealed as raw messages are: where all documents of its case are of one customer, under a key that is sealed by that
customer's, and gone with it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

from exceptions.models import CaseFile, CaseNote, ExceptionCase, Occurrence
from exceptions.models.files import FILE_BYTES_MAX
from q2c.core import audit, scanning, vault
from q2c.core.customer_keys import key_bytes
from q2c.core.models import Person
from q2c.inbox.bodies import open_event_key
from q2c.inbox.models import InboundKey
from q2c.transactions.models import BusinessTransaction

NAME_MAX = 120
_TEXT = b""
# By the name's ending: as what it is handed out, and how it begins ("": it is text).
SORTS = {
    "pdf": ("application/pdf", (b"%PDF-",)),
    "png": ("image/png", (b"\x89PNG\r\n\x1a\n",)),
    "jpg": ("image/jpeg", (b"\xff\xd8\xff",)),
    "jpeg": ("image/jpeg", (b"\xff\xd8\xff",)),
    "csv": ("text/csv; charset=utf-8", (_TEXT,)),
    "txt": ("text/plain; charset=utf-8", (_TEXT,)),
    "eml": ("application/octet-stream", (_TEXT,)),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", (b"PK\x03\x04",)),
    "docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", (b"PK\x03\x04",)),
}
_PARTS = {"xlsx": "xl/workbook.xml", "docx": "word/document.xml"}  # what a package of these holds
SORTS_SAID = "PDF, PNG, JPEG, CSV, TXT, EML, XLSX or DOCX"


class FileRefused(Exception):
    """It isn't kept, and why, for whoever gave it."""


class Given(NamedTuple):
    """A file that may be kept: the name for it, what it holds, and whether it was scanned (`CaseFile.Scan`)."""

    name: str
    body: bytes
    scan: str


def take(name: str, body: bytes) -> Given:
    """A file as it was given, once it's seen that it may be kept. Raises FileRefused, also for what has a virus, and
    while the scanner can't be reached."""
    kept = checked_name(name, body)
    if not scanning.is_on():
        return Given(kept, body, CaseFile.Scan.NONE)
    try:
        found = scanning.find_virus(body)
    except scanning.ScanFailed as failed:
        said = (
            "The virus scanner can’t be reached, so no file is taken now. Try again later; the note can go without it."
        )
        raise FileRefused(said) from failed
    if found:
        raise FileRefused(f"The virus scanner found {found} in it.")
    return Given(kept, body, CaseFile.Scan.CLEAN)


def checked_name(name: str, body: bytes) -> str:
    """The name under which a file is kept. Raises FileRefused for a sort that isn't taken, for what isn't what its name
    says, and for what is empty or too large."""
    if not body:
        raise FileRefused("The file is empty.")
    if len(body) > FILE_BYTES_MAX:
        raise FileRefused(f"The file is larger than {FILE_BYTES_MAX // 1024 // 1024} MB.")
    plain = re.sub(r"[^\w .,()+&@–-]", "_", PurePosixPath(name.replace("\\", "/")).name).strip(" .")
    stem, _, ending = plain.rpartition(".")
    if not stem or ending.lower() not in SORTS:
        raise FileRefused(f"Files can be {SORTS_SAID}.")
    beginnings = SORTS[ending.lower()][1]
    if not body.startswith(beginnings) or (_TEXT in beginnings and not _is_text(body)):
        raise FileRefused(f"It isn’t what its name says: no {ending.upper()}.")
    if part := _PARTS.get(ending.lower()):
        _check_package(body, part, ending.upper())
    return f"{stem[: NAME_MAX - len(ending) - 1]}.{ending}"


def attach(note: CaseNote, given: Given, *, by: Person) -> CaseFile:
    """Keep a file beside a note, sealed, with its hash in the audit trail. Inside the note's transaction.

    Raises FileRefused for an erased customer.
    """
    name, body, scan = given
    digest = hashlib.sha256(body).hexdigest()
    content_type = SORTS[name.rpartition(".")[2].lower()][0]
    owner, key = _customer_key_of(note.case), vault.new_key()
    owner_key = key_bytes([owner])[owner] if owner else None
    if owner and owner_key is None:
        raise FileRefused("This case’s customer was erased: no file about them is kept.")
    file = CaseFile.objects.create(
        note=note, name=name, content_type=content_type, size_bytes=len(body), sha256=digest, scan=scan,
        body=vault.seal(body, key), customer_key_id=owner,
        body_key=vault.seal(key, owner_key) if owner_key else vault.seal_with_master(key),
    )  # fmt: skip
    facts = {"file": file.pk, "name": name, "size": len(body), "sha256": digest, "scan": scan}
    audit.record(by, "attach_file", "case", note.case_id, data=facts)
    return file


def hand_out(file: CaseFile, *, to: Person) -> bytes:
    """What the file holds, as it was given; that somebody took it stands in the audit trail. Raises FileRefused when
    its bytes aren't those that were given, and once its customer was erased."""
    try:
        body = vault.open_sealed(bytes(file.body), open_event_key(bytes(file.body_key), file.customer_key_id))
    except vault.Unsealable as gone:
        raise FileRefused("It can’t be read any more: its customer was erased, or its key is gone.") from gone
    if hashlib.sha256(body).hexdigest() != file.sha256:
        raise FileRefused("The stored bytes were changed.")
    facts = {"file": file.pk, "name": file.name, "sha256": file.sha256}
    audit.record(to, "take_file", "case", file.note.case_id, data=facts)
    return body


def _customer_key_of(case: ExceptionCase) -> UUID | None:
    """The key of the customer that all documents of a case are of; None where there are several, or one of them is
    nobody's."""
    rows = Occurrence.objects.filter(case=case)
    of_documents = BusinessTransaction.objects.filter(
        pk__in=rows.filter(transaction_id__isnull=False).values("transaction_id")
    )
    if of_documents.filter(event_id=None).exists():
        return None
    messages = rows.filter(event_id__isnull=False).values("event_id").union(of_documents.values("event_id"))
    owners = InboundKey.objects.filter(event__in=messages)
    found = list(owners.order_by().values_list("customer_key", flat=True).distinct()[:2])
    return found[0] if len(found) == 1 else None


def _check_package(body: bytes, part: str, sort: str) -> None:
    """A workbook or a letter holds its own part, and nothing that runs. Only the names of the parts are read."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as package:
            names = package.namelist()
    except zipfile.BadZipFile:
        names = []
    if part not in names:
        raise FileRefused(f"It isn’t what its name says: no {sort}.")
    if any(name.lower().endswith("vbaproject.bin") for name in names):
        raise FileRefused("It holds macros. Send it without them.")


def _is_text(body: bytes) -> bool:
    try:
        return "\x00" not in body.decode()
    except UnicodeDecodeError:
        return False
